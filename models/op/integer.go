package op

import (
	"errors"
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// Add, Sub, Mul, Div, Maximum and Minimum also take two int64 or two int32. They
// wrap around as Go's integers do, and division is towards zero.

var errDivision = errors.New("integer division by zero")

// integerArithmetic returns the operation of that name on integers, nil if there is
// none.
func integerArithmetic(name string) func(a, b int64) int64 {
	switch name {
	case "Add":
		return func(a, b int64) int64 { return a + b }
	case "Sub":
		return func(a, b int64) int64 { return a - b }
	case "Mul":
		return func(a, b int64) int64 { return a * b }
	case "Div":
		return func(a, b int64) int64 { return a / b }
	case "Max":
		return func(a, b int64) int64 { return max(a, b) }
	case "Min":
		return func(a, b int64) int64 { return min(a, b) }
	case "Mod": // has the sign of b, as Python's
		return func(a, b int64) int64 { return ((a % b) + b) % b }
	case "Remainder": // has the sign of a, as Go's and C's
		return func(a, b int64) int64 { return a % b }
	case "BitwiseAnd":
		return func(a, b int64) int64 { return a & b }
	case "BitwiseOr":
		return func(a, b int64) int64 { return a | b }
	case "BitwiseXor":
		return func(a, b int64) int64 { return a ^ b }
	}
	return nil
}

func isInteger(d DType) bool { return d == Int64 || d == Int32 }

// integers tells whether both inputs are integers of one type.
func integers(in []Type) bool { return isInteger(in[0].DType) && in[0].DType == in[1].DType }

func runIntegers(in []*tensor.Dense, name string) (*tensor.Dense, error) {
	f := integerArithmetic(name)
	divides := name == "Div" || name == "Mod" || name == "Remainder"
	if in[0].Dtype() == tensor.Int64 {
		if divides && zeroAmong(in[1].Int64s()) {
			return nil, errDivision
		}
		return pairs(in, f)
	}
	if divides && zeroAmong(in[1].Int32s()) {
		return nil, errDivision
	}
	return pairs(in, func(a, b int32) int32 { return int32(f(int64(a), int64(b))) })
}

func zeroAmong[T int32 | int64](x []T) bool {
	for _, v := range x {
		if v == 0 {
			return true
		}
	}
	return false
}

// Mod is the remainder of a / b with the sign of b, for integers of one type.
func Mod(a, b *Node) *Node { return Apply(integer{"Mod"}, a, b) }

// Remainder is the remainder of a / b with the sign of a, for integers of one type
// or float32, where a has the gradient 1 and b that of the steps away.
func Remainder(a, b *Node) *Node {
	if a != nil && a.DType == Float32 {
		return Apply(fmod{}, a, b)
	}
	return Apply(integer{"Remainder"}, a, b)
}

// Bitwise joins the bits of integers of one type by "and", "or" or "xor".
func Bitwise(how string, a, b *Node) *Node {
	name, ok := map[string]string{"and": "BitwiseAnd", "or": "BitwiseOr", "xor": "BitwiseXor"}[how]
	if !ok && a != nil {
		return a.graph.Fail("op: Bitwise %q: want and, or or xor", how)
	}
	return Apply(integer{name}, a, b)
}

// integer is an operation on two integers, by its name.
type integer struct{ name string }

func (o integer) String() string { return o.name }

func (o integer) Infer(in []Type) (Type, error) {
	s, err := broadcast(in[0].Shape, in[1].Shape)
	if err == nil && !integers(in) {
		err = fmt.Errorf("want integers of one type, got %v and %v", in[0].DType, in[1].DType)
	}
	return Type{in[0].DType, s}, err
}

func (o integer) Run(in []*tensor.Dense) (*tensor.Dense, error) { return runIntegers(in, o.name) }

func (o integer) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil, nil} }

func (o integer) ONNX(l *Lowering, n *Node, in []string) string {
	switch o.name {
	case "Mod":
		return l.Node("Mod", in)
	case "Remainder":
		return l.Node("Mod", in, onnx.IntAttr("fmod", 1))
	}
	l.Need(18, o.name)
	return l.Node(o.name, in)
}

// fmod is Remainder of float32.
type fmod struct{}

func (fmod) String() string { return "Fmod" }

func (fmod) Infer(in []Type) (Type, error) {
	s, err := broadcast(in[0].Shape, in[1].Shape)
	if err == nil {
		err = needFloat(in...)
	}
	return Type{Float32, s}, err
}

func (fmod) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	return pairs(in, func(a, b float32) float32 { return float32(math.Mod(float64(a), float64(b))) })
}

func (fmod) Grad(in []*Node, y, dy *Node) []*Node {
	steps := Div(Sub(y, in[0]), in[1]) // y = a + steps*b
	return []*Node{sumLike(dy, in[0]), sumLike(Mul(dy, steps), in[1])}
}

func (fmod) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("Mod", in, onnx.IntAttr("fmod", 1))
}

// IntegerPow returns a to the power of b where a or b are integers: of a's element
// type, towards zero, without gradient. b may not be negative where both are
// integers.
func IntegerPow(a, b *Node) *Node { return Apply(integerPow{}, a, b) }

type integerPow struct{}

func (integerPow) String() string { return "IntegerPow" }

func (integerPow) Infer(in []Type) (Type, error) {
	s, err := broadcast(in[0].Shape, in[1].Shape)
	if err == nil && (in[0].DType == Bool || in[1].DType == Bool) {
		err = errors.New("want numbers, got bool")
	}
	return Type{in[0].DType, s}, err
}

func (integerPow) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	d, _ := DTypeOf(in[0])
	if in[0].Dtype() == tensor.Float32 || in[1].Dtype() == tensor.Float32 {
		a, b := castTo(in[0], Float32), castTo(in[1], Float32)
		y, err := pairs([]*tensor.Dense{a, b}, func(a, b float32) float32 { return float32(math.Pow(float64(a), float64(b))) })
		if err != nil {
			return nil, err
		}
		return castTo(y, d), nil
	}
	a, b := castTo(in[0], Int64), castTo(in[1], Int64)
	for _, v := range b.Int64s() {
		if v < 0 {
			return nil, fmt.Errorf("an integer to the power of %d", v)
		}
	}
	y, err := pairs([]*tensor.Dense{a, b}, func(a, b int64) int64 {
		y := int64(1)
		for ; b > 0; b >>= 1 {
			if b&1 == 1 {
				y *= a
			}
			a *= a
		}
		return y
	})
	if err != nil {
		return nil, err
	}
	return castTo(y, d), nil
}

func castTo(x *tensor.Dense, d DType) *tensor.Dense {
	y, _ := cast{d}.Run([]*tensor.Dense{x})
	return y
}

func (integerPow) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil, nil} }

func (integerPow) ONNX(l *Lowering, n *Node, in []string) string { return l.Node("Pow", in) }
