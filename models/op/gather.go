package op

import (
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// Gather takes the parts of x along an axis that the indices name: x of any element
// type, indices int64 or int32. The axes of the indices take the place of the axis:
// with axis 0, x: [V, D] and indices: [N, L] it is an embedding [N, L, D]. Negative
// indices count from the end; an index outside is an error of the run.
func Gather(x, indices *Node, axis int) *Node {
	if x == nil || indices == nil {
		return nil
	}
	a, err := x.axis(axis)
	if err != nil {
		return x.graph.Fail("op: Gather: %w", err)
	}
	return Apply(gather{a}, x, indices)
}

// gather is Gather: inputs x, indices.
type gather struct{ axis int }

func (o gather) String() string { return fmt.Sprintf("Gather(axis=%d)", o.axis) }

func (o gather) Infer(in []Type) (Type, error) {
	x, idx := in[0], in[1]
	if !isInteger(idx.DType) {
		return Type{}, fmt.Errorf("want integer indices, got %v", idx)
	}
	out := Type{x.DType, Shape{slices.Concat(x.Dims[:o.axis], idx.Dims, x.Dims[o.axis+1:]), -1}}
	switch {
	case x.Batch >= 0 && x.Batch < o.axis:
		out.Batch = x.Batch
	case x.Batch > o.axis:
		out.Batch = x.Batch - 1 + len(idx.Dims)
	}
	if idx.Batch >= 0 {
		if out.Batch >= 0 {
			return Type{}, fmt.Errorf("both %v and %v depend on the batch", x, idx)
		}
		out.Batch = o.axis + idx.Batch
	}
	return out, nil
}

func (o gather) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	xs := []int(in[0].Shape())
	idx, err := indices(in[1], xs[o.axis])
	if err != nil {
		return nil, err
	}
	out := blankLike(in[0], slices.Concat(xs[:o.axis], in[1].Shape(), xs[o.axis+1:]))
	outer, inner := split(xs, o.axis)
	move(out, in[0], outer*len(idx), inner, func(i int) run {
		return run{i * inner, (i/len(idx)*xs[o.axis] + idx[i%len(idx)]) * inner, inner, 1}
	})
	return out, nil
}

// indices returns integers as indices of an axis of n elements.
func indices(t *tensor.Dense, n int) ([]int, error) {
	values := castTo(t, Int64).Int64s()
	out := make([]int, len(values))
	for i, v := range values {
		at := v
		if v < 0 {
			at += int64(n)
		}
		if at < 0 || at >= int64(n) {
			return nil, fmt.Errorf("index %d is outside an axis of %d elements", v, n)
		}
		out[i] = int(at)
	}
	return out, nil
}

func (o gather) Grad(in []*Node, y, dy *Node) []*Node {
	return []*Node{Apply(gatherGrad(o), dy, in[1], in[0]), nil}
}

func (o gather) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("Gather", in, onnx.IntAttr("axis", int64(o.axis)))
}

// gatherGrad adds each part of dy to the place that it was taken from: inputs dy,
// indices, x, of which only the shape counts.
type gatherGrad struct{ axis int }

func (o gatherGrad) String() string { return fmt.Sprintf("GatherGrad(axis=%d)", o.axis) }

func (o gatherGrad) Infer(in []Type) (Type, error) { return in[2], needFloat(in[0], in[2]) }

func (o gatherGrad) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	xs := []int(in[2].Shape())
	idx, err := indices(in[1], xs[o.axis])
	if err != nil {
		return nil, err
	}
	out, dx := zeros(xs...)
	dy := f32(in[0])
	outer, inner := split(xs, o.axis)
	for i := range outer * len(idx) {
		to := (i/len(idx)*xs[o.axis] + idx[i%len(idx)]) * inner
		for k := range inner {
			dx[to+k] += dy[i*inner+k]
		}
	}
	return out, nil
}

func (o gatherGrad) Grad(in []*Node, y, dy *Node) []*Node {
	return []*Node{Gather(dy, in[1], o.axis), nil, nil}
}

