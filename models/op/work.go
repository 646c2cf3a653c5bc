package op

import "strings"

// worker is an operation whose cost is its multiplications: a convolution, one of
// its gradients or a matrix product.
type worker interface {
	// multiplications returns how many the operation needs for y = o(in...), every
	// padded zero counted.
	multiplications(in []*Node, y *Node) int
}

// FLOP returns the floating-point operations of a convolution or a matrix product,
// two for each multiplication, and 0 for anything else.
func (n *Node) FLOP() int {
	if w, ok := n.Op.(worker); ok {
		return 2 * w.multiplications(n.Inputs, n)
	}
	return 0
}

// OpName returns the name of the node's operation without its attributes, "" for
// leaves.
func (n *Node) OpName() string {
	if n.Op == nil {
		return ""
	}
	name := n.Op.String()
	if i := strings.IndexAny(name, "([{"); i >= 0 {
		name = name[:i]
	}
	return name
}

// taps returns the number of weights that each value of a convolution's result
// meets, given its weight: [K, C/groups, h, w].
func taps(w *Node) int { return w.Dims[1] * w.Dims[2] * w.Dims[3] }

func (o conv) multiplications(in []*Node, y *Node) int          { return y.Size() * taps(in[1]) }
func (o convInputGrad) multiplications(in []*Node, y *Node) int { return in[0].Size() * taps(in[1]) }
func (o convWeightGrad) multiplications(in []*Node, y *Node) int {
	return in[1].Size() * taps(y)
}

func (o gemm) multiplications(in []*Node, y *Node) int {
	k := 1
	if o.transA {
		k = 0
	}
	return y.Size() * in[0].Dims[k]
}

func (matmul) multiplications(in []*Node, y *Node) int {
	return y.Size() * in[0].Dims[len(in[0].Dims)-1]
}
