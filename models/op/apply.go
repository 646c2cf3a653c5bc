package op

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Op is one differentiable operation: its four faces.
type Op interface {
	// String names the operation with all its attributes: two operations that
	// print alike are alike.
	fmt.Stringer

	// Infer is the shape rule: the type of the result, or why the inputs do not
	// fit.
	Infer(in []Type) (Type, error)

	// Run is the Go kernel. It never writes to an input and never returns a
	// view of one.
	Run(in []*tensor.Dense) (*tensor.Dense, error)

	// Grad returns the gradient of a scalar with respect to each input, given
	// y, the operation's result, and dy, the gradient with respect to it. nil
	// stands for an input without gradient.
	Grad(in []*Node, y, dy *Node) []*Node

	// ONNX writes the operation: nodes that compute the name it returns.
	ONNX(l *Lowering, n *Node, in []string) string
}

// hashMask cuts the hashes that must be unique; tests cut it short.
var hashMask = ^uint32(0)

// maxSalt bounds the search for a free hash. With 32-bit hashes the second try
// succeeds; only a graph that fills a cut hash gets near.
const maxSalt = 1 << 16

// Apply makes the node o(in...). It is the only place that adds an operation to
// a graph. A wrong call is recorded as the graph's error and gives nil.
func Apply(o Op, in ...*Node) *Node {
	var g *Graph
	for _, n := range in {
		if n == nil {
			return nil // the cause is recorded already
		}
		if g != nil && n.graph != g {
			return g.Fail("op: %v: its inputs belong to two graphs", o)
		}
		g = n.graph
	}
	if g == nil {
		panic("op: Apply without inputs")
	}
	if g.err != nil {
		return nil
	}
	types := make([]Type, len(in))
	for i, n := range in {
		types[i] = n.Type
	}
	t, err := o.Infer(types)
	if err != nil {
		return g.Fail("op: %v of %v: %w", o, types, err)
	}
	node := &Node{Type: t, Kind: Computed, Op: o, Inputs: in, Of: g.deriving, graph: g, id: g.serial, fixed: allFixed(in), block: g.block}
	if node.n, err = g.newNode(node); err != nil {
		return g.Fail("op: %v of %v: %w", o, types, err)
	}
	g.serial++
	g.nodes[node.n] = node
	return node
}

// Gorgonia merges the nodes of a program by a bare 32-bit hash, different ones
// too: only the first of them runs. So every node is given a hash of its own:
// operations carry a salt in theirs, leaves in their gorgonia name.

func (g *Graph) newNode(n *Node) (*gorgonia.Node, error) {
	children := make([]*gorgonia.Node, len(n.Inputs))
	for i, in := range n.Inputs {
		children[i] = in.n
	}
	a := adapter{Op: n.Op, node: n}
	for ; a.salt < maxSalt; a.salt++ {
		h := fnv.New32a()
		fmt.Fprintf(h, "%v%v", gorgoniaType(n.Type), gorgoniaShape(n.Type))
		a.WriteHash(h)
		h.Write([]byte{byte(len(children))})
		for _, c := range children {
			binary.Write(h, binary.LittleEndian, c.Hashcode())
		}
		if !g.claim(h.Sum32()) {
			continue
		}
		gn, err := gorgonia.ApplyOp(a, children...)
		if err == nil && gn.Hashcode() != h.Sum32() {
			err = fmt.Errorf("gorgonia hashes the node to %08x, expected %08x: is gorgonia's version the one in go.mod?", gn.Hashcode(), h.Sum32())
		}
		return gn, err
	}
	return nil, fmt.Errorf("no free hash left for node %d", n.id)
}

