package op

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"
)

// Add returns a + b. Shapes broadcast as in NumPy, here and in the operations
// that follow.
func Add(a, b *Node) *Node { return Apply(arithmetic{addOp}, a, b) }

// Sub returns a - b.
func Sub(a, b *Node) *Node { return Apply(arithmetic{subOp}, a, b) }

// Mul returns a * b, element by element.
func Mul(a, b *Node) *Node { return Apply(arithmetic{mulOp}, a, b) }

// Div returns a / b, element by element.
func Div(a, b *Node) *Node { return Apply(arithmetic{divOp}, a, b) }

// Pow returns a to the power of b, element by element.
func Pow(a, b *Node) *Node { return Apply(arithmetic{powOp}, a, b) }

// Maximum returns the larger of a and b, element by element. Where they are
// equal each gets half of the gradient, as in PyTorch.
func Maximum(a, b *Node) *Node { return Apply(arithmetic{maxOp}, a, b) }

// Minimum returns the smaller of a and b, element by element. Where they are
// equal each gets half of the gradient, as in PyTorch.
func Minimum(a, b *Node) *Node { return Apply(arithmetic{minOp}, a, b) }

// Scale returns x * c.
func Scale(x *Node, c float64) *Node {
	if x == nil {
		return nil
	}
	return Mul(x, x.graph.Scalar(c))
}

// AddScalar returns x + c.
func AddScalar(x *Node, c float64) *Node {
	if x == nil {
		return nil
	}
	return Add(x, x.graph.Scalar(c))
}

// arithmeticKind is an operation on pairs of elements: its name is also its ONNX
// operator.
type arithmeticKind struct {
	name string
	f    func(y, a, b []float32, sa, sb int) // y[i] = a[i*sa] ? b[i*sb], strides 0 or 1
	grad func(a, b, y, dy *Node) (da, db *Node)
}

var addOp, subOp, mulOp, divOp, powOp, maxOp, minOp *arithmeticKind

func init() {
	addOp = &arithmeticKind{"Add", func(y, a, b []float32, sa, sb int) {
		for i := range y {
			y[i] = a[i*sa] + b[i*sb]
		}
	}, func(a, b, y, dy *Node) (*Node, *Node) { return dy, dy }}
	subOp = &arithmeticKind{"Sub", func(y, a, b []float32, sa, sb int) {
		for i := range y {
			y[i] = a[i*sa] - b[i*sb]
		}
	}, func(a, b, y, dy *Node) (*Node, *Node) { return dy, Neg(dy) }}
	mulOp = &arithmeticKind{"Mul", func(y, a, b []float32, sa, sb int) {
		for i := range y {
			y[i] = a[i*sa] * b[i*sb]
		}
	}, func(a, b, y, dy *Node) (*Node, *Node) { return Mul(dy, b), Mul(dy, a) }}
	divOp = &arithmeticKind{"Div", func(y, a, b []float32, sa, sb int) {
		for i := range y {
			y[i] = a[i*sa] / b[i*sb]
		}
	}, func(a, b, y, dy *Node) (*Node, *Node) {
		da := Div(dy, b)
		return da, Neg(Mul(da, y))
	}}
	powOp = &arithmeticKind{"Pow", func(y, a, b []float32, sa, sb int) {
		for i := range y {
			y[i] = float32(math.Pow(float64(a[i*sa]), float64(b[i*sb])))
		}
	}, func(a, b, y, dy *Node) (*Node, *Node) {
		return Mul(Mul(dy, b), Pow(a, AddScalar(b, -1))), Mul(Mul(dy, y), Log(a))
	}}
	maxOp = &arithmeticKind{"Max", func(y, a, b []float32, sa, sb int) {
		for i := range y {
			y[i] = max(a[i*sa], b[i*sb])
		}
	}, func(a, b, y, dy *Node) (*Node, *Node) {
		return Mul(dy, Apply(larger{}, a, b)), Mul(dy, Apply(larger{}, b, a))
	}}
	minOp = &arithmeticKind{"Min", func(y, a, b []float32, sa, sb int) {
		for i := range y {
			y[i] = min(a[i*sa], b[i*sb])
		}
	}, func(a, b, y, dy *Node) (*Node, *Node) {
		return Mul(dy, Apply(larger{}, b, a)), Mul(dy, Apply(larger{}, a, b))
	}}
}

type arithmetic struct{ *arithmeticKind }

func (o arithmetic) String() string { return o.name }

