package op

import (
	"fmt"

	"gorgonia.org/tensor"
)

// Where returns a where mask holds (is true, or not 0) and b elsewhere. The mask has
// no gradient, a and b have one element type, any; the three shapes broadcast. What
// is not chosen gets the gradient 0, also where it is infinite or NaN.
func Where(mask, a, b *Node) *Node { return Apply(choose{}, Cast(mask, Bool), a, b) }

// choose is Where: inputs mask, a, b.
type choose struct{}

func (choose) String() string { return "Where" }

func (choose) Infer(in []Type) (Type, error) {
	s, err := broadcast(in[0].Shape, in[1].Shape)
	if err == nil {
		s, err = broadcast(s, in[2].Shape)
	}
	if err == nil && (in[0].DType != Bool || in[1].DType != in[2].DType) {
		err = fmt.Errorf("want bool and two values of one type")
	}
	return Type{in[1].DType, s}, err
}

func (choose) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	switch in[1].Dtype() {
	case tensor.Int64:
		return chosen[int64](in)
	case tensor.Int32:
		return chosen[int32](in)
	case tensor.Bool:
		return chosen[bool](in)
	}
	return chosen[float32](in)
}

func chosen[T element](in []*tensor.Dense) (*tensor.Dense, error) {
	s := Dims(in[0].Shape()...)
	for i, t := range in[1:] {
		var err error
		if s, err = broadcast(s, Dims(t.Shape()...)); err != nil {
			return nil, fmt.Errorf("input %d: %w", i+1, err)
		}
	}
	dims := s.Dims
	y := make([]T, s.Size())
	if len(y) == 0 {
		return tensorOf(y, dims), nil
	}
	mask, a, b := elements[bool](in[0]), elements[T](in[1]), elements[T](in[2])
	sm, sa, sb := broadcastStrides(in[0].Shape(), dims), broadcastStrides(in[1].Shape(), dims), broadcastStrides(in[2].Shape(), dims)
	if len(dims) == 0 {
		sm, sa, sb, dims = []int{0}, []int{0}, []int{0}, []int{1}
	}
	last := len(dims) - 1
	inner := dims[last]
	parallel(len(y)/inner, inner, func(lo, hi int) {
		for row := lo; row < hi; row++ {
			im, ia, ib := offset(row, dims[:last], sm), offset(row, dims[:last], sa), offset(row, dims[:last], sb)
			for i := range inner {
				if mask[im+i*sm[last]] {
					y[row*inner+i] = a[ia+i*sa[last]]
				} else {
					y[row*inner+i] = b[ib+i*sb[last]]
				}
			}
		}
	})
	return tensorOf(y, s.Dims), nil
}

func (choose) Grad(in []*Node, y, dy *Node) []*Node {
	zero := dy.graph.Scalar(0)
	return []*Node{nil, sumLike(Where(in[0], dy, zero), in[1]), sumLike(Where(in[0], zero, dy), in[2])}
}

func (choose) ONNX(l *Lowering, n *Node, in []string) string { return l.Node("Where", in) }
