package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// AvgPool2D returns the means over windows of x: [N, C, H, W]. With countPad the
// zeros of the padding are counted, PyTorch's default; what a window of Ceil has
// beyond the padding never is.
func AvgPool2D(x *Node, p Pool, countPad bool) *Node {
	return Apply(averagePool{p.withDefaults(), countPad}, x)
}

// AdaptiveAvgPool2D averages x: [N, C, H, W] over h x w bins, of which bin i covers
// the rows floor(i*H/h) to ceil((i+1)*H/h)-1, columns alike: [N, C, h, w].
func AdaptiveAvgPool2D(x *Node, h, w int) *Node {
	if x == nil {
		return nil
	}
	if len(x.Dims) != 4 || h < 1 || w < 1 {
		return x.graph.Fail("op: AdaptiveAvgPool2D: want x: [N, C, H, W] and at least one bin, got %v and %dx%d bins", x, h, w)
	}
	if x.Dims[2]%h == 0 && x.Dims[3]%w == 0 {
		return AvgPool2D(x, Pool{Kernel: [2]int{x.Dims[2] / h, x.Dims[3] / w}}, true)
	}
	bins := func(in, out int) [][]tap {
		rows := make([][]tap, out)
		for i := range rows {
			lo, hi := i*in/out, ((i+1)*in+out-1)/out
			for j := lo; j < hi; j++ {
				rows[i] = append(rows[i], tap{j, 1 / float64(hi-lo)})
			}
		}
		return rows
	}
	return mapPlane(x, bins(x.Dims[2], h), bins(x.Dims[3], w))
}

type averagePool struct {
	Pool
	countPad bool
}

func (o averagePool) String() string {
	return fmt.Sprintf("AvgPool2D(%v countPad=%t)", o.Pool, o.countPad)
}

func (o averagePool) Infer(in []Type) (Type, error) { return o.infer(in[0]) }

func (o averagePool) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	s := in[0].Shape()
	h, w := s[2], s[3]
	ho, wo := o.outSize(0, h), o.outSize(1, w)
	out, y := zeros(s[0], s[1], ho, wo)
	x := f32(in[0])
	parallel(s[0]*s[1], ho*wo*o.Kernel[0]*o.Kernel[1], func(lo, hi int) {
		for plane := lo; plane < hi; plane++ {
			from, to := x[plane*h*w:(plane+1)*h*w], y[plane*ho*wo:(plane+1)*ho*wo]
			for i := range ho {
				for j := range wo {
					to[i*wo+j] = float32(o.sum(from, h, w, i, j) / float64(o.count(0, i, h)*o.count(1, j, w)))
				}
			}
		}
	})
	return out, nil
}

// sum adds up window i, j of a plane.
func (p Pool) sum(x []float32, h, w, i, j int) float64 {
	top, left := i*p.Stride[0]-p.Pad[0], j*p.Stride[1]-p.Pad[1]
	ulo, uhi := p.inside(0, i, h)
	vlo, vhi := p.inside(1, j, w)
	sum := 0.0
	for u := ulo; u < uhi; u++ {
		for v := vlo; v < vhi; v++ {
			sum += float64(x[(top+u*p.Dilation[0])*w+left+v*p.Dilation[1]])
		}
	}
	return sum
}

// count returns by how many elements of window number j along axis i its sum is
// divided.
func (o averagePool) count(i, j, in int) int {
	if o.countPad {
		padded := o.Pool
		padded.Pad = [4]int{}
		lo, hi := padded.inside(i, j, in+o.Pad[i]+o.Pad[i+2])
		return hi - lo
	}
	lo, hi := o.inside(i, j, in)
	return hi - lo
}

// shares returns c over what the sum of each window is divided by: [H', W'].
func (o averagePool) shares(h, w int, c float32) []float32 {
	wo := o.outSize(1, w)
	out := make([]float32, o.outSize(0, h)*wo)
	for i := range out {
		out[i] = c / float32(o.count(0, i/wo, h)*o.count(1, i%wo, w))
	}
	return out
}

// Grad spreads each mean's gradient over its window: a transposed convolution of
// each plane with ones.
func (o averagePool) Grad(in []*Node, y, dy *Node) []*Node {
	x := in[0]
	n, c, ho, wo := dy.Dims[0], dy.Dims[1], dy.Dims[2], dy.Dims[3]
	share := o.shares(x.Dims[2], x.Dims[3], 1)
	ones := make([]float32, o.Kernel[0]*o.Kernel[1])
	for i := range ones {
		ones[i] = 1
	}
	over := Conv{Stride: o.Stride, Pad: o.Pad, Dilation: o.Dilation}.withDefaults()
	for i, out := range []int{ho, wo} { // windows of Ceil stick out
		over.Pad[i+2] = max(over.Pad[i+2], (out-1)*o.Stride[i]+o.extent(i)-x.Dims[i+2]-o.Pad[i])
	}
	planes := Reshape(Mul(dy, y.graph.Const(share, 1, 1, ho, wo)), Shape{[]int{n * c, 1, ho, wo}, dy.Batch})
	kernel := y.graph.Const(ones, 1, 1, o.Kernel[0], o.Kernel[1])
	dx := Apply(convInputGrad{over, x.Dims[2], x.Dims[3]}, planes, kernel)
	return []*Node{Reshape(dx, x.Shape)}
}

func (o averagePool) ONNX(l *Lowering, n *Node, in []string) string {
	if o.Dilation != [2]int{1, 1} {
		l.Need(19, "AvgPool2D with dilation")
	}
	h, w := n.Inputs[0].Dims[2], n.Inputs[0].Dims[3]
	pool := o.padded(h, w)
	y := l.Node("AveragePool", in, append(pool.attrs(), onnx.IntAttr("count_include_pad", flag(o.countPad)))...)
	if o.countPad && pool.Pad != o.Pad { // what the padding for Ceil added does not count
		all := float32(o.Kernel[0] * o.Kernel[1])
		y = l.Node("Mul", []string{y, l.Const(onnx.FloatTensor("", []int64{1, 1, int64(n.Dims[2]), int64(n.Dims[3])}, o.shares(h, w, all)))})
	}
	return y
}