func (o gatherGrad) ONNX(l *Lowering, n *Node, in []string) string {
	l.Need(16, "the gradient of Gather")
	x, idx := n.Inputs[2], n.Inputs[1]
	taken := Shape{slices.Concat(x.Dims[:o.axis], []int{idx.Size()}, x.Dims[o.axis+1:]), -1}
	column := Shape{slices.Repeat([]int{1}, len(x.Dims)), -1}
	column.Dims[o.axis] = idx.Size()
	if idx.Batch >= 0 {
		taken.Batch, column.Batch = o.axis, o.axis
	} else if x.Batch != o.axis {
		taken.Batch = x.Batch
	}
	dy := l.Node("Reshape", []string{in[0], l.Ints(taken.symbolic()...)})
	at := l.Node("Reshape", []string{in[1], l.Ints(column.symbolic()...)})
	at = l.Node("Expand", []string{at, l.Node("Shape", []string{dy})})
	empty := l.Node("Expand", []string{l.Float(0), l.Node("Shape", []string{in[2]})})
	return l.Node("ScatterElements", []string{empty, at, dy}, onnx.IntAttr("axis", int64(o.axis)), onnx.StringAttr("reduction", "add"))
}

// GatherElements takes, for each index, the element of x at that place along an
// axis and at the index's own place along all others: y[i][j] = x[idx[i][j]][j] for
// two axes and axis 0. The indices are int64 or int32, of x's rank.
func GatherElements(x, indices *Node, axis int) *Node {
	if x == nil || indices == nil {
		return nil
	}
	a, err := x.axis(axis)
	if err != nil {
		return x.graph.Fail("op: GatherElements: %w", err)
	}
	return Apply(gatherElements{a}, x, indices)
}

// gatherElements is GatherElements: inputs x, indices.
type gatherElements struct{ axis int }

func (o gatherElements) String() string { return fmt.Sprintf("GatherElements(axis=%d)", o.axis) }

func (o gatherElements) Infer(in []Type) (Type, error) {
	return Type{in[0].DType, in[1].Shape}, elementsFit(in[0], in[1], o.axis)
}

func elementsFit(x, idx Type, axis int) error {
	fits := isInteger(idx.DType) && len(idx.Dims) == len(x.Dims) && (x.Batch < 0 || x.Batch == axis || idx.Batch == x.Batch)
	for i := range idx.Dims {
		fits = fits && (i == axis || idx.Dims[i] <= x.Dims[i])
	}
	if !fits {
		return fmt.Errorf("indices %v do not fit %v along axis %d", idx, x, axis)
	}
	return nil
}

func (o gatherElements) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	xs, ys := in[0].Shape(), in[1].Shape()
	idx, err := indices(in[1], xs[o.axis])
	if err != nil {
		return nil, err
	}
	out, place := blankLike(in[0], ys), places(xs, ys, o.axis)
	move(out, in[0], len(idx), 4, func(i int) run { return run{i, place(i, idx[i]), 1, 1} })
	return out, nil
}

// places tells where element number i of indices of shape ys, whose value is at,
// points to in a tensor of shape xs.
func places(xs, ys []int, axis int) func(i, at int) int {
	strides := broadcastStrides(xs, xs)
	step := strides[axis]
	strides[axis] = 0
	return func(i, at int) int { return offset(i, ys, strides) + at*step }
}

func (o gatherElements) Grad(in []*Node, y, dy *Node) []*Node {
	x := in[0]
	zeros := Apply(expand{}, x.graph.Scalar(0), x)
	return []*Node{ScatterElements(zeros, in[1], dy, o.axis, "add"), nil}
}

func (o gatherElements) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("GatherElements", in, onnx.IntAttr("axis", int64(o.axis)))
}

