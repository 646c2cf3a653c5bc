package export

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// rule says how an operator of ONNX is made of operations.
type rule struct {
	least, most int // number of inputs
	attrs       attrs
	types       string // the element types, by their letters, of the input that decides
	of          int    // which input that is
	build       func(c *call) value

	since int64 // the oldest opset with this meaning, if that is not 6
	heavy bool  // not to be computed while decoding
}

type attrs map[string]onnx.AttrType

// Short names of the attributes' types.
const (
	attrInt    = onnx.AttrInt
	attrInts   = onnx.AttrInts
	attrFloat  = onnx.AttrFloat
	attrText   = onnx.AttrString
	attrTensor = onnx.AttrTensor
)

const unlimited = math.MaxInt // inputs

// typeLetters are the letters of op's element types in rules.
var typeLetters = map[op.DType]string{op.Float32: "f", op.Int64: "l", op.Int32: "i", op.Bool: "b"}

const (
	numbers   = "fli"
	allTypes  = "flib"
	floatOnly = "f"
	boolOnly  = "b"
)

// rules holds the operators of ONNX's own domain that can be decoded.
var rules = join(elementwiseRules, logicRules, reductionRules, layoutRules, indexRules, sourceRules, windowRules, normRules, lossRules)

func join(families ...map[string]rule) map[string]rule {
	all := map[string]rule{}
	for _, f := range families {
		maps.Copy(all, f)
	}
	return all
}

func with(a, b attrs) attrs {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}

func ruleOf(n *onnx.Node) (rule, bool) {
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return rule{}, false
	}
	r, ok := rules[n.OpType]
	return r, ok
}

// Operator is an operator that Decode knows, for these element types of its data.
type Operator struct {
	Name  string
	Types []op.DType
	Since int64 // the oldest opset
}

// Operators returns all operators that Decode knows, by name.
func Operators() []Operator {
	var all []Operator
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		r := rules[name]
		o := Operator{Name: name, Since: max(r.since, 1)}
		if r.since == 0 {
			o.Since = minDecodeOpset
		}
		for _, d := range []op.DType{op.Float32, op.Int64, op.Int32, op.Bool} {
			if strings.Contains(r.types, typeLetters[d]) {
				o.Types = append(o.Types, d)
			}
		}
		all = append(all, o)
	}
	return all
}

// Unsupported is the error for a model with operators, or element types of them,
// that Decode does not know.
type Unsupported struct{ Operators []UnsupportedOperator }

// UnsupportedOperator is one of them.
type UnsupportedOperator struct {
	Name  string   // with its domain, if that is not ONNX's own
	Type  string   // the element type; empty if the operator is unknown for all
	Nodes []string // where it is, as messages name nodes
}

func (e *Unsupported) Error() string {
	list := make([]string, len(e.Operators))
	for i, o := range e.Operators {
		name := o.Name
		if o.Type != "" {
			name += " of " + o.Type
		}
		nodes := o.Nodes
		if len(nodes) > 8 {
			nodes = append(slices.Clone(nodes[:8]), fmt.Sprintf("%d more", len(nodes)-8))
		}
		list[i] = fmt.Sprintf("%s (%s)", name, strings.Join(nodes, ", "))
	}
	return "operators that are not supported: " + strings.Join(list, "; ")
}

// add notes a node.
func (e *Unsupported) add(n *onnx.Node, elements string) {
	name := n.OpType
	if n.Domain != "" {
		name = n.Domain + "." + name
	}
	for i := range e.Operators {
		if o := &e.Operators[i]; o.Name == name && o.Type == elements {
			o.Nodes = append(o.Nodes, place(n))
			return
		}
	}
	e.Operators = append(e.Operators, UnsupportedOperator{name, elements, []string{place(n)}})
}

// supported reports opsets, inputs and attributes that have no rule, of a model whose
// operators are known.
func supported(m *onnx.Model, half bool) error {
	opset := m.Opset("")
	for _, n := range m.Graph.Nodes {
		r, _ := ruleOf(n)
		if opset > maxDecodeOpset || opset < minDecodeOpset && (r.since == 0 || r.since > opset) {
			return fmt.Errorf("opset %d is not supported: want %d to %d", opset, minDecodeOpset, maxDecodeOpset)
		}
	}
	if len(m.Functions) > 0 || len(m.Graph.Sparse) > 0 {
		return errors.New("functions and sparse initialisers are not supported: export the model without them")
	}
	for _, in := range slices.Concat(m.Graph.Inputs, m.Graph.Outputs) {
		if _, err := elementType(in.Type, half); err != nil {
			return fmt.Errorf("%q: %w", in.Name, err)
		}
	}
	for _, n := range m.Graph.Nodes {
		if err := signatureFits(n); err != nil {
			return fmt.Errorf("%s: %w", title(n), err)
		}
	}
	return nil
}

