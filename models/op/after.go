package op

import (
	"fmt"

	"gorgonia.org/tensor"
)

// After returns x, of one axis or more, computed once y, float32 of any shape, is there:
// a machine that would compute what depends on x early must wait. y has no other
// influence, not even where it is NaN, and no gradient. It stands where values of a forward
// pass are computed anew for the backward pass (Chen et al., 2016, "Training deep nets
// with sublinear memory cost").
func After(x, y *Node) *Node { return Apply(after{}, x, y) }

type after struct{}

func (after) String() string { return "After" }

func (after) Infer(in []Type) (Type, error) {
	if len(in[0].Dims) == 0 || in[1].DType != Float32 {
		return Type{}, fmt.Errorf("want x with axes, and y of float32, got %v", in)
	}
	return in[0], nil
}

func (after) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	return in[0].Clone().(*tensor.Dense), nil
}

func (after) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{dy, nil} }

// ONNX writes a Reshape of x to its own sizes, which copies nothing. One value of y is
// added to them, times 0: as an integer it is no NaN.
func (after) ONNX(l *Lowering, n *Node, in []string) string {
	first := l.Node("Reshape", []string{in[1], l.Ints(-1)})
	first = l.Node("Slice", []string{first, l.Ints(0), l.Ints(1)})
	zero := l.Node("Mul", []string{l.Cast(first, Int64.ONNX()), l.Ints(0)})
	return l.Node("Reshape", []string{in[0], l.Node("Add", []string{l.Ints(n.symbolic()...), zero})})
}
