package op

import (
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// SliceStep takes every step-th element of an axis from from to before to.
func SliceStep(x *Node, axis, from, to, step int) *Node {
	if step == 1 || x == nil {
		return Slice(x, axis, from, to)
	}
	a, err := x.axis(axis)
	if err != nil {
		return x.graph.Fail("op: SliceStep: %w", err)
	}
	return Apply(stride{a, from, to, step}, x)
}

type stride struct{ axis, from, to, step int }

func (o stride) String() string {
	return fmt.Sprintf("Slice(axis=%d %d:%d:%d)", o.axis, o.from, o.to, o.step)
}

func (o stride) count() int { return (o.to - o.from + o.step - 1) / o.step }

func (o stride) Infer(in []Type) (Type, error) {
	x := in[0]
	if o.from < 0 || o.to > x.Dims[o.axis] || o.from >= o.to || o.step < 1 || o.axis == x.Batch {
		return Type{}, fmt.Errorf("%d:%d:%d is not a part of axis %d of %v", o.from, o.to, o.step, o.axis, x)
	}
	out := Type{x.DType, Shape{slices.Clone(x.Dims), x.Batch}}
	out.Dims[o.axis] = o.count()
	return out, nil
}

func (o stride) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	sizes := slices.Clone([]int(in[0].Shape()))
	size, n := sizes[o.axis], o.count()
	outer, inner := split(sizes, o.axis)
	sizes[o.axis] = n
	out := blankLike(in[0], sizes)
	if inner == 1 {
		move(out, in[0], outer, n, func(i int) run { return run{i * n, i*size + o.from, n, o.step} })
		return out, nil
	}
	move(out, in[0], outer*n, inner, func(i int) run {
		return run{i * inner, (i/n*size + o.from + i%n*o.step) * inner, inner, 1}
	})
	return out, nil
}

// Grad puts step-1 zeros behind each element, and zeros before and after them all.
func (o stride) Grad(in []*Node, y, dy *Node) []*Node {
	x := in[0]
	n := o.count()
	apart := Shape{slices.Insert(slices.Clone(dy.Dims), o.axis+1, 1), dy.Batch}
	if apart.Batch > o.axis {
		apart.Batch++
	}
	joined := Shape{slices.Clone(dy.Dims), dy.Batch}
	joined.Dims[o.axis] = n * o.step
	d := Reshape(Pad(Reshape(dy, apart), o.axis+1, 0, o.step-1), joined)
	size := x.Dims[o.axis]
	if o.from+n*o.step > size { // the zeros behind the last one stick out
		d = Slice(d, o.axis, 0, size-o.from)
		return []*Node{Pad(d, o.axis, o.from, 0)}
	}
	return []*Node{Pad(d, o.axis, o.from, size-o.from-n*o.step)}
}

func (o stride) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("Slice", []string{in[0], l.Ints(int64(o.from)), l.Ints(int64(o.to)), l.Ints(int64(o.axis)), l.Ints(int64(o.step))})
}

// Flip reverses an axis.
func Flip(x *Node, axis int) *Node {
	if x == nil {
		return nil
	}
	a, err := x.axis(axis)
	if err != nil {
		return x.graph.Fail("op: Flip: %w", err)
	}
	return Apply(flip{a}, x)
}

type flip struct{ axis int }

func (o flip) String() string { return fmt.Sprintf("Flip(axis=%d)", o.axis) }

func (o flip) Infer(in []Type) (Type, error) { return in[0], nil }

func (o flip) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	sizes := in[0].Shape()
	n := sizes[o.axis]
	outer, inner := split(sizes, o.axis)
	out := blankLike(in[0], sizes)
	move(out, in[0], outer*n, inner, func(i int) run {
		return run{i * inner, (i/n*n + n - 1 - i%n) * inner, inner, 1}
	})
	return out, nil
}

func (o flip) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{Flip(dy, o.axis)} }

func (o flip) ONNX(l *Lowering, n *Node, in []string) string {
	const first = -1 << 31 // below every index: reverses up to the first element
	return l.Node("Slice", []string{in[0], l.Ints(-1), l.Ints(first), l.Ints(int64(o.axis)), l.Ints(-1)})
}

// Expand repeats x to a shape, as broadcasting does. Where the shape has a batch
// axis that x has not, like says how large it is: its own batch axis is that size,
// or a part of it. Otherwise like is not needed and may be nil.
func Expand(x *Node, to Shape, like *Node) *Node {
	if x == nil {
		return nil
	}
	if to.Batch < 0 || x.Batch >= 0 && x.Batch+len(to.Dims)-len(x.Dims) == to.Batch {
		return Apply(expandTo{to}, x)
	}
	if like == nil || like.Batch < 0 || to.Dims[to.Batch]%like.Dims[like.Batch] != 0 {
		return x.graph.Fail("op: Expand: %v to %v: nothing says how large the batch is", x, to)
	}
	return Apply(expandTo{to}, x, like)
}

// expandTo repeats x to a shape: inputs x and, if the batch is not x's, a node that
// has it.
type expandTo struct{ to Shape }

func (o expandTo) String() string { return fmt.Sprintf("Expand%v", o.to) }

func (o expandTo) Infer(in []Type) (Type, error) {
	s, err := broadcast(in[0].Shape, Dims(o.to.Dims...))
	if err == nil && !slices.Equal(s.Dims, o.to.Dims) {
		err = fmt.Errorf("%v does not expand to %v", in[0], o.to)
	}
	return Type{in[0].DType, o.to}, err
}

func (o expandTo) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	return expanded(in[0], o.to.Dims), nil
}

func (o expandTo) Grad(in []*Node, y, dy *Node) []*Node {
	return append([]*Node{sumLike(dy, in[0])}, make([]*Node, len(in)-1)...)
}

func (o expandTo) ONNX(l *Lowering, n *Node, in []string) string {
	sizes := int64s(o.to.Dims)
	if o.to.Batch >= 0 {
		sizes[o.to.Batch] = 1 // x has the batch already
	}
	shape := l.Ints(sizes...)
	if len(in) == 2 {
		like := n.Inputs[1]
		size := l.Node("Gather", []string{l.Node("Shape", in[1:]), l.Ints(int64(like.Batch))})
		if k := o.to.Dims[o.to.Batch] / like.Dims[like.Batch]; k != 1 {
			size = l.Node("Mul", []string{size, l.Ints(int64(k))})
		}
		at := make([]bool, len(sizes))
		at[o.to.Batch] = true
		shape = l.Node("Where", []string{l.Const(onnx.BoolTensor("", []int64{int64(len(at))}, at)), size, shape})
	}
	return l.Node("Expand", []string{in[0], shape})
}
