package op

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// Pool says which windows a pooling takes. A stride of 0 is the kernel's size, a
// dilation of 0 is 1. Padding counts as -infinity for the maximum. With Ceil,
// windows that stick out at the bottom and right count too, as long as they start
// inside the input or its left or upper padding.
type Pool struct {
	Kernel, Stride [2]int
	Pad            [4]int // top, left, bottom, right
	Dilation       [2]int
	Ceil           bool
}

// MaxPool2D returns the maxima over windows of x: [N, C, H, W]. Where values tie
// the gradient goes to the first in row-major order, as in PyTorch.
func MaxPool2D(x *Node, p Pool) *Node {
	p = p.withDefaults()
	return Apply(maxPool{p}, x, MaxPool2DIndices(x, p))
}

// MaxPool2DIndices returns the positions h*W+w of the maxima: int64, of the
// shape of MaxPool2D's result.
func MaxPool2DIndices(x *Node, p Pool) *Node {
	return Apply(maxIndices{p.withDefaults()}, x)
}

// withDefaults makes a stride of 0 that of windows side by side.
func (p Pool) withDefaults() Pool {
	for i := range p.Stride {
		if p.Stride[i] == 0 {
			p.Stride[i] = p.Kernel[i]
		}
		if p.Dilation[i] == 0 {
			p.Dilation[i] = 1
		}
	}
	return p
}

// extent returns how many rows (i: 0) or columns (i: 1) a window spans.
func (p Pool) extent(i int) int { return p.Dilation[i]*(p.Kernel[i]-1) + 1 }

// GlobalAveragePool averages x: [N, C, H, W] over H and W: [N, C].
func GlobalAveragePool(x *Node) *Node { return Mean(x, false, 2, 3) }

func (p Pool) String() string {
	return fmt.Sprintf("kernel=%v stride=%v pad=%v dilation=%v ceil=%t", p.Kernel, p.Stride, p.Pad, p.Dilation, p.Ceil)
}

func (p Pool) outSize(i, in int) int {
	span := in + p.Pad[i] + p.Pad[i+2] - p.extent(i)
	if span < 0 {
		return 0
	}
	out := span/p.Stride[i] + 1
	if p.Ceil && span%p.Stride[i] != 0 && out*p.Stride[i] < in+p.Pad[i] {
		out++
	}
	return out
}

func (p Pool) infer(x Type) (Type, error) {
	if len(x.Dims) != 4 || min(p.Kernel[0], p.Kernel[1], p.Stride[0], p.Stride[1], p.Dilation[0], p.Dilation[1]) < 1 {
		return Type{}, fmt.Errorf("want x: [N, C, H, W], a kernel and strides of at least 1")
	}
	for i, pad := range p.Pad {
		if pad < 0 || pad >= p.Kernel[i%2] {
			return Type{}, fmt.Errorf("a padding of %d: want 0 or more, and less than the window", pad)
		}
	}
	h, w := p.outSize(0, x.Dims[2]), p.outSize(1, x.Dims[3])
	if h < 1 || w < 1 {
		return Type{}, fmt.Errorf("the %dx%d window is larger than the padded input", p.Kernel[0], p.Kernel[1])
	}
	for i, out := range []int{h, w} {
		for j := range out {
			if lo, hi := p.inside(i, j, x.Dims[2+i]); lo >= hi {
				return Type{}, fmt.Errorf("window %d of axis %d lies in the padding", j, 2+i)
			}
		}
	}
	return x.like(x.Batch, x.Dims[0], x.Dims[1], h, w), needFloat(x)
}

// inside returns which elements lo..hi-1 of window number j, down (i: 0) or to
// the right (i: 1), lie in an input of size in.
func (p Pool) inside(i, j, in int) (lo, hi int) {
	start, d := j*p.Stride[i]-p.Pad[i], p.Dilation[i]
	if start < 0 {
		lo = (-start + d - 1) / d
	}
	if start < in {
		hi = min((in-1-start)/d+1, p.Kernel[i])
	}
	return lo, hi
}