// ScatterElements returns x with each update at the place that its index names, as
// in GatherElements. reduction says what becomes of what is there: "none" replaces
// it (of equal indices the last counts), "add", "mul", "max" and "min" combine both.
// The first two have gradients.
func ScatterElements(x, indices, updates *Node, axis int, reduction string) *Node {
	if x == nil || indices == nil || updates == nil {
		return nil
	}
	a, err := x.axis(axis)
	if err != nil {
		return x.graph.Fail("op: ScatterElements: %w", err)
	}
	return Apply(scatterElements{a, reduction}, x, indices, updates)
}

// scatterElements is ScatterElements: inputs x, indices, updates.
type scatterElements struct {
	axis      int
	reduction string
}

func (o scatterElements) String() string {
	return fmt.Sprintf("ScatterElements(axis=%d %s)", o.axis, o.reduction)
}

func (o scatterElements) Infer(in []Type) (Type, error) {
	x, idx, v := in[0], in[1], in[2]
	if err := elementsFit(x, idx, o.axis); err != nil {
		return Type{}, err
	}
	if v.DType != x.DType || !slices.Equal(v.Dims, idx.Dims) {
		return Type{}, fmt.Errorf("updates %v do not fit %v and indices %v", v, x, idx)
	}
	if !slices.Contains([]string{"none", "add", "mul", "max", "min"}, o.reduction) {
		return Type{}, fmt.Errorf("no reduction %q", o.reduction)
	}
	if o.reduction != "none" && x.DType == Bool {
		return Type{}, fmt.Errorf("reduction %q of %v", o.reduction, x.DType)
	}
	return x, nil
}

func (o scatterElements) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	idx, err := indices(in[1], in[0].Shape()[o.axis])
	if err != nil {
		return nil, err
	}
	switch in[0].Dtype() {
	case tensor.Int64:
		return scattered(in, idx, o.axis, combine[int64](o.reduction)), nil
	case tensor.Int32:
		return scattered(in, idx, o.axis, combine[int32](o.reduction)), nil
	case tensor.Bool:
		return scattered(in, idx, o.axis, func(_, new bool) bool { return new }), nil
	}
	return scattered(in, idx, o.axis, combine[float32](o.reduction)), nil
}

func combine[T float32 | int64 | int32](reduction string) func(old, new T) T {
	switch reduction {
	case "add":
		return func(old, new T) T { return old + new }
	case "mul":
		return func(old, new T) T { return old * new }
	case "max":
		return func(old, new T) T { return max(old, new) }
	case "min":
		return func(old, new T) T { return min(old, new) }
	}
	return func(_, new T) T { return new }
}

func scattered[T element](in []*tensor.Dense, idx []int, axis int, f func(old, new T) T) *tensor.Dense {
	y, v := slices.Clone(elements[T](in[0])), elements[T](in[2])
	place := places(in[0].Shape(), in[1].Shape(), axis)
	for i, at := range idx {
		to := place(i, at)
		y[to] = f(y[to], v[i])
	}
	return tensorOf(y, in[0].Shape())
}

func (o scatterElements) Grad(in []*Node, y, dy *Node) []*Node {
	x, idx := in[0], in[1]
	dv := GatherElements(dy, idx, o.axis)
	switch o.reduction {
	case "add":
		return []*Node{dy, nil, dv}
	case "none":
		zeros := Apply(expand{}, x.graph.Scalar(0), idx)
		return []*Node{ScatterElements(dy, idx, zeros, o.axis, "none"), nil, dv}
	}
	x.graph.Fail("op: %v has no gradient", o)
	return []*Node{nil, nil, nil}
}

func (o scatterElements) ONNX(l *Lowering, n *Node, in []string) string {
	attrs := []*onnx.Attr{onnx.IntAttr("axis", int64(o.axis))}
	switch o.reduction {
	case "none":
	case "add", "mul":
		l.Need(16, "ScatterElements with a reduction")
		attrs = append(attrs, onnx.StringAttr("reduction", o.reduction))
	default:
		l.Need(18, "ScatterElements with min or max")
		attrs = append(attrs, onnx.StringAttr("reduction", o.reduction))
	}
	return l.Node("ScatterElements", in, attrs...)
}
