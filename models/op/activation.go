package op

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// LeakyReLU returns x where x > 0 and slope*x elsewhere, at 0 with the gradient of
// the negative side (Maas et al., 2013). PyTorch's slope is 0.01 by default.
func LeakyReLU(x *Node, slope float64) *Node { return Apply(leakyReLU{slope}, x) }

// ELU returns x where x > 0 and alpha*(e^x - 1) elsewhere (Clevert et al., 2016).
func ELU(x *Node, alpha float64) *Node { return Apply(elu{alpha}, x) }

// ReLU6 returns x limited to 0..6, without gradient on the bounds (Howard et al.,
// 2017, "MobileNets").
func ReLU6(x *Node) *Node { return Apply(ramp{name: "ReLU6", lo: 0, hi: 6, slope: 1, shift: 0}, x) }

// HardSigmoid returns x/6 + 1/2 limited to 0..1 (Howard et al., 2019, "Searching for
// MobileNetV3"), without gradient on the bounds.
func HardSigmoid(x *Node) *Node {
	return Apply(ramp{name: "HardSigmoid", lo: -3, hi: 3, slope: 1. / 6, shift: 0.5}, x)
}

// HardSwish returns x * HardSigmoid(x).
func HardSwish(x *Node) *Node { return Mul(x, HardSigmoid(x)) }

// GELU returns x * P(X <= x) for a standard normal X (Hendrycks and Gimpel, 2016).
func GELU(x *Node) *Node { return Apply(gelu{}, x) }

// GELUTanh is GELU with its approximation by tanh, GPT-2's.
func GELUTanh(x *Node) *Node {
	cubic := Add(x, Scale(Mul(Mul(x, x), x), 0.044715))
	return Mul(Scale(x, 0.5), AddScalar(Tanh(Scale(cubic, math.Sqrt(2/math.Pi))), 1))
}

// Softplus returns log(1 + e^(beta*x)) / beta. PyTorch's threshold, above which it
// returns x, changes nothing in float32 at its default of 20.
func Softplus(x *Node, beta float64) *Node {
	if beta == 1 {
		return Apply(unary{softplusOp}, x)
	}
	return Scale(Apply(unary{softplusOp}, Scale(x, beta)), 1/beta)
}

// LogSigmoid returns log(Sigmoid(x)), finite where the sigmoid rounds to 0.
func LogSigmoid(x *Node) *Node { return Neg(Softplus(Neg(x), 1)) }

// Mish returns x * tanh(Softplus(x)) (Misra, 2019).
func Mish(x *Node) *Node { return Mul(x, Tanh(Softplus(x, 1))) }

// Dropout applies inverted dropout with a given mask (Srivastava et al., 2014):
// elements whose mask is 1 are divided by 1-p, those whose mask is 0 become 0.
func Dropout(x, mask *Node, p float64) *Node { return Mul(x, Scale(mask, 1/(1-p))) }

var softplusOp *unaryKind

func init() {
	softplusOp = &unaryKind{"Softplus", func(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) },
		func(x, y, dy *Node) *Node { return Mul(dy, Sigmoid(x)) }}
}

type leakyReLU struct{ slope float64 }

func (o leakyReLU) String() string { return fmt.Sprintf("LeakyReLU(%g)", o.slope) }

func (o leakyReLU) Infer(in []Type) (Type, error) { return in[0], needFloat(in...) }

func (o leakyReLU) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	return eachElement(in[0], func(x float64) float64 {
		if x < 0 {
			return o.slope * x
		}
		return x
	})
}

func (o leakyReLU) Grad(in []*Node, y, dy *Node) []*Node {
	return []*Node{Where(Greater(in[0], 0), dy, Scale(dy, o.slope))}
}

func (o leakyReLU) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("LeakyRelu", in, onnx.FloatAttr("alpha", float32(o.slope)))
}

type elu struct{ alpha float64 }

func (o elu) String() string { return fmt.Sprintf("ELU(%g)", o.alpha) }

func (o elu) Infer(in []Type) (Type, error) { return in[0], needFloat(in...) }

func (o elu) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	return eachElement(in[0], func(x float64) float64 {
		if x < 0 {
			return o.alpha * math.Expm1(x)
		}
		return x
	})
}

