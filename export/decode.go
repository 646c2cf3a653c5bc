package export

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// Decoded is an ONNX model as a graph, which can be run, differentiated and
// written again. Names are those of the file.
type Decoded struct {
	Graph   *op.Graph
	Inputs  map[string]*op.Node
	Outputs map[string]*op.Node

	// Params holds the values of the graph's parameters, which are the model's
	// float32 initialisers. Running statistics are among them: they have no
	// gradient.
	Params models.StateDict
}

// The opsets whose operators Decode knows.
const (
	minDecodeOpset = 7
	maxDecodeOpset = 22
)

// Decode turns a model into a graph for the given shapes of its inputs, which say
// which axis is the batch. Each input needs one, such as op.Batched(2, 3, 64, 64).
//
// It decodes inference: float32, opsets 7 to 22, BatchNormalization with given
// statistics. Operators that it does not know are one error, which names them all
// with their nodes. The nodes are walked a second time by onnx-go; where the two
// disagree is an error.
func Decode(m *onnx.Model, inputs map[string]op.Shape) (*Decoded, error) {
	d, err := decode(m, inputs)
	if err != nil {
		return nil, fmt.Errorf("export: decode: %w", err)
	}
	return d, nil
}

func decode(m *onnx.Model, shapes map[string]op.Shape) (*Decoded, error) {
	if err := onnx.Check(m); err != nil {
		return nil, err
	}
	opset := m.Opset("")
	if opset < minDecodeOpset || opset > maxDecodeOpset {
		return nil, fmt.Errorf("opset %d is not supported: want %d to %d", opset, minDecodeOpset, maxDecodeOpset)
	}
	if len(m.Functions) > 0 || len(m.Graph.Sparse) > 0 {
		return nil, errors.New("functions and sparse initialisers are not supported: export the model without them")
	}
	if err := known(m.Graph.Nodes); err != nil {
		return nil, err
	}
	if err := crossCheck(m); err != nil {
		return nil, err
	}
	d := &decoder{graph: op.NewGraph(), opset: opset, values: map[string]value{}, params: models.StateDict{}}
	for _, t := range m.Graph.Initializers {
		d.values[t.Name] = value{constant: t, param: true}
	}
	inputs, err := d.inputs(m.Graph, shapes)
	if err != nil {
		return nil, err
	}
	for _, n := range m.Graph.Nodes {
		if err := d.node(n); err != nil {
			return nil, fmt.Errorf("%s: %w", title(n), err)
		}
	}
	outputs := map[string]*op.Node{}
	for _, o := range m.Graph.Outputs {
		n, err := d.data(o.Name)
		if err != nil {
			return nil, fmt.Errorf("output %w", err)
		}
		if err := fits(o, n.Dims, nil); err != nil {
			return nil, fmt.Errorf("output %q: %w", o.Name, err)
		}
		outputs[o.Name] = n
	}
	return &Decoded{Graph: d.graph, Inputs: inputs, Outputs: outputs, Params: d.params}, nil
}

