package op

import (
	"cmp"
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// Comparisons and logic give Bool and have no gradient. Shapes broadcast.

// IsEqual tells where a = b, for two values of one element type.
func IsEqual(a, b *Node) *Node { return Apply(comparison{"Equal"}, a, b) }

// IsLess tells where a < b. The element types are numbers and alike, here and in the
// comparisons that follow.
func IsLess(a, b *Node) *Node { return Apply(comparison{"Less"}, a, b) }

// IsGreater tells where a > b.
func IsGreater(a, b *Node) *Node { return Apply(comparison{"Greater"}, a, b) }

// IsAtMost tells where a <= b.
func IsAtMost(a, b *Node) *Node { return Apply(comparison{"LessOrEqual"}, a, b) }

// IsAtLeast tells where a >= b.
func IsAtLeast(a, b *Node) *Node { return Apply(comparison{"GreaterOrEqual"}, a, b) }

// comparison is a comparison by its ONNX operator.
type comparison struct{ name string }

func (o comparison) String() string { return "Is" + o.name }

func (o comparison) Infer(in []Type) (Type, error) {
	s, err := broadcast(in[0].Shape, in[1].Shape)
	if err == nil && (in[0].DType != in[1].DType || in[0].DType == Bool && o.name != "Equal") {
		err = fmt.Errorf("cannot compare %v with %v", in[0].DType, in[1].DType)
	}
	return Type{Bool, s}, err
}

func (o comparison) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	switch in[0].Dtype() {
	case tensor.Int64:
		return pairs(in, ordered[int64](o.name))
	case tensor.Int32:
		return pairs(in, ordered[int32](o.name))
	case tensor.Bool:
		return pairs(in, func(a, b bool) bool { return a == b })
	}
	return pairs(in, ordered[float32](o.name))
}

func ordered[T cmp.Ordered](name string) func(a, b T) bool {
	switch name {
	case "Less":
		return func(a, b T) bool { return a < b }
	case "Greater":
		return func(a, b T) bool { return a > b }
	case "LessOrEqual":
		return func(a, b T) bool { return a <= b }
	case "GreaterOrEqual":
		return func(a, b T) bool { return a >= b }
	}
	return func(a, b T) bool { return a == b }
}

// pairs gives f of each pair of elements of two tensors that broadcast.
func pairs[T, R element](in []*tensor.Dense, f func(a, b T) R) (*tensor.Dense, error) {
	s, err := broadcast(Dims(in[0].Shape()...), Dims(in[1].Shape()...))
	if err != nil {
		return nil, err
	}
	a, b := elements[T](spread(in[0], s.Dims)), elements[T](spread(in[1], s.Dims))
	y := make([]R, len(a))
	for i := range y {
		y[i] = f(a[i], b[i])
	}
	return tensorOf(y, s.Dims), nil
}

// spread repeats x to these sizes; a tensor that has as many elements stays itself.
func spread(x *tensor.Dense, sizes []int) *tensor.Dense {
	if x.Shape().TotalSize() == Dims(sizes...).Size() {
		return x
	}
	return expanded(x, sizes)
}

func (o comparison) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil, nil} }

func (o comparison) ONNX(l *Lowering, n *Node, in []string) string {
	if o.name == "LessOrEqual" || o.name == "GreaterOrEqual" {
		l.Need(12, o.name)
	}
	return l.Node(o.name, in)
}

// And tells where both a and b hold.
func And(a, b *Node) *Node { return Apply(logic{"And"}, a, b) }

// Or tells where a or b holds.
func Or(a, b *Node) *Node { return Apply(logic{"Or"}, a, b) }

// Xor tells where one of a and b holds.
func Xor(a, b *Node) *Node { return Apply(logic{"Xor"}, a, b) }

// logic joins two Bool values, by its ONNX operator.
type logic struct{ name string }

func (o logic) String() string { return o.name }

func (o logic) Infer(in []Type) (Type, error) {
	s, err := broadcast(in[0].Shape, in[1].Shape)
	if err == nil && (in[0].DType != Bool || in[1].DType != Bool) {
		err = fmt.Errorf("want bool, got %v and %v", in[0].DType, in[1].DType)
	}
	return Type{Bool, s}, err
}

func (o logic) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	switch o.name {
	case "And":
		return pairs(in, func(a, b bool) bool { return a && b })
	case "Or":
		return pairs(in, func(a, b bool) bool { return a || b })
	}
	return pairs(in, func(a, b bool) bool { return a != b })
}

func (o logic) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil, nil} }

func (o logic) ONNX(l *Lowering, n *Node, in []string) string { return l.Node(o.name, in) }

// Not tells where x does not hold.
func Not(x *Node) *Node { return Apply(not{}, x) }

type not struct{}

func (not) String() string { return "Not" }

func (not) Infer(in []Type) (Type, error) {
	if in[0].DType != Bool {
		return Type{}, fmt.Errorf("want bool, got %v", in[0].DType)
	}
	return in[0], nil
}

func (not) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	x := in[0].Bools()
	y := make([]bool, len(x))
	for i, v := range x {
		y[i] = !v
	}
	return tensorOf(y, in[0].Shape()), nil
}

func (not) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil} }

func (not) ONNX(l *Lowering, n *Node, in []string) string { return l.Node("Not", in) }

// IsNaN tells where x is not a number.
func IsNaN(x *Node) *Node { return Apply(classify{nan: true}, x) }

// IsInf tells where x is infinite: below zero, above, or both.
func IsInf(x *Node, negative, positive bool) *Node {
	return Apply(classify{negative: negative, positive: positive}, x)
}

// classify tells what kind of number the elements are.
type classify struct{ nan, negative, positive bool }

func (o classify) String() string {
	return fmt.Sprintf("Classify(nan=%t -inf=%t +inf=%t)", o.nan, o.negative, o.positive)
}

func (o classify) Infer(in []Type) (Type, error) { return Type{Bool, in[0].Shape}, needFloat(in...) }

func (o classify) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	x := f32(in[0])
	y := make([]bool, len(x))
	for i, v := range x {
		f := float64(v)
		y[i] = o.nan && f != f || o.negative && math.IsInf(f, -1) || o.positive && math.IsInf(f, 1)
	}
	return tensorOf(y, in[0].Shape()), nil
}

func (o classify) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil} }

func (o classify) ONNX(l *Lowering, n *Node, in []string) string {
	if o.nan {
		return l.Node("IsNaN", in)
	}
	return l.Node("IsInf", in, onnx.IntAttr("detect_negative", flag(o.negative)), onnx.IntAttr("detect_positive", flag(o.positive)))
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
