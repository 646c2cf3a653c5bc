package export

import (
	"fmt"
	"maps"
	"slices"

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
	// floating-point initialisers that nodes use as data. Running statistics are
	// among them: they have no gradient.
	Params models.StateDict

	// Next holds what the running statistics of BatchNormalization in training
	// become, by the name of the statistic.
	Next map[string]*op.Node
}

// The opsets whose operators Decode knows. Opset 6 differs from 7 in how operands
// broadcast; a few operators have not changed since opset 1.
const (
	minDecodeOpset = 6
	maxDecodeOpset = 22
)

// Mode says how operators that behave differently in training are decoded.
type Mode int

// The modes. AsWritten does what the file says, which is inference in all but files
// exported in training mode.
const (
	AsWritten Mode = iota
	Training       // BatchNormalization by the batch's statistics, which the running ones follow
	Inference      // BatchNormalization by the running statistics, Dropout passes on
)

// DecodeOptions says what a model is decoded for.
type DecodeOptions struct {
	// Shapes are those of the inputs. They say which axis is the batch, such as
	// op.Batched(2, 3, 64, 64): its size stays open in what the graph is written to.
	Shapes map[string]op.Shape

	// Values are inputs whose value is known: shapes, axes, pads and the like, which
	// decide what the graph looks like. They need no shape.
	Values map[string]*onnx.Tensor

	Mode Mode

	// Half takes float16 for float32: the graph computes in float32.
	Half bool
}

// Decode turns a model into a graph for the given shapes of its inputs: DecodeWith
// without further options.
func Decode(m *onnx.Model, inputs map[string]op.Shape) (*Decoded, error) {
	return DecodeWith(m, DecodeOptions{Shapes: inputs})
}

// DecodeWith turns a model of opset 6 to 22 into a graph. Operators and element
// types that it does not know are one [Unsupported] error, which names them all with
// their nodes; Operators lists those that it knows.
//
// Shape arithmetic (Shape, Gather, Concat, ...) is computed here, for the sizes that
// are asked for; the batch axis stays open. The nodes are walked a second time by
// onnx-go; where the two disagree is an error.
func DecodeWith(m *onnx.Model, opt DecodeOptions) (decoded *Decoded, err error) {
	defer func() {
		if r := recover(); r != nil { // a mistake of ours that a strange file found
			decoded, err = nil, fmt.Errorf("export: decode: panic: %v", r)
		}
	}()
	if err := validate(m, opt.Half); err != nil {
		return nil, fmt.Errorf("export: decode: %w", err)
	}
	g, params := op.NewGraph(), models.StateDict{}
	d := newDecoder(m, g, opt)
	d.param = func(t *onnx.Tensor, sizes []int, values []float32) *op.Node {
		params[t.Name] = tensor.New(tensor.WithShape(sizes...), tensor.WithBacking(values))
		return g.Param(t.Name, op.Float32, op.Dims(sizes...))
	}
	inputs, err := d.inputs(m.Graph, opt)
	if err == nil {
		err = d.nodes(m.Graph.Nodes)
	}
	var outputs map[string]*op.Node
	if err == nil {
		outputs, err = d.outputs(m.Graph)
	}
	if err != nil {
		return nil, fmt.Errorf("export: decode: %w", err)
	}
	return &Decoded{Graph: g, Inputs: inputs, Outputs: outputs, Params: params, Next: d.next}, nil
}

// validate checks what does not depend on shapes.
func validate(m *onnx.Model, half bool) error {
	if m.Graph != nil { // the list of what is missing says more than what else is wrong
		if err := operatorsKnown(m, half); err != nil {
			return err
		}
	}
	if err := onnx.Check(m); err != nil {
		return err
	}
	if err := supported(m, half); err != nil {
		return err
	}
	return crossCheck(m)
}

// decoder builds the graph, node by node.
type decoder struct {
	graph  *op.Graph
	opset  int64
	mode   Mode
	half   bool
	values map[string]value // by their names in the file
	param  func(t *onnx.Tensor, sizes []int, values []float32) *op.Node
	next   map[string]*op.Node
	used   map[string]bool // names that a node or the graph's outputs read

	batch  int      // its size; 0 when there is none
	like   *op.Node // an input that has it
	budget *int     // elements that may still be made while decoding
}

func newDecoder(m *onnx.Model, g *op.Graph, opt DecodeOptions) *decoder {
	d := &decoder{graph: g, opset: m.Opset(""), mode: opt.Mode, half: opt.Half, values: map[string]value{},
		next: map[string]*op.Node{}, used: map[string]bool{}, budget: new(int)}
	*d.budget = foldBudget
	for _, t := range m.Graph.Initializers {
		d.values[t.Name] = d.initial(t)
	}
	for _, n := range m.Graph.Nodes {
		for _, name := range n.Inputs {
			d.used[name] = true
		}
	}
	for _, o := range m.Graph.Outputs {
		d.used[o.Name] = true
	}
	return d
}

