package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// Greater returns 1 where x > limit and 0 elsewhere. It has no gradient.
func Greater(x *Node, limit float64) *Node { return Apply(above{limit}, x) }

// above is 1 where x > limit and 0 elsewhere. It has no gradient.
type above struct{ limit float64 }

func (o above) String() string { return fmt.Sprintf("Above(%g)", o.limit) }

func (o above) Infer(in []Type) (Type, error) { return in[0], needFloat(in...) }

func (o above) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	out, y := zeros(in[0].Shape()...)
	for i, v := range f32(in[0]) {
		if v > float32(o.limit) {
			y[i] = 1
		}
	}
	return out, nil
}

func (o above) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil} }

func (o above) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Cast(l.Node("Greater", []string{in[0], l.Float(float32(o.limit))}), onnx.Float)
}

// Clip limits x to lo..hi. Where x lies inside, the bounds included, its gradient
// is that of x, as in PyTorch; elsewhere it is 0. An infinite bound is none.
func Clip(x *Node, lo, hi float64) *Node { return Apply(clip{lo, hi}, x) }

type clip struct{ lo, hi float64 }

func (o clip) String() string { return fmt.Sprintf("Clip(%g %g)", o.lo, o.hi) }

func (o clip) Infer(in []Type) (Type, error) {
	if !(o.lo <= o.hi) {
		return Type{}, fmt.Errorf("the lower bound %g is above the upper bound %g", o.lo, o.hi)
	}
	return in[0], needFloat(in...)
}

func (o clip) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	out, y := zeros(in[0].Shape()...)
	lo, hi := float32(o.lo), float32(o.hi)
	for i, v := range f32(in[0]) {
		y[i] = min(max(v, lo), hi)
	}
	return out, nil
}

func (o clip) Grad(in []*Node, y, dy *Node) []*Node {
	return []*Node{Mul(dy, Apply(equal{}, in[0], y))} // what was not moved lay inside
}

func (o clip) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("Clip", []string{in[0], l.Float(float32(o.lo)), l.Float(float32(o.hi))})
}

// equal is 1 where a = b and 0 elsewhere: inputs a, b, which broadcast. It has no
// gradient.
type equal struct{}

func (equal) String() string { return "Equal" }

func (equal) Infer(in []Type) (Type, error) { return arithmetic{addOp}.Infer(in) }

func (equal) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	return broadcastRun(in, func(y, a, b []float32, sa, sb int) {
		for i := range y {
			if a[i*sa] == b[i*sb] {
				y[i] = 1
			}
		}
	})
}

func (equal) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil, nil} }

func (equal) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Cast(l.Node("Equal", in), onnx.Float)
}

// larger is 1 where a > b, 1/2 where they are equal and 0 elsewhere: inputs a, b,
// which broadcast. It is the share of the gradient of max(a, b) that a gets; it
// has none itself.
type larger struct{}

func (larger) String() string { return "Larger" }

func (larger) Infer(in []Type) (Type, error) { return arithmetic{addOp}.Infer(in) }

func (larger) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	return broadcastRun(in, func(y, a, b []float32, sa, sb int) {
		for i := range y {
			switch {
			case a[i*sa] > b[i*sb]:
				y[i] = 1
			case a[i*sa] == b[i*sb]:
				y[i] = 0.5
			}
		}
	})
}

func (larger) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil, nil} }

func (larger) ONNX(l *Lowering, n *Node, in []string) string {
	most := l.Cast(l.Node("Greater", in), onnx.Float)
	tied := l.Cast(l.Node("Equal", in), onnx.Float)
	return l.Node("Add", []string{most, l.Node("Mul", []string{tied, l.Float(0.5)})})
}
