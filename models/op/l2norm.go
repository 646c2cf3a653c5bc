package op

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// L2Normalize divides x by max(||x||, eps) along an axis: PyTorch's F.normalize,
// with eps 1e-12 there by default. A vector shorter than eps is divided by eps
// and its gradient is that of a division.
func L2Normalize(x *Node, axis int, eps float64) *Node {
	if x == nil {
		return nil
	}
	a, err := x.axis(axis)
	if err != nil {
		return x.graph.Fail("op: L2Normalize: %w", err)
	}
	return Apply(l2divide{a, eps}, x, Apply(l2length{a, eps}, x))
}

// l2length is max(||x||, eps) along an axis, which stays with size 1.
type l2length struct {
	axis int
	eps  float64
}

func (o l2length) String() string { return fmt.Sprintf("L2Length(axis=%d eps=%g)", o.axis, o.eps) }

func (o l2length) Infer(in []Type) (Type, error) {
	return Type{Float32, reducedShape(in[0].Shape, []int{o.axis}, true)}, needFloat(in...)
}

func (o l2length) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	sizes := in[0].Shape()
	out, y := zeros(reducedShape(Dims(sizes...), []int{o.axis}, true).Dims...)
	x, n := f32(in[0]), sizes[o.axis]
	_, inner := split(sizes, o.axis)
	parallel(len(y), n, func(lo, hi int) {
		for row := lo; row < hi; row++ {
			at, sum := row/inner*n*inner+row%inner, 0.0
			for i := range n {
				v := float64(x[at+i*inner])
				sum += v * v
			}
			y[row] = float32(math.Max(math.Sqrt(sum), o.eps))
		}
	})
	return out, nil
}

// Grad gives nothing: l2divide carries the whole gradient of the pair.
func (o l2length) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil} }

func (o l2length) ONNX(l *Lowering, n *Node, in []string) string {
	var norm string
	if l.Opset >= 18 {
		norm = l.Node("ReduceL2", []string{in[0], l.Ints(int64(o.axis))})
	} else {
		norm = l.Node("ReduceL2", in, onnx.IntsAttr("axes", int64(o.axis)))
	}
	return l.Node("Max", []string{norm, l.Float(float32(o.eps))})
}

// l2divide divides x by its length n: inputs x, n.
type l2divide struct {
	axis int
	eps  float64
}

func (o l2divide) String() string { return fmt.Sprintf("L2Divide(axis=%d eps=%g)", o.axis, o.eps) }

func (o l2divide) Infer(in []Type) (Type, error) { return in[0], needFloat(in...) }

func (o l2divide) Run(in []*tensor.Dense) (*tensor.Dense, error) { return arithmetic{divOp}.Run(in) }

func (o l2divide) Grad(in []*Node, y, dy *Node) []*Node {
	length := in[1]
	along := Mul(y, Sum(Mul(dy, y), true, o.axis))
	return []*Node{Div(Sub(dy, Mul(along, Apply(above{o.eps}, length))), length), nil}
}

func (o l2divide) ONNX(l *Lowering, n *Node, in []string) string { return l.Node("Div", in) }
