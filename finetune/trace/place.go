package trace

import (
	"strings"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// The phases of a step.
const (
	Forward        = "forward"
	InputGradient  = "input gradient"
	WeightGradient = "weight gradient"
	Update         = "update" // from gradients to new weights and state
)

// Layers of nodes that belong to no layer with weights.
const (
	layerInput     = "input"     // before the first one
	layerLoss      = "loss"      // behind the last one
	layerOptimizer = "optimizer" // phase Update
)

// place says what a node of the graph belongs to.
type place struct {
	layer     string // its weights' names without their last part, such as "encoder.layer1.0.conv1"
	operation string // "Conv2D"; of a gradient that of the forward node
	phase     string
}

// graph is what places needs to know of the nodes of a function.
type graph struct {
	order  []*op.Node
	layer  map[*op.Node]string
	update map[*op.Node]bool // made of finished gradients, or for nothing but such nodes
	before map[*op.Node]bool // a layer with weights depends on it
}

// places returns the nodes that a function needs, in the order in which they were
// made, and the place of each. A node of the forward
// pass belongs to the layer whose weights it reads; an operation without weights, an
// activation say, to the layer whose result it takes first.
func places(f engine.Function) ([]*op.Node, map[*op.Node]place) {
	g := newGraph(f)
	var nodes []*op.Node
	at := map[*op.Node]place{}
	for _, n := range g.order {
		if n.Kind == op.Computed {
			nodes = append(nodes, n)
			at[n] = g.place(n)
		}
	}
	return nodes, at
}

func newGraph(f engine.Function) *graph {
	roots := map[*op.Node]bool{}
	var from []*op.Node
	for _, o := range f.Outputs {
		from = append(from, o.Node)
	}
	for _, c := range f.Carry {
		from = append(from, c.Next)
	}
	for _, n := range from {
		roots[n] = true
	}
	g := &graph{order: op.Reachable(from...), layer: map[*op.Node]string{},
		update: map[*op.Node]bool{}, before: map[*op.Node]bool{}}
	derived := map[*op.Node]bool{} // depends on a gradient
	for _, n := range g.order {
		derived[n] = n.Of != nil
		for _, in := range n.Inputs {
			derived[n] = derived[n] || derived[in]
		}
		if !derived[n] {
			g.layer[n] = g.layerOf(n)
		}
	}
	used := roots // by what is not an update
	for i := len(g.order) - 1; i >= 0; i-- {
		n := g.order[i]
		g.update[n] = n.Of == nil && (derived[n] || !used[n])
		for _, in := range n.Inputs {
			if !g.update[n] {
				used[in] = true
			}
			if !g.update[n] && n.Of == nil && (g.before[n] || g.weighted(n)) {
				g.before[in] = true
			}
		}
	}
	return g
}

// layerOf returns the layer of a node of the forward pass, "" before the first one.
func (g *graph) layerOf(n *op.Node) string {
	if n.Kind == op.Param {
		if i := strings.LastIndexByte(n.Name, '.'); i >= 0 {
			return n.Name[:i]
		}
		return n.Name
	}
	first := ""
	_, result := results[n.OpName()]
	for _, in := range n.Inputs {
		if in.Fixed() && g.layer[in] != "" || result && operation(in) == operation(n) {
			return g.layer[in]
		}
		if first == "" {
			first = g.layer[in]
		}
	}
	return first
}

// weighted reports a node that reads or makes a weight.
func (g *graph) weighted(n *op.Node) bool {
	if n.Fixed() {
		return g.layer[n] != ""
	}
	for _, in := range n.Inputs {
		if in.Fixed() && g.layer[in] != "" {
			return true
		}
	}
	return false
}

// results are operations that are one result of another one.
var results = map[string]string{"BatchMean": "BatchNorm", "BatchVar": "BatchNorm", "MaxPool2DIndices": "MaxPool2D",
	"LayerMean": "LayerNorm", "LayerInverse": "LayerNorm"}

// operation names the operation of a node.
func operation(n *op.Node) string {
	name := n.OpName()
	if of, ok := results[name]; ok {
		return of
	}
	return name
}

func (g *graph) place(n *op.Node) place {
	if g.update[n] {
		return place{layerOptimizer, operation(n), Update}
	}
	p := place{operation: operation(n), phase: Forward}
	forward := n
	if n.Of != nil {
		forward, p.phase = n.Of, InputGradient
		if n.ForWeight {
			p.phase = WeightGradient
		}
		if forward.Kind == op.Computed {
			p.operation = operation(forward)
		}
	}
	switch {
	case !g.before[forward] && !g.weighted(forward):
		p.layer = layerLoss
	case g.layer[forward] == "":
		p.layer = layerInput
	default:
		p.layer = g.layer[forward]
	}
	return p
}
