package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// Cast converts x to another element type as Go does: towards zero from float32 to
// integers; all but 0 is true. It has no gradient unless nothing is converted.
func Cast(x *Node, to DType) *Node {
	if x != nil && x.DType == to {
		return x
	}
	return Apply(cast{to}, x)
}

type cast struct{ to DType }

func (o cast) String() string { return fmt.Sprintf("Cast(%v)", o.to) }

func (o cast) Infer(in []Type) (Type, error) { return Type{o.to, in[0].Shape}, nil }

func (o cast) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	x := in[0]
	switch x.Dtype() {
	case tensor.Int64:
		return castNumbers(x.Int64s(), x.Shape(), o.to), nil
	case tensor.Int32:
		return castNumbers(x.Int32s(), x.Shape(), o.to), nil
	case tensor.Bool:
		numbers := make([]int32, len(x.Bools()))
		for i, v := range x.Bools() {
			numbers[i] = int32(flag(v))
		}
		return castNumbers(numbers, x.Shape(), o.to), nil
	}
	return castNumbers(f32(x), x.Shape(), o.to), nil
}

func castNumbers[T float32 | int64 | int32](x []T, sizes []int, to DType) *tensor.Dense {
	switch to {
	case Int64:
		return tensorOf(each(x, func(v T) int64 { return int64(v) }), sizes)
	case Int32:
		return tensorOf(each(x, func(v T) int32 { return int32(int64(v)) }), sizes)
	case Bool:
		return tensorOf(each(x, func(v T) bool { return v != 0 }), sizes)
	}
	return tensorOf(each(x, func(v T) float32 { return float32(v) }), sizes)
}

// each gives f of each element.
func each[T, R any](x []T, f func(T) R) []R {
	y := make([]R, len(x))
	for i, v := range x {
		y[i] = f(v)
	}
	return y
}

func (o cast) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil} }

func (o cast) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("Cast", in, onnx.IntAttr("to", int64(o.to.ONNX())))
}
