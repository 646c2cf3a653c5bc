package op

import (
	"fmt"
	"slices"

	"gorgonia.org/tensor"
)

// Sum adds up x over the axes, or over all of them when none is named. keep
// leaves them with size 1.
func Sum(x *Node, keep bool, axes ...int) *Node { return reduction(x, "Sum", keep, axes) }

// Mean averages x over the axes, or over all of them when none is named. keep
// leaves them with size 1.
func Mean(x *Node, keep bool, axes ...int) *Node { return reduction(x, "Mean", keep, axes) }

// Max takes the largest element of x along the axes, or of all when none is
// named. keep leaves them with size 1. Equal elements share the gradient evenly,
// as in PyTorch's amax.
func Max(x *Node, keep bool, axes ...int) *Node { return reduction(x, "Max", keep, axes) }

func reduction(x *Node, name string, keep bool, axes []int) *Node {
	if x == nil {
		return nil
	}
	axes, err := reducedAxes(x.Shape, axes)
	if err != nil {
		return x.graph.Fail("op: %s: %w", name, err)
	}
	return Apply(reduce{name: name, axes: axes, keep: keep}, x)
}

// reducedAxes returns the axes as 0..rank-1, sorted; all of them for none.
func reducedAxes(s Shape, axes []int) ([]int, error) {
	if len(axes) == 0 {
		for i := range s.Dims {
			axes = append(axes, i)
		}
		return axes, nil
	}
	out := make([]int, len(axes))
	for i, a := range axes {
		var err error
		if out[i], err = s.axis(a); err != nil {
			return nil, err
		}
	}
	slices.Sort(out)
	if len(slices.Compact(slices.Clone(out))) != len(out) {
		return nil, fmt.Errorf("axes %v name an axis twice", axes)
	}
	return out, nil
}

type reduce struct {
	name string // Sum, Mean or Max
	axes []int  // sorted
	keep bool
}

func (o reduce) String() string { return fmt.Sprintf("%s(axes=%v keep=%t)", o.name, o.axes, o.keep) }

func (o reduce) Infer(in []Type) (Type, error) {
	return Type{Float32, reducedShape(in[0].Shape, o.axes, o.keep)}, needFloat(in...)
}

func reducedShape(s Shape, axes []int, keep bool) Shape {
	out := Shape{Batch: -1}
	for i, d := range s.Dims {
		gone := slices.Contains(axes, i)
		if gone && !keep {
			continue
		}
		if gone {
			d = 1
		} else if i == s.Batch {
			out.Batch = len(out.Dims)
		}
		out.Dims = append(out.Dims, d)
	}
	return out
}

// Run sums in float64: a mean over N, H and W has millions of terms.
func (o reduce) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	s := Dims(in[0].Shape()...)
	kept := reducedShape(s, o.axes, true)
	x := f32(in[0])
	scale := 1.0
	if o.name == "Mean" {
		scale = float64(kept.Size()) / float64(len(x))
	}
	out, y := zeros(reducedShape(s, o.axes, o.keep).Dims...)
	// Each output element walks the elements it sums: parallel over outputs.
	stride := broadcastStrides(s.Dims, s.Dims)
	var redSizes, redStrides, keptSizes, keptStrides []int
	for i, d := range s.Dims {
		if slices.Contains(o.axes, i) {
			redSizes, redStrides = append(redSizes, d), append(redStrides, stride[i])
		} else {
			keptSizes, keptStrides = append(keptSizes, d), append(keptStrides, stride[i])
		}
	}
	count, inner, step := len(x)/len(y), 1, 1
	if n := len(redSizes); n > 0 {
		inner, step = redSizes[n-1], redStrides[n-1]
		redSizes, redStrides = redSizes[:n-1], redStrides[:n-1]
	}
	parallel(len(y), count, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			base := offset(i, keptSizes, keptStrides)
			sum, largest := 0.0, x[base]
			for r := range count / inner {
				at := base + offset(r, redSizes, redStrides)
				if o.name == "Max" {
					for range inner {
						largest = max(largest, x[at])
						at += step
					}
					continue
				}
				for range inner {
					sum += float64(x[at])
					at += step
				}
			}
			if y[i] = largest; o.name != "Max" {
				y[i] = float32(sum * scale)
			}
		}
	})
	return out, nil
}

func (o reduce) Grad(in []*Node, y, dy *Node) []*Node {
	x := in[0]
	if !o.keep {
		kept := reducedShape(x.Shape, o.axes, true)
		y, dy = Reshape(y, kept), Reshape(dy, kept)
	}
	if o.name == "Max" {
		ties := Apply(equal{}, x, y)
		return []*Node{Mul(ties, Div(dy, Sum(ties, true, o.axes...)))}
	}
	if o.name == "Mean" {
		n := 1
		for _, a := range o.axes {
			n *= x.Dims[a]
		}
		dy = Scale(dy, 1/float64(n))
	}
	return []*Node{Apply(expand{}, dy, x)}
}

func (o reduce) ONNX(l *Lowering, n *Node, in []string) string {
	if len(o.axes) == 0 {
		return l.Node("Identity", in)
	}
	switch o.name {
	case "Sum":
		return l.ReduceSum(in[0], o.keep, o.axes...)
	case "Max":
		return l.ReduceMax(in[0], o.keep, o.axes...)
	}
	return l.ReduceMean(in[0], o.keep, o.axes...)
}

// expand repeats its first input to the shape of the second, whose values do
// not matter.
type expand struct{}

func (expand) String() string { return "ExpandLike" }

func (expand) Infer(in []Type) (Type, error) {
	s, err := broadcast(in[0].Shape, in[1].Shape)
	if err == nil && !slices.Equal(s.Dims, in[1].Dims) {
		err = fmt.Errorf("%v does not expand to %v", in[0], in[1])
	}
	return Type{in[0].DType, in[1].Shape}, err
}

func (expand) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	sizes := in[1].Shape()
	return expanded(in[0], sizes), nil
}

// expanded repeats x to these sizes.
func expanded(x *tensor.Dense, sizes []int) *tensor.Dense {
	out, strides := blankLike(x, sizes), broadcastStrides(x.Shape(), sizes)
	if len(sizes) == 0 {
		move(out, x, 1, 1, func(int) run { return run{0, 0, 1, 1} })
		return out
	}
	last := len(sizes) - 1
	inner := sizes[last]
	move(out, x, Dims(sizes[:last]...).Size(), inner, func(i int) run {
		return run{i * inner, offset(i, sizes[:last], strides), inner, strides[last]}
	})
	return out
}

func (expand) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{sumLike(dy, in[0]), nil} }

func (expand) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("Expand", []string{in[0], l.Node("Shape", in[1:])})
}
