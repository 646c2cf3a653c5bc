package export

import (
	"errors"
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// DefaultOpset is the opset of the default domain that files are written in.
const DefaultOpset = 17

// Output is a value that a model gives, under the name it has in the file.
type Output struct {
	Name string
	Node *op.Node
}

// Options says how a graph is lowered.
type Options struct {
	// Params holds the values of parameters, by name. A parameter that has none
	// becomes an input of the model.
	Params map[string]*tensor.Dense

	// DynamicBatch leaves the size of batch axes open. Otherwise it is that of
	// the graph.
	DynamicBatch bool

	// Shapes records the shape of every node's value in the model, as a hint.
	Shapes bool

	// Origins, if it is a map, is given which node of the graph each value of the
	// model was written for: a node's own value, and what leads to it.
	Origins map[string]*op.Node

	Opset int       // 13 or later; default DefaultOpset
	Name  string    // of the ONNX graph; default "sslrt"
	Info  onnx.Info // metadata
}

// Lower writes the part of a graph that the outputs need as an ONNX model. Its
// inputs are the graph's inputs, then the parameters without value, in the order
// in which they were made.
func Lower(outputs []Output, opt Options) (*onnx.Model, error) {
	if len(outputs) == 0 {
		return nil, errors.New("export: a model needs an output")
	}
	if opt.Opset == 0 {
		opt.Opset = DefaultOpset
	}
	if opt.Opset < 13 || opt.Opset > 22 {
		return nil, fmt.Errorf("export: opset %d is not supported: choose one from 13 to 22", opt.Opset)
	}
	if opt.Name == "" {
		opt.Name = "sslrt"
	}
	nodes := make([]*op.Node, len(outputs))
	for i, o := range outputs {
		if o.Node == nil {
			return nil, fmt.Errorf("export: output %q has no node", o.Name)
		}
		if err := o.Node.Graph().Err(); err != nil {
			return nil, err
		}
		nodes[i] = o.Node
	}
	order := op.Reachable(nodes...)

	b := onnx.NewBuilder(int64(opt.Opset))
	l := op.NewLowering(b, opt.Opset)
	for _, kind := range []op.Kind{op.Input, op.Param} {
		for _, n := range order {
			if n.Kind != kind {
				continue
			}
			if v := opt.Params[n.Name]; kind == op.Param && v != nil {
				t, err := initializer(n, v)
				if err != nil {
					return nil, err
				}
				l.Define(n, b.Initializer(n.Name, t))
				continue
			}
			l.Define(n, b.Input(info(n.Name, n, opt.DynamicBatch)))
		}
	}
	for _, n := range order {
		switch n.Kind {
		case op.Const:
			l.Define(n, b.Const(tensorOf("", n, n.Value())))
		case op.Computed:
			written := len(b.Nodes())
			l.Lower(n)
			if opt.Origins != nil {
				noteOrigins(opt.Origins, l, n, b.Nodes()[written:])
			}
		}
	}
	if err := l.Err(); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	for _, o := range outputs {
		b.Output(info(o.Name, o.Node, opt.DynamicBatch))
		b.NodeTo("Identity", []string{l.NameOf(o.Node)}, []string{o.Name})
	}
	m, err := b.Model(opt.Name, opt.Info)
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	renamed := renameOutputs(m.Graph)
	if opt.Origins != nil {
		for from, to := range renamed {
			opt.Origins[to] = opt.Origins[from]
		}
	}
	if opt.Shapes {
		recordShapes(m.Graph, order, l, opt.DynamicBatch)
	}
	return m, nil
}

// noteOrigins notes what n wrote. Where several nodes share one node of ONNX the
// one whose value it is has it, not the one that wrote it.
func noteOrigins(origins map[string]*op.Node, l *op.Lowering, n *op.Node, written []*onnx.Node) {
	for _, w := range written {
		for _, out := range w.Outputs {
			origins[out] = n
		}
	}
	name := l.NameOf(n)
	for _, in := range n.Inputs {
		if l.NameOf(in) == name { // n passes a value on
			return
		}
	}
	origins[name] = n
}

// recordShapes adds the shapes of computed values that are not outputs.
func recordShapes(g *onnx.Graph, order []*op.Node, l *op.Lowering, dynamic bool) {
	inside := map[string]bool{}
	for _, n := range g.Nodes {
		for _, out := range n.Outputs {
			inside[out] = true
		}
	}
	for _, o := range g.Outputs {
		inside[o.Name] = false
	}
	for _, n := range order {
		if name := l.NameOf(n); n.Kind == op.Computed && inside[name] {
			inside[name] = false // two nodes may share a name
			g.ValueInfo = append(g.ValueInfo, info(name, n, dynamic))
		}
	}
}

func dims(n *op.Node) []int64 {
	out := make([]int64, len(n.Dims))
	for i, d := range n.Dims {
		out[i] = int64(d)
	}
	return out
}

func info(name string, n *op.Node, dynamic bool) *onnx.ValueInfo {
	sizes := make([]onnx.Dim, len(n.Dims))
	for i, d := range n.Dims {
		sizes[i] = onnx.Fixed(int64(d))
		if dynamic && i == n.Batch {
			sizes[i] = onnx.Symbol("N")
		}
	}
	return onnx.TensorInfo(name, n.DType.ONNX(), sizes...)
}

func initializer(n *op.Node, v *tensor.Dense) (*onnx.Tensor, error) {
	if !slices.Equal([]int(v.Shape()), n.Dims) {
		return nil, fmt.Errorf("export: parameter %q: got a value of shape %v, want %v", n.Name, v.Shape(), n.Shape)
	}
	if v.Dtype() != n.DType.Tensor() {
		return nil, fmt.Errorf("export: parameter %q: got a value of type %v, want %v", n.Name, v.Dtype(), n.DType)
	}
	return tensorOf(n.Name, n, v), nil
}

// tensorOf returns a value of n as it stands in a file.
func tensorOf(name string, n *op.Node, v *tensor.Dense) *onnx.Tensor {
	switch n.DType {
	case op.Int64:
		return onnx.Int64Tensor(name, dims(n), v.Int64s())
	case op.Int32:
		return onnx.Int32Tensor(name, dims(n), v.Int32s())
	case op.Bool:
		return onnx.BoolTensor(name, dims(n), v.Bools())
	}
	return onnx.FloatTensor(name, dims(n), v.Float32s())
}

// renameOutputs gives the node that computes an output the output's name and
// drops the Identity between them, where that Identity is the only one. It returns
// the outputs' names by those that are gone.
func renameOutputs(g *onnx.Graph) map[string]string {
	producer := map[string]*onnx.Node{}
	for _, n := range g.Nodes {
		for _, out := range n.Outputs {
			producer[out] = n
		}
	}
	renamed := map[string]string{}
	drop := map[*onnx.Node]bool{}
	for _, out := range g.Outputs {
		id := producer[out.Name]
		from := id.Inputs[0]
		if producer[from] != nil && renamed[from] == "" {
			renamed[from] = out.Name
			drop[id] = true
		}
	}
	rename := func(names []string) {
		for i, n := range names {
			if to := renamed[n]; to != "" {
				names[i] = to
			}
		}
	}
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n *onnx.Node) bool { return drop[n] })
	for _, n := range g.Nodes {
		rename(n.Inputs)
		rename(n.Outputs)
	}
	return renamed
}
