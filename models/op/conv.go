package op

import (
	"fmt"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// Conv says how a convolution walks over its input. The zero value of Stride,
// Dilation and Groups means 1.
type Conv struct {
	Stride   [2]int // down, right
	Pad      [4]int // zeros at the top, left, bottom, right
	Dilation [2]int
	Groups   int
}

// Conv2D is the cross-correlation of x: [N, C, H, W] with w: [K, C/groups, h, w]
// plus bias: [K], which may be nil; the result is [N, K, H', W']. As in PyTorch,
// rows and columns at the bottom and right that no full step reaches are left
// out.
func Conv2D(x, w, bias *Node, c Conv) *Node {
	if x == nil || w == nil {
		return nil
	}
	if len(x.Dims) != 4 || len(w.Dims) != 4 {
		return x.graph.Fail("op: Conv2D: want x: [N, C, H, W] and w: [K, C/groups, h, w], got %v and %v", x, w)
	}
	return addChannels(Apply(conv{c.withDefaults()}, x, w), bias, "Conv2D")
}

func (c Conv) withDefaults() Conv {
	for i := range 2 {
		c.Stride[i] = max(c.Stride[i], 1)
		c.Dilation[i] = max(c.Dilation[i], 1)
	}
	c.Groups = max(c.Groups, 1)
	return c
}

func (c Conv) String() string {
	return fmt.Sprintf("stride=%v pad=%v dilation=%v groups=%d", c.Stride, c.Pad, c.Dilation, c.Groups)
}

// outSize returns the number of steps along axis i (0: down, 1: right) of an
// input of size in under a kernel of size k, and how many positions are left over.
func (c Conv) outSize(i, in, k int) (out, rest int) {
	span := in + c.Pad[i] + c.Pad[i+2] - c.Dilation[i]*(k-1) - 1
	if span < 0 {
		return 0, 0
	}
	return span/c.Stride[i] + 1, span % c.Stride[i]
}

func (c Conv) attrs(kernel []int) []*onnx.Attr {
	return []*onnx.Attr{
		onnx.IntsAttr("dilations", int64s(c.Dilation[:])...),
		onnx.IntAttr("group", int64(c.Groups)),
		onnx.IntsAttr("kernel_shape", int64s(kernel)...),
		onnx.IntsAttr("pads", int64s(c.Pad[:])...),
		onnx.IntsAttr("strides", int64s(c.Stride[:])...),
	}
}

// conv is the convolution itself: inputs x, w.
type conv struct{ Conv }

func (o conv) String() string { return "Conv2D(" + o.Conv.String() + ")" }

func (o conv) Infer(in []Type) (Type, error) {
	x, w := in[0], in[1]
	if len(x.Dims) != 4 || len(w.Dims) != 4 || x.Dims[1] != w.Dims[1]*o.Groups || w.Dims[0]%o.Groups != 0 {
		return Type{}, fmt.Errorf("want x: [N, C, H, W] and w: [K, C/groups, h, w] with %d groups", o.Groups)
	}
	if slices.Min(o.Pad[:]) < 0 {
		return Type{}, fmt.Errorf("negative padding: cut the input with Slice")
	}
	h, _ := o.outSize(0, x.Dims[2], w.Dims[2])
	wd, _ := o.outSize(1, x.Dims[3], w.Dims[3])
	if h < 1 || wd < 1 {
		return Type{}, fmt.Errorf("the %dx%d kernel is larger than the padded %dx%d input", w.Dims[2], w.Dims[3], x.Dims[2], x.Dims[3])
	}
	return x.like(x.Batch, x.Dims[0], w.Dims[0], h, wd), needFloat(in...)
}

func (o conv) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	d := o.dims(in[0].Shape(), in[1].Shape())
	out, y := zeros(d.n, d.k, d.ho, d.wo)
	x, w := f32(in[0]), f32(in[1])
	parallel(d.n, d.flops(), func(lo, hi int) {
		col := d.newColumns()
		for i := lo; i < hi; i++ {
			for g := range o.Groups {
				cols := d.im2col(col, d.image(x, i, g))
				multiply(blas.NoTrans, blas.NoTrans, d.kg, d.pixels, d.rows, d.kernel(w, g), d.rows, cols, d.pixels, d.result(y, i, g), d.pixels)
			}
		}
	})
	return out, nil
}

func (o conv) Grad(in []*Node, y, dy *Node) []*Node {
	x, w := in[0], in[1]
	return []*Node{
		Apply(convInputGrad{o.Conv, x.Dims[2], x.Dims[3]}, dy, w),
		Apply(convWeightGrad{o.Conv, w.Dims[2], w.Dims[3]}, x, dy),
	}
}

func (o conv) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("Conv", in, o.attrs(n.Inputs[1].Dims[2:])...)
}

// convInputGrad is the gradient of a convolution with respect to its input of
// size h x w: inputs dy, w; by itself it is the transposed convolution. It is
// linear in both, so that its own gradients are convolutions again.
type convInputGrad struct {
	Conv
	h, w int
}