// padded returns the pooling without Ceil: padded at the end, so that the last
// windows find room. ONNX Runtime counts the windows of its own ceil_mode in two ways
// that differ where one of them would start in the padding. It stays with Ceil where
// dilated windows need more padding than ONNX Runtime takes.
func (p Pool) padded(h, w int) Pool {
	if !p.Ceil {
		return p
	}
	q := p
	q.Ceil = false
	for i, in := range []int{h, w} {
		q.Pad[i+2] = max(p.Pad[i+2], (p.outSize(i, in)-1)*p.Stride[i]+p.extent(i)-in-p.Pad[i])
		if q.Pad[i+2] >= p.Kernel[i] {
			return p
		}
	}
	return q
}

func (p Pool) attrs() []*onnx.Attr {
	attrs := []*onnx.Attr{
		onnx.IntAttr("ceil_mode", flag(p.Ceil)),
		onnx.IntsAttr("kernel_shape", int64s(p.Kernel[:])...),
		onnx.IntsAttr("pads", int64s(p.Pad[:])...),
		onnx.IntsAttr("strides", int64s(p.Stride[:])...),
	}
	if p.Dilation != [2]int{1, 1} {
		attrs = append(attrs, onnx.IntsAttr("dilations", int64s(p.Dilation[:])...))
	}
	return attrs
}

// maxIndices finds the positions, from which maxPool takes the values. In ONNX
// both are one MaxPool.
type maxIndices struct{ Pool }

func (o maxIndices) String() string { return "MaxPool2DIndices(" + o.Pool.String() + ")" }

func (o maxIndices) Infer(in []Type) (Type, error) {
	t, err := o.infer(in[0])
	t.DType = Int64
	return t, err
}

func (o maxIndices) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	s := in[0].Shape()
	h, w := s[2], s[3]
	ho, wo := o.outSize(0, h), o.outSize(1, w)
	x, y := f32(in[0]), make([]int64, s[0]*s[1]*ho*wo)
	parallel(s[0]*s[1], ho*wo*o.Kernel[0]*o.Kernel[1], func(lo, hi int) {
		for plane := lo; plane < hi; plane++ {
			from, to := x[plane*h*w:(plane+1)*h*w], y[plane*ho*wo:(plane+1)*ho*wo]
			for i := range ho {
				for j := range wo {
					to[i*wo+j] = o.first(from, h, w, i, j)
				}
			}
		}
	})
	return tensorOf(y, []int{s[0], s[1], ho, wo}), nil
}

// first returns the position of the first maximum in window i, j.
func (p Pool) first(x []float32, h, w, i, j int) int64 {
	top, left := i*p.Stride[0]-p.Pad[0], j*p.Stride[1]-p.Pad[1]
	ulo, uhi := p.inside(0, i, h)
	vlo, vhi := p.inside(1, j, w)
	best, at := float32(math.Inf(-1)), -1
	for u := ulo; u < uhi; u++ {
		for v := vlo; v < vhi; v++ {
			k := (top+u*p.Dilation[0])*w + left + v*p.Dilation[1]
			if v := x[k]; at < 0 || v > best || v != v && best == best {
				best, at = v, k
			}
		}
	}
	return int64(at)
}

func (o maxIndices) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil} }

// ONNX makes flat positions, which count from the start of the tensor, into
// positions in their plane.
func (o maxIndices) ONNX(l *Lowering, n *Node, in []string) string {
	h, w := n.Inputs[0].Dims[2], n.Inputs[0].Dims[3]
	flat, plane := lowerMaxPool(l, o.padded(h, w), in[0])[1], h*w
	return l.Node("Mod", []string{flat, l.Int(int64(plane))})
}

func lowerMaxPool(l *Lowering, p Pool, x string) []string {
	return l.Once("MaxPool "+x+" "+p.String(), func() []string {
		return l.NodeN("MaxPool", []string{x}, 2, p.attrs()...)
	})
}

// maxPool takes the values of x at the indices: inputs x, indices.
type maxPool struct{ Pool }