func (g *Graph) newLeaf(n *Node, value *tensor.Dense) (*gorgonia.Node, error) {
	for salt := range maxSalt {
		name := fmt.Sprintf("%d/%s/%d", n.Kind, n.Name, salt)
		if n.Kind == Const {
			name = fmt.Sprintf("%d/%d/%d", n.Kind, n.id, salt)
		}
		h := fnv.New32a()
		fmt.Fprintf(h, "%v%v", gorgoniaType(n.Type), gorgoniaShape(n.Type))
		h.Write([]byte(name))
		h.Write([]byte{0})
		if !g.claim(h.Sum32()) {
			continue
		}
		opts := []gorgonia.NodeConsOpt{
			gorgonia.In(g.g), gorgonia.WithName(name),
			gorgonia.WithType(gorgoniaType(n.Type)), gorgonia.WithShape(gorgoniaShape(n.Type)...),
		}
		if value != nil {
			opts = append(opts, gorgonia.WithValue(value))
		}
		gn := gorgonia.NewUniqueNode(opts...)
		if gn.Hashcode() != h.Sum32() {
			return nil, fmt.Errorf("gorgonia hashes the leaf to %08x, expected %08x: is gorgonia's version the one in go.mod?", gn.Hashcode(), h.Sum32())
		}
		return gn, nil
	}
	return nil, fmt.Errorf("no free hash left for %q", n.Name)
}

// claim takes a hash, unless a node of the graph has it.
func (g *Graph) claim(h uint32) bool {
	h &= hashMask
	if _, taken := g.hashes[h]; taken {
		return false
	}
	g.hashes[h] = struct{}{}
	return true
}

func gorgoniaType(t Type) hm.Type {
	if len(t.Dims) == 0 {
		return t.DType.Tensor()
	}
	return gorgonia.TensorType{Dims: len(t.Dims), Of: t.DType.Tensor()}
}

func gorgoniaShape(t Type) tensor.Shape { return tensor.Shape(t.Dims) }

// adapter shows an operation to gorgonia as its Op and SDOp.
type adapter struct {
	Op
	node *Node
	salt int
}

var _ gorgonia.SDOp = adapter{}

func (a adapter) Arity() int { return len(a.node.Inputs) }

// Type returns the operation's function type. It is concrete: Apply has checked
// the inputs already.
func (a adapter) Type() hm.Type {
	types := make([]hm.Type, 0, len(a.node.Inputs)+1)
	for _, in := range a.node.Inputs {
		types = append(types, gorgoniaType(in.Type))
	}
	return hm.NewFnType(append(types, gorgoniaType(a.node.Type))...)
}

func (a adapter) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	return gorgoniaShape(a.node.Type).Clone(), nil
}

// Do runs the kernel. The tape machine calls it in a goroutine of its own, where
// a panic would end the process: it becomes an error here.
func (a adapter) Do(values ...gorgonia.Value) (v gorgonia.Value, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("op: %v: panic in the kernel: %v", a.Op, r)
		}
	}()
	in := make([]*tensor.Dense, len(values))
	for i, value := range values {
		d, ok := value.(*tensor.Dense)
		if !ok {
			return nil, fmt.Errorf("op: %v: input %d is a %T, want a dense tensor", a.Op, i, value)
		}
		in[i] = d
	}
	out, err := a.Op.Run(in)
	if err != nil {
		return nil, fmt.Errorf("op: %v: %w", a.Op, err)
	}
	return out, nil
}

func (a adapter) ReturnsPtr() bool     { return true }
func (a adapter) CallsExtern() bool    { return false }
func (a adapter) OverwritesInput() int { return -1 }

func (a adapter) WriteHash(h hash.Hash) { fmt.Fprintf(h, "%v|%d", a.Op, a.salt) }

func (a adapter) Hashcode() uint32 {
	h := fnv.New32a()
	a.WriteHash(h)
	return h.Sum32()
}

// DiffWRT answers for gorgonia's own differentiation, which nothing here uses.
func (a adapter) DiffWRT(n int) []bool {
	wrt := make([]bool, n)
	for i := range wrt {
		wrt[i] = true
	}
	return wrt
}

// SymDiff shows Grad to gorgonia.
func (a adapter) SymDiff(inputs gorgonia.Nodes, output, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	g := a.node.graph
	y, dy := g.lookup(output), g.lookup(grad)
	if y == nil || dy == nil {
		return nil, errForeign
	}
	grads := a.Op.Grad(y.Inputs, y, dy)
	if g.err != nil {
		return nil, g.err
	}
	out := make(gorgonia.Nodes, len(grads))
	for i, n := range grads {
		if n != nil {
			out[i] = n.n
		}
	}
	return out, nil
}