// known reports the operators and attributes that have no rule.
func known(nodes []*onnx.Node) error {
	missing := map[string][]string{}
	for _, n := range nodes {
		if _, ok := ruleOf(n); !ok {
			name := n.OpType
			if n.Domain != "" {
				name = n.Domain + "." + name
			}
			missing[name] = append(missing[name], place(n))
		}
	}
	if len(missing) > 0 {
		list := make([]string, 0, len(missing))
		for _, name := range slices.Sorted(maps.Keys(missing)) {
			list = append(list, fmt.Sprintf("%s (%s)", name, strings.Join(missing[name], ", ")))
		}
		return fmt.Errorf("operators that are not supported: %s", strings.Join(list, "; "))
	}
	for _, n := range nodes {
		if err := signatureFits(n); err != nil {
			return fmt.Errorf("%s: %w", title(n), err)
		}
	}
	return nil
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
	for _, name := range n.Outputs[1:] {
		if name != "" {
			return fmt.Errorf("its output %q is not supported: only the first is", name)
		}
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

// decoder builds the graph, node by node.
type decoder struct {
	graph  *op.Graph
	opset  int64
	values map[string]value // by their names in the file
	params models.StateDict
}

// value is what a name of the file stands for: a node of the graph, or a constant,
// which becomes a node when it is first used as data.
type value struct {
	node     *op.Node
	constant *onnx.Tensor
	param    bool // the constant is an initialiser
}

// inputs makes the graph's inputs, which are those of the file without the
// initialisers that old files list among them.
func (d *decoder) inputs(g *onnx.Graph, shapes map[string]op.Shape) (map[string]*op.Node, error) {
	inputs := map[string]*op.Node{}
	symbols := map[string]int{}
	for _, in := range g.Inputs {
		if _, ok := d.values[in.Name]; ok {
			continue
		}
		s, ok := shapes[in.Name]
		if !ok {
			return nil, fmt.Errorf("input %q: no shape given", in.Name)
		}
		t := op.Float32
		switch in.Type {
		case onnx.Float:
		case onnx.Int64:
			t = op.Int64
		default:
			return nil, fmt.Errorf("input %q is %v, want float32 or int64", in.Name, in.Type)
		}
		if err := fits(in, s.Dims, symbols); err != nil {
			return nil, fmt.Errorf("input %q: %w", in.Name, err)
		}
		if s.Batch >= len(s.Dims) {
			return nil, fmt.Errorf("input %q: its shape %v has no axis %d, which should be the batch", in.Name, s.Dims, s.Batch)
		}
		if err := sizeFits(s); err != nil {
			return nil, fmt.Errorf("input %q: %w", in.Name, err)
		}
		n := d.graph.Input(in.Name, t, s)
		if n == nil {
			return nil, d.graph.Err()
		}
		inputs[in.Name], d.values[in.Name] = n, value{node: n}
	}
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		if inputs[name] == nil {
			return nil, fmt.Errorf("a shape is given for %q, which is not an input of the model", name)
		}
	}
	return inputs, nil
}

// fits checks sizes against those that the file states. symbols, unless nil, holds
// what its named sizes stand for.
func fits(i *onnx.ValueInfo, sizes []int, symbols map[string]int) error {
	if len(sizes) != len(i.Dims) {
		return fmt.Errorf("has %d axes, the file says %d", len(sizes), len(i.Dims))
	}
	for axis, want := range i.Dims {
		got := sizes[axis]
		if want.Param == "" {
			if want.Value >= 0 && int64(got) != want.Value {
				return fmt.Errorf("axis %d has size %d, the file says %d", axis, got, want.Value)
			}
			continue
		}
		if symbols == nil {
			continue
		}
		if was, ok := symbols[want.Param]; ok && was != got {
			return fmt.Errorf("axis %d: %q is %d here and %d before", axis, want.Param, got, was)
		}
		symbols[want.Param] = got
	}
	return nil
}

// maxElements bounds the values that a file can ask for, far above what fits a
// machine and far below where sizes overflow.
const maxElements = 1 << 40

func sizeFits(s op.Shape) error {
	n := 1
	for _, d := range s.Dims {
		if d > maxElements/n {
			return fmt.Errorf("a value of shape %v is too large", s)
		}
		n *= max(d, 1)
	}
	return nil
}

// node adds one node of the file to the graph.
func (d *decoder) node(n *onnx.Node) error {
	r, _ := ruleOf(n)
	c := &call{decoder: d, n: n}
	v := r.build(c)
	if c.err != nil {
		return c.err
	}
	if err := d.graph.Err(); err != nil {
		return err
	}
	if v.node != nil {
		if err := sizeFits(v.node.Shape); err != nil {
			return err
		}
	}
	d.values[n.Outputs[0]] = v
	return nil
}

// data returns the node for a name of the file.
func (d *decoder) data(name string) (*op.Node, error) {
	v := d.values[name]
	if v.node != nil {
		return v.node, nil
	}
	t := v.constant
	if t.Type != onnx.Float {
		return nil, fmt.Errorf("%q is a constant of type %v, want float32", name, t.Type)
	}
	values, err := t.Floats()
	if err != nil {
		return nil, err
	}
	sizes := make([]int, len(t.Dims))
	for i, n := range t.Dims {
		sizes[i] = int(n)
	}
	if len(values) == 0 {
		return nil, fmt.Errorf("%q of shape %v has no values", name, sizes)
	}
	if v.param {
		// Identity may pass an initialiser on under another name.
		v.node = d.graph.Param(t.Name, op.Float32, op.Dims(sizes...))
		d.params[t.Name] = tensor.New(tensor.WithShape(sizes...), tensor.WithBacking(values))
	} else {
		v.node = d.graph.Const(values, sizes...)
	}
	if v.node == nil {
		return nil, d.graph.Err()
	}
	d.values[name] = v
	return v.node, nil
}
