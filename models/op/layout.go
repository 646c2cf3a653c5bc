package op

import (
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// Reshape gives x other sizes, in C order. The batch axis stays symbolic when to
// marks one: Reshape(x, Batched(n, 512)).
func Reshape(x *Node, to Shape) *Node {
	if x != nil && x.Shape.Equal(to) {
		return x
	}
	return Apply(reshape{to}, x)
}

// Flatten makes x: [N, ...] a matrix [N, D].
func Flatten(x *Node) *Node {
	if x == nil {
		return nil
	}
	n := x.Dims[0]
	return Reshape(x, Shape{[]int{n, x.Size() / n}, x.Batch})
}

type reshape struct{ to Shape }

func (o reshape) String() string { return fmt.Sprintf("Reshape%v", o.to) }

func (o reshape) Infer(in []Type) (Type, error) {
	if in[0].Size() != o.to.Size() || slices.ContainsFunc(o.to.Dims, func(d int) bool { return d < 1 }) {
		return Type{}, fmt.Errorf("%d elements do not fill %v, which has %d", in[0].Size(), o.to, o.to.Size())
	}
	if o.to.Batch >= len(o.to.Dims) {
		return Type{}, fmt.Errorf("%v has no axis %d, which should be the batch", o.to.Dims, o.to.Batch)
	}
	return Type{in[0].DType, o.to}, nil
}

func (o reshape) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	out := blankLike(in[0], o.to.Dims)
	n := o.to.Size()
	move(out, in[0], 1, n, func(int) run { return run{0, 0, n, 1} })
	return out, nil
}

func (o reshape) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{Reshape(dy, in[0].Shape)} }

func (o reshape) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("Reshape", []string{in[0], l.Ints(o.to.symbolic()...)})
}

// Transpose reorders the axes: axis i of the result is axis perm[i] of x.
func Transpose(x *Node, perm ...int) *Node { return Apply(transpose{perm}, x) }

type transpose struct{ perm []int }

func (o transpose) String() string { return fmt.Sprintf("Transpose%v", o.perm) }

func (o transpose) Infer(in []Type) (Type, error) {
	x := in[0]
	sorted := slices.Sorted(slices.Values(o.perm))
	fits := len(sorted) == len(x.Dims) && len(sorted) > 0
	for i, p := range sorted {
		fits = fits && p == i
	}
	if !fits {
		return Type{}, fmt.Errorf("%v does not permute the axes of %v", o.perm, x)
	}
	out := Type{x.DType, Shape{make([]int, len(x.Dims)), -1}}
	for i, p := range o.perm {
		out.Dims[i] = x.Dims[p]
		if p == x.Batch {
			out.Batch = i
		}
	}
	return out, nil
}

func (o transpose) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	sizes := in[0].Shape()
	strides := broadcastStrides(sizes, sizes)
	to, from := make([]int, len(sizes)), make([]int, len(sizes))
	for i, p := range o.perm {
		to[i], from[i] = sizes[p], strides[p]
		if sizes[p] == 1 {
			from[i] = 0
		}
	}
	out := blankLike(in[0], to)
	last := len(to) - 1
	inner, step := to[last], from[last]
	move(out, in[0], sizes.TotalSize()/inner, inner, func(i int) run {
		return run{i * inner, offset(i, to[:last], from), inner, step}
	})
	return out, nil
}

func (o transpose) Grad(in []*Node, y, dy *Node) []*Node {
	back := make([]int, len(o.perm))
	for i, p := range o.perm {
		back[p] = i
	}
	return []*Node{Transpose(dy, back...)}
}

func (o transpose) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("Transpose", in, onnx.IntsAttr("perm", int64s(o.perm)...))
}

// Concat joins the inputs along an axis.
func Concat(axis int, in ...*Node) *Node {
	if len(in) > 0 && in[0] != nil {
		a, err := in[0].axis(axis)
		if err != nil {
			return in[0].graph.Fail("op: Concat: %w", err)
		}
		axis = a
	}
	return Apply(concat{axis}, in...)
}

type concat struct{ axis int }

func (o concat) String() string { return fmt.Sprintf("Concat(axis=%d)", o.axis) }

func (o concat) Infer(in []Type) (Type, error) {
	out := Type{in[0].DType, Shape{slices.Clone(in[0].Dims), in[0].Batch}}
	out.Dims[o.axis] = 0
	for _, t := range in {
		fits := t.DType == out.DType && len(t.Dims) == len(out.Dims)
		for i := range t.Dims {
			fits = fits && (i == o.axis || t.Dims[i] == out.Dims[i])
		}
		if !fits {
			return Type{}, fmt.Errorf("%v does not join %v along axis %d", t, in[0], o.axis)
		}
		out.Dims[o.axis] += t.Dims[o.axis]
		if t.Batch >= 0 {
			out.Batch = t.Batch
		}
	}
	return out, nil
}

