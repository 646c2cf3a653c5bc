package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// PadMode says what padding is filled with.
type PadMode int

const (
	PadConstant PadMode = iota // a value
	PadReflect                 // the elements mirrored at the outermost one, which is not repeated
	PadEdge                    // the outermost element: PyTorch's replicate
	PadWrap                    // the elements of the other end: PyTorch's circular
)

// PadWith adds elements before and after an axis, or cuts them off where a number
// is negative. value is that of PadConstant. PadReflect takes fewer elements than
// the axis has, PadWrap no more.
func PadWith(x *Node, axis, before, after int, mode PadMode, value float64) *Node {
	if x == nil {
		return nil
	}
	a, err := x.axis(axis)
	if err != nil {
		return x.graph.Fail("op: Pad: %w", err)
	}
	if n := x.Dims[a]; before < 0 || after < 0 {
		x = Slice(x, a, max(0, -before), n-max(0, -after))
		before, after = max(0, before), max(0, after)
	}
	if mode == PadConstant && value == 0 || before == 0 && after == 0 {
		return Pad(x, a, before, after)
	}
	return Apply(border{a, before, after, mode, value}, x)
}

// border is padding that is not of zeros.
type border struct {
	axis, before, after int
	mode                PadMode
	value               float64
}

func (o border) name() string { return [...]string{"constant", "reflect", "edge", "wrap"}[o.mode] }

func (o border) String() string {
	return fmt.Sprintf("Pad(axis=%d %d+%d %s %g)", o.axis, o.before, o.after, o.name(), o.value)
}

func (o border) Infer(in []Type) (Type, error) {
	x := in[0]
	if x.Batch == o.axis {
		return Type{}, fmt.Errorf("cannot pad the batch of %v", x)
	}
	n, most := x.Dims[o.axis], max(o.before, o.after)
	if o.mode == PadReflect && most >= n || o.mode == PadWrap && most > n {
		return Type{}, fmt.Errorf("%d elements are too few to pad by %d and %d in mode %s", n, o.before, o.after, o.name())
	}
	out := x.like(x.Batch, append([]int(nil), x.Dims...)...)
	out.Dims[o.axis] += o.before + o.after
	if o.mode == PadConstant {
		return out, needFloat(in...)
	}
	return out, nil
}

func (o border) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	sizes := append([]int(nil), in[0].Shape()...)
	n := sizes[o.axis]
	outer, inner := split(sizes, o.axis)
	sizes[o.axis] += o.before + o.after
	out, m := blankLike(in[0], sizes), sizes[o.axis]
	if o.mode == PadConstant {
		y := f32(out)
		for i := range y {
			y[i] = float32(o.value)
		}
		move(out, in[0], outer, n*inner, func(i int) run {
			return run{(i*m + o.before) * inner, i * n * inner, n * inner, 1}
		})
		return out, nil
	}
	move(out, in[0], outer*m, inner, func(i int) run {
		return run{i * inner, (i/m*n + o.source(i%m, n)) * inner, inner, 1}
	})
	return out, nil
}

// source returns which of n elements stands at place i of the result.
func (o border) source(i, n int) int {
	i -= o.before
	switch {
	case o.mode == PadWrap:
		return (i + n) % n
	case i < 0 && o.mode == PadReflect:
		return -i
	case i >= n && o.mode == PadReflect:
		return 2*(n-1) - i
	}
	return min(max(i, 0), n-1)
}

// Grad adds what went to the borders to the elements that it came from.
func (o border) Grad(in []*Node, y, dy *Node) []*Node {
	n := in[0].Dims[o.axis]
	dx := Slice(dy, o.axis, o.before, o.before+n)
	if o.mode == PadConstant {
		return []*Node{dx}
	}
	add := func(from, to, at int) { // what stands at from..to-1 belongs to at and the places behind it
		if from == to {
			return
		}
		part := Slice(dy, o.axis, from, to)
		switch o.mode {
		case PadReflect:
			part = Flip(part, o.axis)
		case PadEdge:
			part = Sum(part, true, o.axis)
		}
		dx = Add(dx, Pad(part, o.axis, at, n-at-part.Dims[o.axis]))
	}
	end := o.before + n
	first := [...]int{PadReflect: 1, PadEdge: 0, PadWrap: n - o.before}[o.mode]
	last := [...]int{PadReflect: n - 1 - o.after, PadEdge: n - 1, PadWrap: 0}[o.mode]
	add(0, o.before, first)
	add(end, end+o.after, last)
	return []*Node{dx}
}

func (o border) ONNX(l *Lowering, n *Node, in []string) string {
	if o.mode == PadWrap { // ONNX has it since opset 19
		size := n.Inputs[0].Dims[o.axis]
		part := func(from, to int) string {
			return l.Node("Slice", []string{in[0], l.Ints(int64(from)), l.Ints(int64(to)), l.Ints(int64(o.axis))})
		}
		parts := []string{in[0]}
		if o.before > 0 {
			parts = []string{part(size-o.before, size), in[0]}
		}
		if o.after > 0 {
			parts = append(parts, part(0, o.after))
		}
		return l.Node("Concat", parts, onnx.IntAttr("axis", int64(o.axis)))
	}
	pads := make([]int64, 2*len(n.Dims))
	pads[o.axis], pads[len(n.Dims)+o.axis] = int64(o.before), int64(o.after)
	inputs := []string{in[0], l.Ints(pads...)}
	if o.mode == PadConstant {
		inputs = append(inputs, l.Float(float32(o.value)))
	}
	return l.Node("Pad", inputs, onnx.StringAttr("mode", o.name()))
}
