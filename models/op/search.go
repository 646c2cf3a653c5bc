package op

import (
	"cmp"
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// ArgMax returns where the largest element along an axis is: int64, the axis kept
// with size 1. Of equal ones it is the first, or the last if asked for.
func ArgMax(x *Node, axis int, last bool) *Node { return argument(x, argExtreme{axis, true, last}) }

// ArgMin returns where the smallest element along an axis is, like ArgMax.
func ArgMin(x *Node, axis int, last bool) *Node { return argument(x, argExtreme{axis, false, last}) }

func argument(x *Node, o argExtreme) *Node {
	if x == nil {
		return nil
	}
	a, err := x.axis(o.axis)
	if err != nil {
		return x.graph.Fail("op: %v: %w", o, err)
	}
	o.axis = a
	return Apply(o, x)
}

type argExtreme struct {
	axis      int
	max, last bool
}

func (o argExtreme) name() string {
	if o.max {
		return "ArgMax"
	}
	return "ArgMin"
}

func (o argExtreme) String() string {
	return fmt.Sprintf("%s(axis=%d last=%t)", o.name(), o.axis, o.last)
}

func (o argExtreme) Infer(in []Type) (Type, error) {
	out := Type{Int64, Shape{slices.Clone(in[0].Dims), in[0].Batch}}
	out.Dims[o.axis] = 1
	if out.Batch == o.axis {
		out.Batch = -1
	}
	return out, needFloat(in...)
}

func (o argExtreme) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	sizes := slices.Clone([]int(in[0].Shape()))
	n := sizes[o.axis]
	outer, inner := split(sizes, o.axis)
	sizes[o.axis] = 1
	x, y := f32(in[0]), make([]int64, outer*inner)
	parallel(outer*inner, n, func(lo, hi int) {
		for row := lo; row < hi; row++ {
			at := row/inner*n*inner + row%inner
			best := 0
			for i := range n {
				c := cmp.Compare(x[at+i*inner], x[at+best*inner])
				if o.max && c > 0 || !o.max && c < 0 || o.last && c == 0 {
					best = i
				}
			}
			y[row] = int64(best)
		}
	})
	return tensorOf(y, sizes), nil
}

func (o argExtreme) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil} }

func (o argExtreme) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node(o.name(), in, onnx.IntAttr("axis", int64(o.axis)), onnx.IntAttr("keepdims", 1),
		onnx.IntAttr("select_last_index", flag(o.last)))
}

// TopK returns the k largest (or smallest) elements along an axis, in order, and
// where they are, int64. Of equal ones the first come first. The gradient goes to
// the elements that were taken.
func TopK(x *Node, k, axis int, largest bool) (values, indices *Node) {
	if x == nil {
		return nil, nil
	}
	a, err := x.axis(axis)
	if err != nil {
		return x.graph.Fail("op: TopK: %w", err), nil
	}
	indices = Apply(topIndices{k, a, largest}, x)
	return GatherElements(x, indices, a), indices
}

type topIndices struct {
	k, axis int
	largest bool
}

func (o topIndices) String() string {
	return fmt.Sprintf("TopIndices(k=%d axis=%d largest=%t)", o.k, o.axis, o.largest)
}

func (o topIndices) Infer(in []Type) (Type, error) {
	x := in[0]
	if o.k < 1 || o.k > x.Dims[o.axis] || o.axis == x.Batch {
		return Type{}, fmt.Errorf("cannot take %d of axis %d of %v", o.k, o.axis, x)
	}
	out := Type{Int64, Shape{slices.Clone(x.Dims), x.Batch}}
	out.Dims[o.axis] = o.k
	return out, needFloat(in...)
}

func (o topIndices) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	sizes := slices.Clone([]int(in[0].Shape()))
	n := sizes[o.axis]
	outer, inner := split(sizes, o.axis)
	sizes[o.axis] = o.k
	x, y := f32(in[0]), make([]int64, outer*inner*o.k)
	parallel(outer*inner, 8*n, func(lo, hi int) {
		order := make([]int, n)
		for row := lo; row < hi; row++ {
			at := row/inner*n*inner + row%inner
			for i := range order {
				order[i] = i
			}
			slices.SortStableFunc(order, func(a, b int) int {
				c := cmp.Compare(x[at+a*inner], x[at+b*inner])
				if o.largest {
					return -c
				}
				return c
			})
			for i, from := range order[:o.k] {
				y[row/inner*o.k*inner+i*inner+row%inner] = int64(from)
			}
		}
	})
	return tensorOf(y, sizes), nil
}

func (o topIndices) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil} }

func (o topIndices) ONNX(l *Lowering, n *Node, in []string) string {
	return l.NodeN("TopK", []string{in[0], l.Ints(int64(o.k))}, 2, onnx.IntAttr("axis", int64(o.axis)),
		onnx.IntAttr("largest", flag(o.largest)), onnx.IntAttr("sorted", 1))[1]
}

// CumSum adds up the elements along an axis one after the other. exclusive leaves
// an element out of its own sum; reverse starts at the end.
func CumSum(x *Node, axis int, exclusive, reverse bool) *Node {
	if x == nil {
		return nil
	}
	a, err := x.axis(axis)
	if err != nil {
		return x.graph.Fail("op: CumSum: %w", err)
	}
	return Apply(cumSum{a, exclusive, reverse}, x)
}

type cumSum struct {
	axis               int
	exclusive, reverse bool
}

func (o cumSum) String() string {
	return fmt.Sprintf("CumSum(axis=%d exclusive=%t reverse=%t)", o.axis, o.exclusive, o.reverse)
}

func (o cumSum) Infer(in []Type) (Type, error) { return in[0], needFloat(in...) }

func (o cumSum) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	sizes := in[0].Shape()
	n := sizes[o.axis]
	outer, inner := split(sizes, o.axis)
	out, y := zeros(sizes...)
	x := f32(in[0])
	for row := range outer * inner {
		at, sum := row/inner*n*inner+row%inner, 0.0
		for k := range n {
			i := k
			if o.reverse {
				i = n - 1 - k
			}
			i = at + i*inner
			if o.exclusive {
				y[i] = float32(sum)
			}
			sum += float64(x[i])
			if !o.exclusive {
				y[i] = float32(sum)
			}
		}
	}
	return out, nil
}

func (o cumSum) Grad(in []*Node, y, dy *Node) []*Node {
	return []*Node{CumSum(dy, o.axis, o.exclusive, !o.reverse)}
}

func (o cumSum) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("CumSum", []string{in[0], l.Int(int64(o.axis))}, onnx.IntAttr("exclusive", flag(o.exclusive)), onnx.IntAttr("reverse", flag(o.reverse)))
}