func (o convInputGrad) String() string {
	return fmt.Sprintf("Conv2DInputGrad(%v h=%d w=%d)", o.Conv, o.h, o.w)
}

func (o convInputGrad) Infer(in []Type) (Type, error) {
	dy, w := in[0], in[1]
	if dy.Dims[1] != w.Dims[0] || w.Dims[0]%o.Groups != 0 {
		return Type{}, fmt.Errorf("want x: [N, K, H, W] and w: [K, C/groups, h, w] with %d groups", o.Groups)
	}
	if slices.Min(o.Pad[:]) < 0 {
		return Type{}, fmt.Errorf("negative padding: add zeros with Pad")
	}
	if o.h < 1 || o.w < 1 {
		return Type{}, fmt.Errorf("the padding leaves nothing of the result: %dx%d", o.h, o.w)
	}
	return dy.like(dy.Batch, dy.Dims[0], w.Dims[1]*o.Groups, o.h, o.w), needFloat(in...)
}

func (o convInputGrad) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	ws := in[1].Shape()
	xs := []int{in[0].Shape()[0], ws[1] * o.Groups, o.h, o.w}
	d := o.dims(xs, ws)
	out, dx := zeros(xs...)
	dy, w := f32(in[0]), f32(in[1])
	parallel(d.n, d.flops(), func(lo, hi int) {
		col := d.newColumns()
		for i := lo; i < hi; i++ {
			for g := range o.Groups {
				cols := col
				if d.pointwise() {
					cols = d.image(dx, i, g)
				}
				multiply(blas.Trans, blas.NoTrans, d.rows, d.pixels, d.kg, d.kernel(w, g), d.rows, d.result(dy, i, g), d.pixels, cols, d.pixels)
				if !d.pointwise() {
					d.col2im(d.image(dx, i, g), cols)
				}
			}
		}
	})
	return out, nil
}

func (o convInputGrad) Grad(in []*Node, y, dy *Node) []*Node {
	w := in[1]
	return []*Node{Apply(conv{o.Conv}, dy, w), Apply(convWeightGrad{o.Conv, w.Dims[2], w.Dims[3]}, dy, in[0])}
}

func (o convInputGrad) ONNX(l *Lowering, n *Node, in []string) string {
	return lowerConvInputGrad(l, o, n.Inputs[0].Shape, n.Inputs[1].Shape, in[0], in[1])
}

// convWeightGrad is the gradient of a convolution with respect to its weight,
// whose kernel is h x w: inputs x, dy.
type convWeightGrad struct {
	Conv
	h, w int
}

func (o convWeightGrad) String() string {
	return fmt.Sprintf("Conv2DWeightGrad(%v h=%d w=%d)", o.Conv, o.h, o.w)
}

func (o convWeightGrad) Infer(in []Type) (Type, error) {
	x, dy := in[0], in[1]
	return x.like(-1, dy.Dims[1], x.Dims[1]/o.Groups, o.h, o.w), needFloat(in...)
}

func (o convWeightGrad) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	ws := []int{in[1].Shape()[1], in[0].Shape()[1] / o.Groups, o.h, o.w}
	d := o.dims(in[0].Shape(), ws)
	out, dw := zeros(ws...)
	x, dy := f32(in[0]), f32(in[1])
	// Each output channel is one worker's, who sums over the batch in its order:
	// the result does not depend on the number of workers.
	type job struct{ g, lo, hi int }
	var jobs []job
	const block = 64
	for g := range o.Groups {
		for lo := 0; lo < d.kg; lo += block {
			jobs = append(jobs, job{g, lo, min(lo+block, d.kg)})
		}
	}
	parallel(len(jobs), d.flops()*d.n, func(lo, hi int) {
		col, part := d.newColumns(), make([]float32, block*d.rows)
		for _, j := range jobs[lo:hi] {
			rows := j.hi - j.lo
			to := d.kernel(dw, j.g)[j.lo*d.rows : j.hi*d.rows]
			for i := range d.n {
				cols := d.im2col(col, d.image(x, i, j.g))
				multiply(blas.NoTrans, blas.Trans, rows, d.rows, d.pixels, d.result(dy, i, j.g)[j.lo*d.pixels:], d.pixels, cols, d.pixels, part, d.rows)
				for t := range to {
					to[t] += part[t]
				}
			}
		}
	})
	return out, nil
}

func (o convWeightGrad) Grad(in []*Node, y, dy *Node) []*Node {
	x := in[0]
	return []*Node{Apply(convInputGrad{o.Conv, x.Dims[2], x.Dims[3]}, in[1], dy), Apply(conv{o.Conv}, x, dy)}
}

func (o convWeightGrad) ONNX(l *Lowering, n *Node, in []string) string {
	return lowerConvWeightGrad(l, o, n, in[0], in[1])
}
