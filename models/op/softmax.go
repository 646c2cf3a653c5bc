package op

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// Softmax returns exp(x) / sum(exp(x)) along an axis.
func Softmax(x *Node, axis int) *Node { return softmaxAlong(x, axis, false) }

// LogSoftmax returns log(Softmax(x)) along an axis, without leaving float32's
// range on the way.
func LogSoftmax(x *Node, axis int) *Node { return softmaxAlong(x, axis, true) }

func softmaxAlong(x *Node, axis int, log bool) *Node {
	if x == nil {
		return nil
	}
	a, err := x.axis(axis)
	if err != nil {
		return x.graph.Fail("op: Softmax: %w", err)
	}
	return Apply(softmax{a, log}, x)
}

type softmax struct {
	axis int
	log  bool
}

func (o softmax) name() string {
	if o.log {
		return "LogSoftmax"
	}
	return "Softmax"
}

func (o softmax) String() string { return fmt.Sprintf("%s(axis=%d)", o.name(), o.axis) }

func (o softmax) Infer(in []Type) (Type, error) { return in[0], needFloat(in...) }

func (o softmax) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	sizes := in[0].Shape()
	out, y := zeros(sizes...)
	x, n := f32(in[0]), sizes[o.axis]
	outer, inner := split(sizes, o.axis)
	parallel(outer*inner, 20*n, func(lo, hi int) {
		for row := lo; row < hi; row++ {
			at := row/inner*n*inner + row%inner
			largest := math.Inf(-1)
			for i := range n {
				largest = max(largest, float64(x[at+i*inner]))
			}
			sum := 0.0
			for i := range n {
				sum += math.Exp(float64(x[at+i*inner]) - largest)
			}
			for i := range n {
				v := float64(x[at+i*inner]) - largest
				if o.log {
					y[at+i*inner] = float32(v - math.Log(sum))
				} else {
					y[at+i*inner] = float32(math.Exp(v) / sum)
				}
			}
		}
	})
	return out, nil
}

func (o softmax) Grad(in []*Node, y, dy *Node) []*Node {
	if o.log {
		return []*Node{Sub(dy, Mul(Exp(y), Sum(dy, true, o.axis)))}
	}
	return []*Node{Mul(y, Sub(dy, Sum(Mul(dy, y), true, o.axis)))}
}

func (o softmax) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node(o.name(), in, onnx.IntAttr("axis", int64(o.axis)))
}
