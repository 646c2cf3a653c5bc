package op

import (
	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// Where returns a where mask is not 0 and b elsewhere. The mask is float32 and has
// no gradient; the three shapes broadcast. What is not chosen gets the gradient 0,
// also where it is infinite or NaN.
func Where(mask, a, b *Node) *Node { return Apply(choose{}, mask, a, b) }

// choose is Where: inputs mask, a, b.
type choose struct{}

func (choose) String() string { return "Where" }

func (choose) Infer(in []Type) (Type, error) {
	s, err := broadcast(in[0].Shape, in[1].Shape)
	if err == nil {
		s, err = broadcast(s, in[2].Shape)
	}
	if err != nil {
		return Type{}, err
	}
	return Type{Float32, s}, needFloat(in...)
}

func (choose) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	s := Dims(in[0].Shape()...)
	for _, t := range in[1:] {
		var err error
		if s, err = broadcast(s, Dims(t.Shape()...)); err != nil {
			return nil, err
		}
	}
	out, y := zeros(s.Dims...)
	mask, a, b := f32(in[0]), f32(in[1]), f32(in[2])
	sm, sa, sb := broadcastStrides(in[0].Shape(), s.Dims), broadcastStrides(in[1].Shape(), s.Dims), broadcastStrides(in[2].Shape(), s.Dims)
	if len(s.Dims) == 0 {
		sm, sa, sb, s.Dims = []int{0}, []int{0}, []int{0}, []int{1}
	}
	last := len(s.Dims) - 1
	inner := s.Dims[last]
	parallel(len(y)/inner, inner, func(lo, hi int) {
		for row := lo; row < hi; row++ {
			im, ia, ib := offset(row, s.Dims[:last], sm), offset(row, s.Dims[:last], sa), offset(row, s.Dims[:last], sb)
			for i := range inner {
				if mask[im+i*sm[last]] != 0 {
					y[row*inner+i] = a[ia+i*sa[last]]
				} else {
					y[row*inner+i] = b[ib+i*sb[last]]
				}
			}
		}
	})
	return out, nil
}

func (choose) Grad(in []*Node, y, dy *Node) []*Node {
	zero := dy.graph.Scalar(0)
	return []*Node{nil, sumLike(Where(in[0], dy, zero), in[1]), sumLike(Where(in[0], zero, dy), in[2])}
}

func (choose) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("Where", []string{l.Cast(in[0], onnx.Bool), in[1], in[2]})
}
