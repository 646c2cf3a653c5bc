package onnx

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// A Builder writes a graph down node by node. Names it makes up depend only on the
// calls so far ("Conv_0", "Conv_1", "Relu_0"), so the same calls give the same
// file. An operator outside ONNX's own domain is written "com.microsoft::FusedConv".
//
// Names the caller gives are taken as they are; give those that might look like
// "Conv_0" before the first made-up one, or [Builder.Model] reports the clash.
type Builder struct {
	graph  *Graph
	opsets []Opset
	used   map[string]bool // names of values and nodes
	next   map[string]int  // counter of each prefix
	shared map[string]string
	from   *Model // what is extended; nil for a new model
}

// NewBuilder returns an empty Builder for that version of ONNX's operators.
func NewBuilder(opset int64) *Builder {
	return &Builder{
		graph:  new(Graph),
		opsets: []Opset{{Version: opset}},
		used:   map[string]bool{},
		next:   map[string]int{},
		shared: map[string]string{},
	}
}

// Import sets the version of a domain's operators. A domain used without it is
// imported at version 1.
func (b *Builder) Import(domain string, version int64) {
	for i := range b.opsets {
		if b.opsets[i].Domain == domain {
			b.opsets[i].Version = version
			return
		}
	}
	b.opsets = append(b.opsets, Opset{Domain: domain, Version: version})
}

// Nodes returns the nodes added so far, in the order in which they were. It is the
// Builder's own list: do not modify it.
func (b *Builder) Nodes() []*Node { return b.graph.Nodes }

// Name returns a name that is not in use: prefix, "_" and a number.
func (b *Builder) Name(prefix string) string {
	for {
		name := fmt.Sprintf("%s_%d", prefix, b.next[prefix])
		b.next[prefix]++
		if !b.used[name] {
			b.used[name] = true
			return name
		}
	}
}

// Input adds an input of the graph and returns its name.
func (b *Builder) Input(i *ValueInfo) string {
	b.used[i.Name] = true
	b.graph.Inputs = append(b.graph.Inputs, i)
	return i.Name
}

// Output makes the value of that name, which some node gives, an output of the
// graph.
func (b *Builder) Output(i *ValueInfo) {
	b.used[i.Name] = true
	b.graph.Outputs = append(b.graph.Outputs, i)
}

// Initializer adds a named tensor and returns its name. t keeps its own name.
func (b *Builder) Initializer(name string, t *Tensor) string {
	named := *t
	named.Name = name
	b.used[name] = true
	b.graph.Initializers = append(b.graph.Initializers, &named)
	return name
}

// Node adds a node with one output and returns the output's name.
func (b *Builder) Node(op string, inputs []string, attrs ...*Attr) string {
	return b.NodeN(op, inputs, 1, attrs...)[0]
}

// NodeN adds a node with n outputs and returns their names.
func (b *Builder) NodeN(op string, inputs []string, n int, attrs ...*Attr) []string {
	_, short := splitOp(op)
	name := b.Name(short)
	outputs := []string{name}
	for i := 1; i < n; i++ {
		out := fmt.Sprintf("%s:%d", name, i)
		b.used[out] = true
		outputs = append(outputs, out)
	}
	b.add(name, op, inputs, outputs, attrs)
	return outputs
}

// NodeTo adds a node with given output names; "" leaves an optional output out.
func (b *Builder) NodeTo(op string, inputs, outputs []string, attrs ...*Attr) {
	_, short := splitOp(op)
	for _, name := range outputs {
		b.used[name] = true
	}
	b.add(b.Name(short), op, inputs, outputs, attrs)
}

func (b *Builder) add(name, op string, inputs, outputs []string, attrs []*Attr) {
	domain, short := splitOp(op)
	if !slices.ContainsFunc(b.opsets, func(o Opset) bool { return o.Domain == domain }) {
		b.Import(domain, 1)
	}
	b.graph.Nodes = append(b.graph.Nodes, &Node{Name: name, OpType: short, Domain: domain,
		Inputs: slices.Clone(inputs), Outputs: slices.Clone(outputs), Attrs: attrs})
}

// splitOp splits "com.microsoft::FusedConv" into its domain and its name.
func splitOp(op string) (domain, name string) {
	if domain, name, ok := strings.Cut(op, "::"); ok {
		return domain, name
	}
	return "", op
}

// Const adds a tensor as an initialiser with a made-up name, which starts with the
// tensor's own name or else "const", and returns it. Tensors of the same type,
// shape and contents are stored once.
func (b *Builder) Const(t *Tensor) string {
	raw, err := t.Bytes()
	if t.Type == String {
		raw, err = marshal(&Tensor{StringsData: t.StringsData})
	}
	if err != nil {
		panic(err) // a constant made by the program has its data
	}
	key := fmt.Sprintf("%v%v%x", t.Type, t.Dims, sha256.Sum256(raw))
	name, ok := b.shared[key]
	if !ok {
		prefix := t.Name
		if prefix == "" {
			prefix = "const"
		}
		name = b.Initializer(b.Name(prefix), t)
		b.shared[key] = name
	}
	return name
}

// Float adds a float32 scalar, shared, and returns its name.
func (b *Builder) Float(v float32) string {
	return b.Const(FloatTensor("", nil, []float32{v}))
}

// Int adds an int64 scalar, shared, and returns its name.
func (b *Builder) Int(v int64) string {
	return b.Const(Int64Tensor("", nil, []int64{v}))
}

// Floats adds a one-dimensional float32 tensor, shared, and returns its name.
func (b *Builder) Floats(v ...float32) string {
	return b.Const(FloatTensor("", []int64{int64(len(v))}, v))
}

// Ints adds a one-dimensional int64 tensor, shared, and returns its name.
func (b *Builder) Ints(v ...int64) string {
	return b.Const(Int64Tensor("", []int64{int64(len(v))}, v))
}

// irVersion is the file format that goes with opsets 15 to 18; every ONNX Runtime
// since 1.10 reads it.
const irVersion = 8

// Model returns the finished model, named and described, after checking it. The
// Builder must not be used any more.
func (b *Builder) Model(graphName string, info Info) (*Model, error) {
	b.graph.Name = graphName
	m := &Model{IRVersion: irVersion, ProducerName: "sslrt", ProducerVersion: info.Version,
		Graph: b.graph, Opsets: b.opsets}
	if b.from != nil {
		m.IRVersion = max(irVersion, b.from.IRVersion)
		m.Metadata = slices.Clone(b.from.Metadata)
		m.Functions = b.from.Functions
		m.Graph.Prune()
	}
	if err := info.WriteTo(m); err != nil {
		return nil, err
	}
	if err := Check(m); err != nil {
		return nil, err
	}
	return m, nil
}