func (o concat) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	sizes := slices.Clone([]int(in[0].Shape()))
	sizes[o.axis] = 0
	for _, t := range in {
		sizes[o.axis] += t.Shape()[o.axis]
	}
	out := blankLike(in[0], sizes)
	outer, inner := split(sizes, o.axis)
	at := 0
	for _, t := range in {
		n := t.Shape()[o.axis] * inner
		move(out, t, outer, n, func(i int) run { return run{i*sizes[o.axis]*inner + at, i * n, n, 1} })
		at += n
	}
	return out, nil
}

func (o concat) Grad(in []*Node, y, dy *Node) []*Node {
	grads := make([]*Node, len(in))
	at := 0
	for i, x := range in {
		grads[i] = Slice(dy, o.axis, at, at+x.Dims[o.axis])
		at += x.Dims[o.axis]
	}
	return grads
}

func (o concat) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("Concat", in, onnx.IntAttr("axis", int64(o.axis)))
}

// Slice takes the elements from..to-1 of an axis.
func Slice(x *Node, axis, from, to int) *Node {
	if x == nil {
		return nil
	}
	a, err := x.axis(axis)
	if err != nil {
		return x.graph.Fail("op: Slice: %w", err)
	}
	return Apply(slice{a, from, to}, x)
}

type slice struct{ axis, from, to int }

func (o slice) String() string { return fmt.Sprintf("Slice(axis=%d %d:%d)", o.axis, o.from, o.to) }

func (o slice) Infer(in []Type) (Type, error) {
	x := in[0]
	if o.from < 0 || o.to > x.Dims[o.axis] || o.from >= o.to {
		return Type{}, fmt.Errorf("%d:%d is not a part of axis %d of %v", o.from, o.to, o.axis, x)
	}
	out := Type{x.DType, Shape{slices.Clone(x.Dims), x.Batch}}
	out.Dims[o.axis] = o.to - o.from
	return out, nil
}

func (o slice) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	sizes := slices.Clone([]int(in[0].Shape()))
	size := sizes[o.axis]
	outer, inner := split(sizes, o.axis)
	sizes[o.axis] = o.to - o.from
	out := blankLike(in[0], sizes)
	n := (o.to - o.from) * inner
	move(out, in[0], outer, n, func(i int) run { return run{i * n, (i*size + o.from) * inner, n, 1} })
	return out, nil
}

func (o slice) Grad(in []*Node, y, dy *Node) []*Node {
	return []*Node{Pad(dy, o.axis, o.from, in[0].Dims[o.axis]-o.to)}
}

func (o slice) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("Slice", []string{in[0], l.Ints(int64(o.from)), l.Ints(int64(o.to)), l.Ints(int64(o.axis))})
}

// Pad adds zeros before and after an axis.
func Pad(x *Node, axis, before, after int) *Node {
	if before == 0 && after == 0 {
		return x
	}
	return Apply(pad{axis, before, after}, x)
}

type pad struct{ axis, before, after int }

func (o pad) String() string { return fmt.Sprintf("Pad(axis=%d %d+%d)", o.axis, o.before, o.after) }

func (o pad) Infer(in []Type) (Type, error) {
	x := in[0]
	if o.axis < 0 || o.axis >= len(x.Dims) || o.before < 0 || o.after < 0 {
		return Type{}, fmt.Errorf("cannot pad axis %d of %v by %d and %d", o.axis, x, o.before, o.after)
	}
	out := Type{x.DType, Shape{slices.Clone(x.Dims), x.Batch}}
	out.Dims[o.axis] += o.before + o.after
	return out, nil
}

func (o pad) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	sizes := slices.Clone([]int(in[0].Shape()))
	outer, inner := split(sizes, o.axis)
	n := sizes[o.axis] * inner
	sizes[o.axis] += o.before + o.after
	out := blankLike(in[0], sizes)
	move(out, in[0], outer, n, func(i int) run { return run{(i*sizes[o.axis] + o.before) * inner, i * n, n, 1} })
	return out, nil
}

func (o pad) Grad(in []*Node, y, dy *Node) []*Node {
	return []*Node{Slice(dy, o.axis, o.before, o.before+in[0].Dims[o.axis])}
}

func (o pad) ONNX(l *Lowering, n *Node, in []string) string {
	pads := make([]int64, 2*len(n.Dims))
	pads[o.axis], pads[len(n.Dims)+o.axis] = int64(o.before), int64(o.after)
	return l.Node("Pad", []string{in[0], l.Ints(pads...)})
}

// split returns how many elements lie outside and inside an axis.
func split(sizes []int, axis int) (outer, inner int) {
	return Dims(sizes[:axis]...).Size(), Dims(sizes[axis+1:]...).Size()
}

func int64s(v []int) []int64 {
	out := make([]int64, len(v))
	for i, x := range v {
		out[i] = int64(x)
	}
	return out
}
