package op

import (
	"math"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// Neg returns -x.
func Neg(x *Node) *Node { return Apply(unary{negOp}, x) }

// Exp returns e^x.
func Exp(x *Node) *Node { return Apply(unary{expOp}, x) }

// Log returns the natural logarithm of x.
func Log(x *Node) *Node { return Apply(unary{logOp}, x) }

// Sqrt returns the square root of x.
func Sqrt(x *Node) *Node { return Apply(unary{sqrtOp}, x) }

// Abs returns |x|. Its gradient at 0 is 0, as in PyTorch.
func Abs(x *Node) *Node { return Apply(unary{absOp}, x) }

// Sign returns -1, 0 or 1. It has no gradient.
func Sign(x *Node) *Node { return Apply(unary{signOp}, x) }

// Sin returns the sine of x, in radians.
func Sin(x *Node) *Node { return Apply(unary{sinOp}, x) }

// Cos returns the cosine of x, in radians.
func Cos(x *Node) *Node { return Apply(unary{cosOp}, x) }

// Erf returns the Gauss error function of x.
func Erf(x *Node) *Node { return Apply(unary{erfOp}, x) }

// Tanh returns the hyperbolic tangent of x.
func Tanh(x *Node) *Node { return Apply(unary{tanhOp}, x) }

// ReLU returns max(x, 0). Its gradient at 0 is 0, as in PyTorch.
func ReLU(x *Node) *Node { return Apply(unary{reluOp}, x) }

// Sigmoid returns 1 / (1 + e^-x).
func Sigmoid(x *Node) *Node { return Apply(unary{sigmoidOp}, x) }

// SiLU returns x * Sigmoid(x) (Elfwing et al., 2018, "Sigmoid-weighted linear
// units"), also known as Swish.
func SiLU(x *Node) *Node { return Mul(x, Sigmoid(x)) }

// StopGradient returns x and passes no gradient on.
func StopGradient(x *Node) *Node { return Apply(unary{stopOp}, x) }

// unaryKind is an operation on each element: its name is also its ONNX operator.
type unaryKind struct {
	name string
	f    func(float64) float64
	grad func(x, y, dy *Node) *Node
}

// The kinds are assigned in init because their gradients are made of
// operations, which refer to the kinds.
var (
	negOp, expOp, logOp, sqrtOp, absOp, signOp, sinOp, cosOp, erfOp *unaryKind
	tanhOp, reluOp, sigmoidOp, stopOp                               *unaryKind
)

func init() {
	negOp = &unaryKind{"Neg", func(x float64) float64 { return -x },
		func(x, y, dy *Node) *Node { return Neg(dy) }}
	expOp = &unaryKind{"Exp", math.Exp,
		func(x, y, dy *Node) *Node { return Mul(dy, y) }}
	logOp = &unaryKind{"Log", math.Log,
		func(x, y, dy *Node) *Node { return Div(dy, x) }}
	sqrtOp = &unaryKind{"Sqrt", math.Sqrt,
		func(x, y, dy *Node) *Node { return Div(Mul(dy, x.graph.Scalar(0.5)), y) }}
	absOp = &unaryKind{"Abs", math.Abs,
		func(x, y, dy *Node) *Node { return Mul(dy, Sign(x)) }}
	signOp = &unaryKind{"Sign", sign,
		func(x, y, dy *Node) *Node { return nil }}
	sinOp = &unaryKind{"Sin", math.Sin,
		func(x, y, dy *Node) *Node { return Mul(dy, Cos(x)) }}
	cosOp = &unaryKind{"Cos", math.Cos,
		func(x, y, dy *Node) *Node { return Neg(Mul(dy, Sin(x))) }}
	erfOp = &unaryKind{"Erf", math.Erf,
		func(x, y, dy *Node) *Node { return Scale(Mul(dy, Exp(Neg(Mul(x, x)))), 2/math.SqrtPi) }}
	tanhOp = &unaryKind{"Tanh", math.Tanh,
		func(x, y, dy *Node) *Node { return Mul(dy, Sub(x.graph.Scalar(1), Mul(y, y))) }}
	reluOp = &unaryKind{"Relu", func(x float64) float64 {
		if x < 0 {
			return 0
		}
		return x // NaN stays NaN
	}, func(x, y, dy *Node) *Node { return Apply(where{}, y, dy) }}
	sigmoidOp = &unaryKind{"Sigmoid", func(x float64) float64 { return 1 / (1 + math.Exp(-x)) },
		func(x, y, dy *Node) *Node { return Mul(dy, Mul(y, Sub(x.graph.Scalar(1), y))) }}
	stopOp = &unaryKind{"Identity", func(x float64) float64 { return x },
		func(x, y, dy *Node) *Node { return nil }}
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x // 0, and NaN stays NaN
}

type unary struct{ *unaryKind }

func (o unary) String() string { return o.name }

func (o unary) Infer(in []Type) (Type, error) { return in[0], needFloat(in...) }

func (o unary) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	x := f32(in[0])
	out, y := zeros(in[0].Shape()...)
	if o.unaryKind == reluOp { // the one that large activations go through
		parallel(len(x), 1, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				if v := x[i]; !(v < 0) {
					y[i] = v
				}
			}
		})
		return out, nil
	}
	parallel(len(x), 16, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			y[i] = float32(o.f(float64(x[i])))
		}
	})
	return out, nil
}

func (o unary) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{o.grad(in[0], y, dy)} }

func (o unary) ONNX(l *Lowering, n *Node, in []string) string { return l.Node(o.name, in) }

// where passes v where c is not 0, and 0 elsewhere: inputs c, v of one shape.
// It is the gradient of ReLU, with ReLU's result as c.
type where struct{}

func (where) String() string { return "WhereNonzero" }

func (where) Infer(in []Type) (Type, error) {
	if err := sameShape(in[0], in[1]); err != nil {
		return Type{}, err
	}
	return in[1], needFloat(in...)
}

func (where) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	c, v := f32(in[0]), f32(in[1])
	out, y := zeros(in[1].Shape()...)
	parallel(len(v), 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			if c[i] != 0 {
				y[i] = v[i]
			}
		}
	})
	return out, nil
}

func (where) Grad(in []*Node, y, dy *Node) []*Node {
	return []*Node{nil, Apply(where{}, in[0], dy)}
}

func (where) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("Where", []string{l.Cast(in[0], onnx.Bool), in[1], l.Float(0)})
}