// Grad is dy*alpha*e^x below 0; the exponential is taken of no positive x, where it
// could overflow.
func (o elu) Grad(in []*Node, y, dy *Node) []*Node {
	x := in[0]
	below := Scale(Mul(dy, Exp(Clip(x, math.Inf(-1), 0))), o.alpha)
	return []*Node{Where(Greater(x, 0), dy, below)}
}

func (o elu) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("Elu", in, onnx.FloatAttr("alpha", float32(o.alpha)))
}

// ramp is slope*x + shift between lo and hi, and constant outside.
type ramp struct {
	name                 string
	lo, hi, slope, shift float64
}

func (o ramp) String() string { return o.name }

func (o ramp) Infer(in []Type) (Type, error) { return in[0], needFloat(in...) }

func (o ramp) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	return eachElement(in[0], func(x float64) float64 {
		return min(max(x, o.lo), o.hi)*o.slope + o.shift
	})
}

func (o ramp) Grad(in []*Node, y, dy *Node) []*Node {
	inside := Apply(between{o.lo, o.hi}, in[0])
	return []*Node{Where(inside, Scale(dy, o.slope), dy.graph.Scalar(0))}
}

func (o ramp) ONNX(l *Lowering, n *Node, in []string) string {
	if o.name == "HardSigmoid" {
		return l.Node("HardSigmoid", in, onnx.FloatAttr("alpha", float32(o.slope)), onnx.FloatAttr("beta", float32(o.shift)))
	}
	return l.Node("Clip", []string{in[0], l.Float(float32(o.lo)), l.Float(float32(o.hi))})
}

// between is 1 where lo < x < hi and 0 elsewhere. It has no gradient.
type between struct{ lo, hi float64 }

func (o between) String() string { return fmt.Sprintf("Between(%g %g)", o.lo, o.hi) }

func (o between) Infer(in []Type) (Type, error) { return in[0], needFloat(in...) }

func (o between) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	return eachElement(in[0], func(x float64) float64 {
		if o.lo < x && x < o.hi {
			return 1
		}
		return 0
	})
}

func (o between) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil} }

func (o between) ONNX(l *Lowering, n *Node, in []string) string {
	above := l.Node("Greater", []string{in[0], l.Float(float32(o.lo))})
	below := l.Node("Less", []string{in[0], l.Float(float32(o.hi))})
	return l.Cast(l.Node("And", []string{above, below}), onnx.Float)
}

// eachElement applies f to each element of t.
func eachElement(t *tensor.Dense, f func(float64) float64) (*tensor.Dense, error) {
	x := f32(t)
	out, y := zeros(t.Shape()...)
	parallel(len(x), 16, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			y[i] = float32(f(float64(x[i])))
		}
	})
	return out, nil
}

// gelu is one operation, not made of others, so that a backward pass keeps x alone of
// the five values on the way.
type gelu struct{}

func (gelu) String() string { return "GELU" }

func (gelu) Infer(in []Type) (Type, error) { return in[0], needFloat(in...) }

func (gelu) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	return eachElement(in[0], func(x float64) float64 { return x * (1 + math.Erf(x/math.Sqrt2)) / 2 })
}

// Grad is dy * (P(X <= x) + x * density(x)), whose parts are computed once dy is there:
// until then they would only take memory.
func (gelu) Grad(in []*Node, y, dy *Node) []*Node {
	x := in[0]
	if len(x.Dims) > 0 {
		x = After(x, dy)
	}
	below := Scale(AddScalar(Erf(Scale(x, 1/math.Sqrt2)), 1), 0.5)
	density := Scale(Exp(Scale(Mul(x, x), -0.5)), 1/math.Sqrt(2*math.Pi))
	return []*Node{Mul(dy, Add(below, Mul(x, density)))}
}

// ONNX writes the operators that opsets before 20 have; ONNX Runtime joins them.
func (gelu) ONNX(l *Lowering, n *Node, in []string) string {
	erf := l.Node("Erf", []string{l.Node("Mul", []string{in[0], l.Float(1 / math.Sqrt2)})})
	below := l.Node("Mul", []string{l.Node("Add", []string{erf, l.Float(1)}), l.Float(0.5)})
	return l.Node("Mul", []string{in[0], below})
}
