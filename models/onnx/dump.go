package onnx

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Dump prints a model as text for people and for golden files: what it is, its
// metadata, inputs, outputs and initialisers with their shapes, and the nodes in
// order. Small tensors show their values.
func Dump(w io.Writer, m *Model) error {
	d := &dumper{w: bufio.NewWriter(w)}
	d.model(m)
	return d.w.Flush()
}

// dumpValues is how many elements of a tensor are printed at most.
const dumpValues = 8

type dumper struct {
	w      *bufio.Writer // keeps its first error
	indent string
}

func (d *dumper) line(format string, args ...any) {
	d.w.WriteString(d.indent)
	fmt.Fprintf(d.w, format, args...)
	d.w.WriteByte('\n')
}

// in runs f one level deeper, below a title, when there is something to print.
func (d *dumper) in(n int, title string, f func()) {
	if n == 0 {
		return
	}
	d.line("%s", title)
	outer := d.indent
	d.indent += "  "
	f()
	d.indent = outer
}

func (d *dumper) model(m *Model) {
	var opsets []string
	for _, o := range m.Opsets {
		domain := o.Domain
		if domain == "" {
			domain = "ai.onnx"
		}
		opsets = append(opsets, fmt.Sprintf("%s %d", word(domain), o.Version))
	}
	d.line("ir_version %d, opset %s", m.IRVersion, strings.Join(opsets, ", "))
	if m.ProducerName != "" {
		d.line("%s", strings.TrimSuffix("producer "+word(m.ProducerName)+" "+word(m.ProducerVersion), " _"))
	}
	d.in(len(m.Metadata), "metadata", func() {
		for _, e := range m.Metadata {
			d.line("%s = %s", word(e.Key), strconv.Quote(e.Value))
		}
	})
	if m.Graph != nil {
		d.graph(m.Graph)
	}
	for _, f := range m.Functions {
		d.in(1, fmt.Sprintf("function %s(%s) -> (%s)", op(f.Domain, f.Name), words(f.Inputs), words(f.Outputs)), func() {
			d.nodes(f.Nodes)
		})
	}
}

func (d *dumper) graph(g *Graph) {
	d.in(1, "graph "+word(g.Name), func() {
		d.values("inputs", g.Inputs)
		d.values("outputs", g.Outputs)
		d.in(len(g.Initializers)+len(g.Sparse), "initializers", func() {
			for _, t := range g.Initializers {
				d.line("%s %s", word(t.Name), t.summary())
			}
			for _, s := range g.Sparse {
				d.line("sparse %s", s.summary())
			}
		})
		d.in(len(g.Nodes), "nodes", func() { d.nodes(g.Nodes) })
	})
}

func (d *dumper) values(title string, infos []*ValueInfo) {
	d.in(len(infos), title, func() {
		for _, i := range infos {
			d.line("%s %s", word(i.Name), i.typeText())
		}
	})
}

func (d *dumper) nodes(nodes []*Node) {
	for _, n := range nodes {
		var attrs []string
		var graphs []*Graph
		for _, a := range n.Attrs {
			attrs = append(attrs, word(a.Name)+"="+a.text())
			if a.G != nil {
				graphs = append(graphs, a.G)
			}
			graphs = append(graphs, a.Graphs...)
		}
		text := fmt.Sprintf("%s = %s(%s)", words(n.Outputs), op(n.Domain, n.OpType), words(n.Inputs))
		if len(attrs) > 0 {
			text += " {" + strings.Join(attrs, ", ") + "}"
		}
		d.in(1, text, func() {
			for _, g := range graphs {
				d.graph(g)
			}
		})
	}
}

func op(domain, name string) string {
	if canonicalDomain(domain) == "" {
		return word(name)
	}
	return word(domain) + "::" + word(name)
}

// word prints a name as it is, quoted when that would be misread: names come from
// files and may hold anything.
func word(s string) string {
	if s == "" {
		return "_"
	}
	if s == "_" || strings.ContainsAny(s, " ,(){}=\"") || strconv.Quote(s) != `"`+s+`"` {
		return strconv.Quote(s)
	}
	return s
}

func words(names []string) string {
	out := make([]string, len(names))
	for i, s := range names {
		out[i] = word(s)
	}
	return strings.Join(out, ", ")
}

// typeText returns a type and shape: "float32 [N,3,32,32]".
func (i *ValueInfo) typeText() string {
	switch {
	case !i.HasType():
		return "untyped"
	case i.Type == Undefined:
		return "not a tensor"
	case i.Dims == nil:
		return i.Type.String() + " [...]"
	}
	dims := make([]string, len(i.Dims))
	for k, d := range i.Dims {
		dims[k] = d.String()
	}
	return fmt.Sprintf("%v [%s]", i.Type, strings.Join(dims, ","))
}

// String returns the name, the size, or "?".
func (d Dim) String() string {
	switch {
	case d.Param != "":
		return word(d.Param)
	case d.Value < 0:
		return "?"
	}
	return strconv.FormatInt(d.Value, 10)
}

// summary returns a tensor's type, shape and, when they are few, values.
func (t *Tensor) summary() string {
	dims := strings.ReplaceAll(strings.Trim(fmt.Sprint(t.Dims), "[]"), " ", ",")
	s := fmt.Sprintf("%v [%s]", t.Type, dims)
	n, err := t.Elems()
	switch {
	case err != nil:
		return s
	case t.Location == External:
		return s + " external"
	case n > dumpValues:
		return s
	}
	if xs, err := t.Floats(); err == nil {
		return s + " = " + joined(xs)
	}
	if xs, err := t.Int64s(); err == nil {
		return s + " = " + joined(xs)
	}
	if xs, err := t.Strings(); err == nil {
		return s + " = " + fmt.Sprintf("%q", xs)
	}
	return s
}

func (s *SparseTensor) summary() string {
	if s.Values == nil {
		return "empty"
	}
	return fmt.Sprintf("%s %v %v", word(s.Values.Name), s.Values.Type, s.Dims)
}

func joined[T int64 | float32](xs []T) string {
	out := make([]string, len(xs))
	for i, x := range xs {
		out[i] = fmt.Sprint(x)
	}
	return "[" + strings.Join(out, ",") + "]"
}

// text returns the value of an attribute.
func (a *Attr) text() string {
	if a.RefName != "" {
		return "@" + word(a.RefName)
	}
	switch a.Type {
	case AttrFloat:
		return fmt.Sprint(a.F)
	case AttrInt:
		return fmt.Sprint(a.I)
	case AttrString:
		return strconv.Quote(string(a.S))
	case AttrFloats:
		return joined(a.Floats)
	case AttrInts:
		return joined(a.Ints)
	case AttrStrings:
		return fmt.Sprintf("%q", a.Strings)
	case AttrTensor:
		if a.T != nil {
			return a.T.summary()
		}
	}
	return a.Type.String()
}