func (o arithmetic) Infer(in []Type) (Type, error) {
	s, err := broadcast(in[0].Shape, in[1].Shape)
	if err != nil {
		return Type{}, err
	}
	if integers(in) && integerArithmetic(o.name) != nil {
		return Type{in[0].DType, s}, nil
	}
	return Type{Float32, s}, needFloat(in...)
}

func (o arithmetic) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	if in[0].Dtype() != tensor.Float32 {
		return runIntegers(in, o.name)
	}
	return broadcastRun(in, o.f)
}

// broadcastRun fills the result of broadcasting two inputs with f, which sets
// y[i] from a[i*sa] and b[i*sb]; y starts as zeros.
func broadcastRun(in []*tensor.Dense, f func(y, a, b []float32, sa, sb int)) (*tensor.Dense, error) {
	s, err := broadcast(Dims(in[0].Shape()...), Dims(in[1].Shape()...))
	if err != nil {
		return nil, err
	}
	out, y := zeros(s.Dims...)
	a, b := f32(in[0]), f32(in[1])
	switch { // without broadcasting, or with one number: no odometer
	case len(a) == len(y) && len(b) == len(y):
		parallel(len(y), 1, func(lo, hi int) { f(y[lo:hi], a[lo:hi], b[lo:hi], 1, 1) })
		return out, nil
	case len(a) == len(y) && len(b) == 1:
		parallel(len(y), 1, func(lo, hi int) { f(y[lo:hi], a[lo:hi], b, 1, 0) })
		return out, nil
	case len(a) == 1 && len(b) == len(y):
		parallel(len(y), 1, func(lo, hi int) { f(y[lo:hi], a, b[lo:hi], 0, 1) })
		return out, nil
	}
	sa, sb := broadcastStrides(in[0].Shape(), s.Dims), broadcastStrides(in[1].Shape(), s.Dims)
	last := len(s.Dims) - 1
	inner := s.Dims[last]
	parallel(len(y)/inner, inner, func(lo, hi int) {
		for row := lo; row < hi; row++ {
			ia, ib := offset(row, s.Dims[:last], sa), offset(row, s.Dims[:last], sb)
			f(y[row*inner:(row+1)*inner], a[ia:], b[ib:], sa[last], sb[last])
		}
	})
	return out, nil
}

// broadcastStrides returns the strides with which a tensor of shape in is read
// to fill shape out: 0 where it repeats.
func broadcastStrides(in, out []int) []int {
	strides := make([]int, len(out))
	step := 1
	for i := range out {
		o, j := len(out)-1-i, len(in)-1-i
		if j < 0 {
			break
		}
		if in[j] > 1 || out[o] == 1 {
			strides[o] = step
		}
		step *= in[j]
	}
	return strides
}

// offset returns where row number row of a tensor with these sizes (its last
// axis left out) starts.
func offset(row int, sizes, strides []int) int {
	at := 0
	for i := len(sizes) - 1; i >= 0; i-- {
		at += row % sizes[i] * strides[i]
		row /= sizes[i]
	}
	return at
}

func (o arithmetic) Grad(in []*Node, y, dy *Node) []*Node {
	da, db := o.grad(in[0], in[1], y, dy)
	return []*Node{sumLike(da, in[0]), sumLike(db, in[1])}
}

func (o arithmetic) ONNX(l *Lowering, n *Node, in []string) string { return l.Node(o.name, in) }

// sumLike undoes broadcasting: it sums d over the axes along which x repeats.
func sumLike(d, x *Node) *Node {
	if d == nil || x == nil || d.Shape.Equal(x.Shape) {
		return d
	}
	var axes []int
	lead := len(d.Dims) - len(x.Dims)
	for i := range d.Dims {
		if i < lead || (x.Dims[i-lead] == 1 && d.Dims[i] != 1) {
			axes = append(axes, i)
		}
	}
	if len(axes) > 0 {
		d = Sum(d, true, axes...)
	}
	if lead > 0 {
		d = Reshape(d, x.Shape)
	}
	return d
}

func needFloat(in ...Type) error {
	for i, t := range in {
		if t.DType != Float32 {
			return fmt.Errorf("input %d is %v, want float32", i, t)
		}
	}
	return nil
}

func sameShape(a, b Type) error {
	if !a.Shape.Equal(b.Shape) {
		return fmt.Errorf("shapes differ: %v and %v", a.Shape, b.Shape)
	}
	return nil
}