// inputs makes the graph's inputs, which are those of the file without the
// initialisers that old files list among them.
func (d *decoder) inputs(g *onnx.Graph, opt DecodeOptions) (map[string]*op.Node, error) {
	inputs := map[string]*op.Node{}
	symbols := map[string]int{}
	for _, in := range g.Inputs {
		if g.Initializer(in.Name) != nil {
			continue
		}
		if t := opt.Values[in.Name]; t != nil {
			if err := d.bind(in, t); err != nil {
				return nil, fmt.Errorf("input %q: %w", in.Name, err)
			}
			continue
		}
		s, ok := opt.Shapes[in.Name]
		if !ok {
			return nil, fmt.Errorf("input %q: no shape given", in.Name)
		}
		t, _ := d.dtype(in.Type)
		if err := fits(in, s.Dims, symbols); err != nil {
			return nil, fmt.Errorf("input %q: %w", in.Name, err)
		}
		if slices.Contains(s.Dims, 0) {
			return nil, fmt.Errorf("input %q: %w", in.Name, &ZeroSize{s.Dims})
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
		if err := d.feed(in.Name, n); err != nil {
			return nil, err
		}
		inputs[in.Name] = n
	}
	for _, name := range slices.Sorted(maps.Keys(opt.Shapes)) {
		if inputs[name] == nil {
			return nil, fmt.Errorf("a shape is given for %q, which is not an input of the model", name)
		}
	}
	return inputs, nil
}

// feed makes a node the value of an input.
func (d *decoder) feed(name string, n *op.Node) error {
	d.values[name] = value{node: n}
	if n.Batch < 0 {
		return nil
	}
	size := n.Dims[n.Batch]
	if d.like != nil && size != d.batch {
		return fmt.Errorf("input %q has a batch of %d, another one of %d", name, size, d.batch)
	}
	d.like, d.batch = n, size
	return nil
}

// bind makes a tensor the value of an input.
func (d *decoder) bind(in *onnx.ValueInfo, t *onnx.Tensor) error {
	if t.Type != in.Type {
		return fmt.Errorf("got a value of type %v, the file says %v", t.Type, in.Type)
	}
	c, err := d.constant(t)
	if err != nil {
		return err
	}
	if err := fits(in, c.dims, nil); err != nil {
		return err
	}
	d.values[in.Name] = value{constant: c}
	return nil
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

func (d *decoder) nodes(nodes []*onnx.Node) error {
	for _, n := range nodes {
		if err := d.node(n); err != nil {
			return fmt.Errorf("%s: %w", title(n), err)
		}
	}
	return nil
}

func (d *decoder) outputs(g *onnx.Graph) (map[string]*op.Node, error) {
	outputs := map[string]*op.Node{}
	for _, o := range g.Outputs {
		n, err := d.data(o.Name)
		if err != nil {
			return nil, fmt.Errorf("output %w", err)
		}
		// Shapes of results in old files are often wrong about the batch: only what a
		// machine could not know is checked.
		if want, err := d.dtype(o.Type); err != nil || want != n.DType {
			return nil, fmt.Errorf("output %q is %v, the file says %v", o.Name, n.DType, o.Type)
		}
		if err := fits(o, n.Dims, nil); err != nil {
			return nil, fmt.Errorf("output %q: %w", o.Name, err)
		}
		if n.Batch >= 0 && d.like != nil && n.Dims[n.Batch] != d.batch {
			return nil, fmt.Errorf("output %q: %v holds the batch, which is %d, more than once", o.Name, n.Shape, d.batch)
		}
		outputs[o.Name] = n
	}
	return outputs, nil
}

// node adds one node of the file to the graph.
func (d *decoder) node(n *onnx.Node) error {
	r, _ := ruleOf(n)
	if err := d.typeFits(n, r); err != nil {
		return err
	}
	if d.known(n, r) {
		return d.fold(n, r)
	}
	c := &call{decoder: d, n: n}
	results, err := c.build(r)
	if err != nil {
		return err
	}
	return d.define(n, results)
}

// define names the results of a node.
func (d *decoder) define(n *onnx.Node, results []value) error {
	for i, name := range n.Outputs {
		if i < len(results) && results[i].defined() {
			d.values[name] = results[i]
		} else if d.used[name] {
			return fmt.Errorf("its output %q is not supported", name)
		}
	}
	return nil
}