// operatorsKnown lists the operators without a rule, and those that read or make an
// element type that no operation works on.
func operatorsKnown(m *onnx.Model, half bool) error {
	var missing Unsupported
	foreign := map[string]string{} // values of such a type
	note := func(name string, t onnx.DataType) {
		if _, err := elementType(t, half); err != nil {
			foreign[name] = t.String()
		}
	}
	for _, in := range m.Graph.Inputs {
		note(in.Name, in.Type)
	}
	for _, t := range m.Graph.Initializers {
		note(t.Name, t.Type)
	}
	for _, n := range m.Graph.Nodes {
		if _, ok := ruleOf(n); !ok {
			missing.add(n, "")
			continue
		}
		for _, name := range n.Inputs {
			if t, ok := foreign[name]; ok && !(t == onnx.Double.String() && n.OpType == "Cast" && m.Graph.Initializer(name) != nil) {
				missing.add(n, t)
				break
			}
		}
		made := onnx.Float
		switch a := n.Attr("value"); {
		case n.OpType == "Cast" && n.Attr("to") != nil:
			made = onnx.DataType(n.Attr("to").I)
		case n.Attr("dtype") != nil:
			made = onnx.DataType(n.Attr("dtype").I)
		case a != nil && a.T != nil && a.T.Type != onnx.Double:
			made = a.T.Type
		}
		if _, err := elementType(made, half); err != nil {
			missing.add(n, made.String())
		}
	}
	if len(missing.Operators) == 0 {
		return nil
	}
	slices.SortStableFunc(missing.Operators, func(a, b UnsupportedOperator) int { return strings.Compare(a.Name, b.Name) })
	return &missing
}

// typeFits checks the element type of the input that decides.
func (d *decoder) typeFits(n *onnx.Node, r rule) error {
	elements := ""
	for i, name := range n.Inputs {
		v := d.values[name]
		if v.constant != nil && v.constant.wide && n.OpType != "Cast" {
			elements = onnx.Double.String()
			break
		}
		if i == r.of && name != "" {
			t := op.Float32
			switch {
			case v.node != nil:
				t = v.node.DType
			case v.constant != nil:
				t = v.constant.dtype
			}
			if !strings.Contains(r.types, typeLetters[t]) {
				elements = t.String()
			}
		}
	}
	if elements == "" {
		return nil
	}
	var u Unsupported
	u.add(n, elements)
	return &u
}

// signatureFits checks the number of inputs and outputs of a node and the types of
// its attributes.
func signatureFits(n *onnx.Node) error {
	r, _ := ruleOf(n)
	if len(n.Inputs) < r.least || len(n.Inputs) > r.most {
		return fmt.Errorf("has %d inputs, want %d to %d", len(n.Inputs), r.least, r.most)
	}
	for i, name := range n.Inputs[:r.least] {
		if name == "" {
			return fmt.Errorf("input %d is left out", i)
		}
	}
	if len(n.Outputs) == 0 || n.Outputs[0] == "" {
		return errors.New("has no output")
	}
	for _, a := range n.Attrs {
		want, ok := r.attrs[a.Name]
		if !ok {
			return fmt.Errorf("attribute %q is not supported", a.Name)
		}
		if a.Type != want {
			return fmt.Errorf("attribute %q is of type %v, want %v", a.Name, a.Type, want)
		}
	}
	return nil
}

// title names a node and its operator for a message.
func title(n *onnx.Node) string { return place(n) + ", " + n.OpType }

// place names a node. Names of nodes are optional, those of results are not.
func place(n *onnx.Node) string {
	if n.Name != "" {
		return fmt.Sprintf("node %q", n.Name)
	}
	for _, out := range n.Outputs {
		if out != "" {
			return fmt.Sprintf("node of %q", out)
		}
	}
	return "a node"
}