func (o maxPool) String() string { return "MaxPool2D(" + o.Pool.String() + ")" }

func (o maxPool) Infer(in []Type) (Type, error) {
	t := in[1]
	t.DType = Float32
	return t, needFloat(in[0])
}

func (o maxPool) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	xs, ys := in[0].Shape(), in[1].Shape()
	out, y := zeros(ys...)
	x, idx := f32(in[0]), i64(in[1])
	nx, ny := xs[2]*xs[3], ys[2]*ys[3]
	parallel(ys[0]*ys[1], ny, func(lo, hi int) {
		for i := lo * ny; i < hi*ny; i++ {
			y[i] = x[i/ny*nx+int(idx[i])]
		}
	})
	return out, nil
}

func (o maxPool) Grad(in []*Node, y, dy *Node) []*Node {
	return []*Node{Apply(unpool{in[0].Dims[2], in[0].Dims[3]}, dy, in[1]), nil}
}

func (o maxPool) ONNX(l *Lowering, n *Node, in []string) string {
	x := n.Inputs[1].Inputs[0] // the node that the indices were found in
	if x != n.Inputs[0] {
		panic("op: MaxPool2D and its indices have different inputs")
	}
	return lowerMaxPool(l, o.padded(x.Dims[2], x.Dims[3]), in[0])[0]
}

// unpool adds each value to the position of a plane of h x w that its index
// names: inputs values, indices. It is the gradient of maxPool.
type unpool struct{ h, w int }

func (o unpool) String() string { return fmt.Sprintf("MaxUnpool2D(h=%d w=%d)", o.h, o.w) }

func (o unpool) Infer(in []Type) (Type, error) {
	v := in[0]
	return v.like(v.Batch, v.Dims[0], v.Dims[1], o.h, o.w), needFloat(v)
}

func (o unpool) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	s := in[0].Shape()
	out, y := zeros(s[0], s[1], o.h, o.w)
	v, idx := f32(in[0]), i64(in[1])
	n := s[2] * s[3]
	parallel(s[0]*s[1], n, func(lo, hi int) {
		for i := lo * n; i < hi*n; i++ {
			y[i/n*o.h*o.w+int(idx[i])] += v[i]
		}
	})
	return out, nil
}

// Grad takes the values at the indices, which is maxPool again in all but its
// ONNX form; nothing needs the second derivative of a maximum.
func (o unpool) Grad(in []*Node, y, dy *Node) []*Node {
	y.graph.Fail("op: MaxPool2D is not differentiable twice")
	return []*Node{nil, nil}
}

func (o unpool) ONNX(l *Lowering, n *Node, in []string) string {
	l.Need(16, "the gradient of MaxPool2D")
	s := n.Inputs[0]
	flat := Shape{[]int{s.Dims[0], s.Dims[1], s.Dims[2] * s.Dims[3]}, s.Batch}
	planes := Shape{[]int{s.Dims[0], s.Dims[1], o.h * o.w}, s.Batch}
	empty := l.Node("Expand", []string{l.Float(0), l.planeShape(in[0], o.h*o.w)})
	idx := l.Node("Reshape", []string{in[1], l.Ints(flat.symbolic()...)})
	val := l.Node("Reshape", []string{in[0], l.Ints(flat.symbolic()...)})
	sum := l.Node("ScatterElements", []string{empty, idx, val}, onnx.IntAttr("axis", 2), onnx.StringAttr("reduction", "add"))
	planes.Dims = []int{s.Dims[0], s.Dims[1], o.h, o.w}
	return l.Node("Reshape", []string{sum, l.Ints(planes.symbolic()...)})
}

// planeShape computes the shape [N, C, size] for x: [N, C, ...].
func (l *Lowering) planeShape(x string, size int) string {
	nc := l.Node("Slice", []string{l.Node("Shape", []string{x}), l.Ints(0), l.Ints(2), l.Ints(0)})
	return l.Node("Concat", []string{nc, l.Ints(int64(size))}, onnx.IntAttr("axis", 0))
}
