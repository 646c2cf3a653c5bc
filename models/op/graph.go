package op

import (
	"errors"
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Kind says what a node is.
type Kind int

const (
	Computed Kind = iota // the result of an operation
	Input                // fed at each run
	Param                // a weight or a piece of state, known by its name
	Const                // a value that never changes
)

// Graph is a gorgonia graph of operations of this package.
type Graph struct {
	g      *gorgonia.ExprGraph
	nodes  map[*gorgonia.Node]*Node
	names  map[string]*Node
	hashes map[uint32]struct{}
	serial int
	blocks int // made so far
	block  int // that nodes are added to now, from 1 up; 0: none
	err    error

	deriving *Node // whose gradient is being built
}

// NewGraph returns an empty graph.
func NewGraph() *Graph {
	return &Graph{
		g:      gorgonia.NewGraph(),
		nodes:  map[*gorgonia.Node]*Node{},
		names:  map[string]*Node{},
		hashes: map[uint32]struct{}{},
	}
}

// Node is one value of a graph: a leaf or the result of an operation.
type Node struct {
	Type
	Kind   Kind
	Name   string // of an input or a parameter; empty otherwise
	Op     Op     // nil for leaves
	Inputs []*Node

	// Of is the node whose gradient this node helps to compute, nil for nodes of
	// forward passes and for what is made of finished gradients.
	Of *Node
	// ForWeight tells, if Of is set, that this is the gradient with respect to a
	// weight or a part of it.
	ForWeight bool

	graph *Graph
	n     *gorgonia.Node
	id    int
	fixed bool // see Fixed
	block int
}

// Graph returns the graph that the node belongs to.
func (n *Node) Graph() *Graph { return n.graph }

// ID numbers the nodes of a graph in the order in which they were made: a
// node's inputs have smaller numbers.
func (n *Node) ID() int { return n.id }

// Fixed reports a node that depends on parameters and constants only: a weight,
// reshaped or not.
func (n *Node) Fixed() bool { return n.fixed }

// Block numbers the block that the node was made in, from 0 up; -1: in none.
func (n *Node) Block() int { return n.block - 1 }

// Gorgonia returns the node of the expression graph below.
func (n *Node) Gorgonia() *gorgonia.Node { return n.n }

// Value returns the value of a constant, nil for all other kinds.
func (n *Node) Value() *tensor.Dense {
	if n.Kind != Const {
		return nil
	}
	return n.n.Value().(*tensor.Dense)
}

func (n *Node) String() string {
	switch n.Kind {
	case Computed:
		return fmt.Sprintf("%v#%d %v", n.Op, n.id, n.Type)
	case Const:
		return fmt.Sprintf("const#%d %v", n.id, n.Type)
	}
	return fmt.Sprintf("%q %v", n.Name, n.Type)
}

// Gorgonia returns the expression graph below.
func (g *Graph) Gorgonia() *gorgonia.ExprGraph { return g.g }

// Err returns the first error made while the graph was built.
func (g *Graph) Err() error { return g.err }

// Fail records an error made while building, unless there is one already, and
// returns nil, so that layers can report what only they know.
func (g *Graph) Fail(format string, args ...any) *Node {
	if g.err == nil {
		g.err = fmt.Errorf(format, args...)
	}
	return nil
}

// Input adds a value that is fed at each run.
func (g *Graph) Input(name string, d DType, s Shape) *Node {
	return g.leaf(Input, name, Type{d, s}, nil)
}

// Param adds a named weight or piece of state. Asking twice for the same name
// returns the same node, so that a network applied twice shares its weights;
// asking with another shape is an error.
func (g *Graph) Param(name string, d DType, s Shape) *Node {
	if n := g.names[name]; n != nil && n.Kind == Param {
		if n.DType != d || !n.Shape.Equal(s) {
			return g.Fail("op: parameter %q is used as %v and as %v", name, n.Type, Type{d, s})
		}
		return n
	}
	return g.leaf(Param, name, Type{d, s}, nil)
}

// Const adds a value that never changes. data is not copied.
func (g *Graph) Const(data []float32, sizes ...int) *Node {
	s := Dims(sizes...)
	if len(data) != s.Size() {
		return g.Fail("op: constant %v needs %d values, got %d", s, s.Size(), len(data))
	}
	return g.leaf(Const, "", Type{Float32, s}, tensorOf(data, sizes))
}

// ConstOf adds a tensor that never changes, of any element type. It is not copied.
func (g *Graph) ConstOf(t *tensor.Dense) *Node {
	d, ok := DTypeOf(t)
	if !ok {
		return g.Fail("op: a constant of type %v", t.Dtype())
	}
	return g.leaf(Const, "", Type{d, Dims(t.Shape().Clone()...)}, t)
}

// Scalar adds a constant without axes.
func (g *Graph) Scalar(v float64) *Node { return g.Const([]float32{float32(v)}) }

func (g *Graph) leaf(k Kind, name string, t Type, value *tensor.Dense) *Node {
	if g.err != nil {
		return nil
	}
	if k != Const {
		if name == "" {
			return g.Fail("op: an input or parameter of type %v has no name", t)
		}
		if old := g.names[name]; old != nil {
			return g.Fail("op: the name %q is taken by %v", name, old)
		}
	}
	for _, d := range t.Dims {
		if d < 1 {
			return g.Fail("op: %q: sizes must be positive, got %v", name, t)
		}
	}
	n := &Node{Type: t, Kind: k, Name: name, graph: g, id: g.serial, fixed: k != Input, block: g.block}
	gn, err := g.newLeaf(n, value)
	if err != nil {
		return g.Fail("op: %q: %w", name, err)
	}
	n.n = gn
	g.serial++
	g.nodes[gn] = n
	if k != Const {
		g.names[name] = n
	}
	return n
}

// Block calls build and marks the nodes that it makes as one block of the network, such
// as a residual block: the unit of activation checkpointing. It returns what build
// returns. A block within a block is an error of the graph.
func (g *Graph) Block(build func() *Node) *Node {
	if g.block != 0 {
		return g.Fail("op: a block within block %d: end that one first", g.block-1)
	}
	g.blocks++
	g.block = g.blocks
	defer func() { g.block = 0 }()
	return build()
}

// Blocks is the number of blocks.
func (g *Graph) Blocks() int { return g.blocks }

// lookup returns our node for one of gorgonia's.
func (g *Graph) lookup(n *gorgonia.Node) *Node { return g.nodes[n] }

var errForeign = errors.New("op: a node that was not made by this graph")

// Reachable returns the nodes that the given ones depend on, themselves
// included, each after its inputs.
func Reachable(from ...*Node) []*Node {
	seen := map[*Node]bool{}
	var out []*Node
	stack := slices.Clone(from)
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[n] {
			continue
		}
		seen[n] = true
		out = append(out, n)
		stack = append(stack, n.Inputs...)
	}
	slices.SortFunc(out, func(a, b *Node) int { return a.id - b.id })
	return out
}
