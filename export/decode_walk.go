package export

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	onnxgo "github.com/owulveryck/onnx-go"
	"gonum.org/v1/gonum/graph"
	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// crossCheck lets onnx-go walk the nodes too and compares what it found with what
// the model says: operators, attributes and edges.
func crossCheck(m *onnx.Model) error {
	if len(m.Graph.Nodes) == 0 {
		return nil // onnx-go refuses such a graph, and there is nothing to walk
	}
	data, err := outline(m).Marshal()
	if err != nil {
		return err
	}
	steps, err := walk(data)
	if err != nil {
		return fmt.Errorf("onnx-go does not read the model: %w", err)
	}
	return agree(m.Graph.Nodes, steps)
}

// outline is the model without what onnx-go is not asked about: values of tensors,
// types, operators outside the rules (refused before).
func outline(m *onnx.Model) *onnx.Model {
	g := &onnx.Graph{Name: m.Graph.Name}
	for _, in := range m.Graph.Inputs {
		g.Inputs = append(g.Inputs, &onnx.ValueInfo{Name: in.Name})
	}
	for _, out := range m.Graph.Outputs {
		g.Outputs = append(g.Outputs, &onnx.ValueInfo{Name: out.Name})
	}
	for _, t := range m.Graph.Initializers {
		g.Initializers = append(g.Initializers, onnx.FloatTensor(t.Name, nil, []float32{0}))
	}
	for _, n := range m.Graph.Nodes {
		to := &onnx.Node{Name: n.Name, OpType: n.OpType, Inputs: n.Inputs, Outputs: n.Outputs[:1]}
		for _, a := range n.Attrs {
			if a.Type == onnx.AttrTensor {
				a = onnx.TensorAttr(a.Name, onnx.FloatTensor("", nil, []float32{0}))
			}
			to.Attrs = append(to.Attrs, a)
		}
		g.Nodes = append(g.Nodes, to)
	}
	return &onnx.Model{IRVersion: m.IRVersion, Graph: g, Opsets: []onnx.Opset{{Version: m.Opset("")}}}
}

// walk decodes a model with onnx-go. Its panics become errors.
func walk(data []byte) (steps []step, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	var w walker
	if err := onnxgo.NewModel(&w).UnmarshalBinary(data); err != nil {
		return nil, err
	}
	return w.steps, nil
}

// walker is a backend of onnx-go that only records.
type walker struct {
	graph.Directed // nil: onnx-go builds and asks nothing

	vertices int64
	steps    []step
}

var _ onnxgo.Backend = (*walker)(nil)

// step is one operation as onnx-go tells it.
type step struct {
	op     string
	attrs  map[string]any
	inputs []string
	output string
}

// vertex is a value of the model: its name, and the inputs of the operation that
// computes it.
type vertex struct {
	id     int64
	name   string
	inputs []string
}

var _ onnxgo.Namer = (*vertex)(nil)

func (v *vertex) ID() int64           { return v.id }
func (v *vertex) SetName(name string) { v.name = name }
func (v *vertex) GetName() string     { return v.name }

// edge leads from a result to the input with the number weight.
type edge struct {
	from, to graph.Node
	weight   float64
}

func (e edge) From() graph.Node         { return e.from }
func (e edge) To() graph.Node           { return e.to }
func (e edge) ReversedEdge() graph.Edge { return edge{e.to, e.from, e.weight} }
func (e edge) Weight() float64          { return e.weight }

func (w *walker) NewNode() graph.Node {
	w.vertices++
	return &vertex{id: w.vertices}
}

func (w *walker) AddNode(graph.Node) {}

func (w *walker) NewWeightedEdge(from, to graph.Node, weight float64) graph.WeightedEdge {
	return edge{from, to, weight}
}

func (w *walker) SetWeightedEdge(e graph.WeightedEdge) {
	result, input := e.From().(*vertex), e.To().(*vertex)
	if int(e.Weight()) == len(result.inputs) {
		result.inputs = append(result.inputs, input.name)
	}
}

func (w *walker) ApplyOperation(o onnxgo.Operation, results ...graph.Node) error {
	if len(results) != 1 {
		return fmt.Errorf("%s with %d results, want one", o.Name, len(results))
	}
	v := results[0].(*vertex)
	w.steps = append(w.steps, step{o.Name, o.Attributes, v.inputs, v.name})
	return nil
}

// agree compares the nodes of the file with the steps of onnx-go, which knows no
// names of nodes: they are matched by the names of their results.
func agree(nodes []*onnx.Node, steps []step) error {
	byOutput := map[string]step{}
	for _, s := range steps {
		byOutput[s.output] = s
	}
	var wrong []error
	for _, n := range nodes {
		s, ok := byOutput[n.Outputs[0]]
		if !ok {
			wrong = append(wrong, fmt.Errorf("%s: onnx-go does not see it", title(n)))
			continue
		}
		delete(byOutput, n.Outputs[0])
		if err := sameNode(n, s); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", title(n), err))
		}
	}
	if extra := len(steps) - len(nodes); len(wrong) == 0 && extra != 0 {
		wrong = append(wrong, fmt.Errorf("onnx-go sees %d nodes, want %d", len(steps), len(nodes)))
	}
	return errors.Join(wrong...)
}

func sameNode(n *onnx.Node, s step) error {
	inputs := n.Inputs
	if len(inputs) == 0 {
		inputs = []string{n.Name + "/input"} // onnx-go gives such a node one
	}
	if s.op != n.OpType {
		return fmt.Errorf("onnx-go sees the operator %s", s.op)
	}
	if !slices.Equal(s.inputs, inputs) {
		return fmt.Errorf("onnx-go sees the inputs %s, want %s", strings.Join(s.inputs, ", "), strings.Join(inputs, ", "))
	}
	if len(s.attrs) != len(n.Attrs) {
		return fmt.Errorf("onnx-go sees %d attributes, want %d", len(s.attrs), len(n.Attrs))
	}
	for _, a := range n.Attrs {
		if got, ok := s.attrs[a.Name]; !ok || !sameAttr(a, got) {
			return fmt.Errorf("onnx-go sees the attribute %q as %v", a.Name, got)
		}
	}
	return nil
}

func sameAttr(a *onnx.Attr, got any) bool {
	switch v := got.(type) {
	case int64:
		return a.Type == onnx.AttrInt && v == a.I
	case float32:
		return a.Type == onnx.AttrFloat && sameBits(v, a.F)
	case string:
		return a.Type == onnx.AttrString && v == string(a.S)
	case []int64:
		return a.Type == onnx.AttrInts && slices.Equal(v, a.Ints)
	case []float32:
		return a.Type == onnx.AttrFloats && slices.EqualFunc(v, a.Floats, sameBits)
	case tensor.Tensor:
		return a.Type == onnx.AttrTensor
	}
	return false
}

func sameBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
