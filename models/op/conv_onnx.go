package op

import (
	"fmt"

	"github.com/sslrt/sslrt/models/onnx"
)

// The ONNX forms of the two convolution gradients.

// lowerConvInputGrad writes the input gradient: a convolution with the turned
// kernel where that is possible, which ONNX Runtime does faster than the
// transposed convolution that serves all other cases.
func lowerConvInputGrad(l *Lowering, o convInputGrad, dy, w Shape, dyName, wName string) string {
	kernel := w.Dims[2:]
	var pad [4]int
	plain := o.Stride == [2]int{1, 1} && o.Groups == 1
	for i := range pad {
		pad[i] = o.Dilation[i%2]*(kernel[i%2]-1) - o.Pad[i]
		plain = plain && pad[i] >= 0
	}
	if plain {
		turned := l.Node("Transpose", []string{turn(l, wName, kernel)}, onnx.IntsAttr("perm", 1, 0, 2, 3))
		c := Conv{Stride: o.Stride, Pad: pad, Dilation: o.Dilation, Groups: 1}
		return l.Node("Conv", []string{dyName, turned}, c.attrs(kernel)...)
	}
	_, restH := o.outSize(0, o.h, kernel[0])
	_, restW := o.outSize(1, o.w, kernel[1])
	attrs := append(o.attrs(kernel), onnx.IntsAttr("output_padding", int64(restH), int64(restW)))
	return l.Node("ConvTranspose", []string{dyName, wName}, attrs...)
}

// turn reverses the last two axes of a kernel.
func turn(l *Lowering, w string, kernel []int) string {
	if kernel[0] == 1 && kernel[1] == 1 {
		return w
	}
	const first = -1 << 31 // below every index: reverses up to the first element
	return l.Node("Slice", []string{w, l.Ints(-1, -1), l.Ints(first, first), l.Ints(2, 3), l.Ints(-1, -1)})
}

// lowerConvWeightGrad writes the weight gradient.
//
// With one group it is a matrix product over all images and positions. With
// groups it is a convolution in which the images take the place of the channels.
func lowerConvWeightGrad(l *Lowering, o convWeightGrad, n *Node, xName, dyName string) string {
	if o.Groups == 1 {
		return weightGradByMatMul(l, o, n.Inputs[0].Shape, n.Inputs[1].Shape, xName, dyName)
	}
	return weightGradByConv(l, o, n.Inputs[0].Shape, n.Inputs[1].Shape, xName, dyName)
}

// weightGradByConv convolves x, its images as channels, with dy, its images as
// the channels of the kernel; stride and dilation change places. The result is
// cut to the kernel's size: positions that no step reached stick out.
func weightGradByConv(l *Lowering, o convWeightGrad, x, dy Shape, xName, dyName string) string {
	n, c, g := int64(x.Dims[0]), int64(x.Dims[1]), int64(o.Groups)
	h, w := int64(x.Dims[2]), int64(x.Dims[3])
	images := l.Node("Reshape", []string{xName, l.Ints(n, g, c/g, h, w)})
	images = l.Node("Transpose", []string{images}, onnx.IntsAttr("perm", 2, 1, 0, 3, 4))
	images = l.Node("Reshape", []string{images, l.Ints(c/g, g*n, h, w)})
	kernel := l.Node("Transpose", []string{dyName}, onnx.IntsAttr("perm", 1, 0, 2, 3))
	turned := Conv{Stride: o.Dilation, Pad: o.Pad, Dilation: o.Stride, Groups: o.Groups}
	dw := l.Node("Conv", []string{images, kernel}, turned.attrs(dy.Dims[2:])...) // [C/g, K, h.., w..]
	dw = l.Node("Slice", []string{dw, l.Ints(0, 0), l.Ints(int64(o.h), int64(o.w)), l.Ints(2, 3)})
	return l.Node("Transpose", []string{dw}, onnx.IntsAttr("perm", 1, 0, 2, 3))
}

// weightGradByMatMul multiplies, for each tap of the kernel, the input values
// under that tap with dy, over all images and positions: with the images moved
// behind the channels, every tap is a strided slice of x, and all taps together
// are one matrix [h*w*C, N*H'*W'] times dy's [K, N*H'*W'] transposed. Of the
// forms tried this one is the fastest in ONNX Runtime: its copies move whole rows,
// and the larger factor stands first.
func weightGradByMatMul(l *Lowering, o convWeightGrad, x, dy Shape, xName, dyName string) string {
	c, k, ho, wo := x.Dims[1], dy.Dims[1], dy.Dims[2], dy.Dims[3]
	planes := l.Once(fmt.Sprintf("channels first %s %v", xName, o.Pad), func() []string {
		v := l.Node("Transpose", []string{xName}, onnx.IntsAttr("perm", 1, 0, 2, 3))
		if o.Pad != [4]int{} {
			p := int64s(o.Pad[:])
			v = l.Node("Pad", []string{v, l.Ints(0, 0, p[0], p[1], 0, 0, p[2], p[3])})
		}
		return []string{v}
	})[0]
	grad := l.Once("channels first "+dyName, func() []string {
		v := l.Node("Transpose", []string{dyName}, onnx.IntsAttr("perm", 1, 0, 2, 3))
		return []string{l.Node("Reshape", []string{v, l.Ints(int64(k), -1)})}
	})[0]
	var taps []string
	for u := range o.h {
		for v := range o.w {
			top, left := u*o.Dilation[0], v*o.Dilation[1]
			taps = append(taps, l.Node("Slice", []string{planes,
				l.Ints(int64(top), int64(left)),
				l.Ints(int64(top+o.Stride[0]*(ho-1)+1), int64(left+o.Stride[1]*(wo-1)+1)),
				l.Ints(2, 3), l.Ints(int64(o.Stride[0]), int64(o.Stride[1]))}))
		}
	}
	columns := taps[0]
	if len(taps) > 1 {
		columns = l.Node("Concat", taps, onnx.IntAttr("axis", 0))
	}
	columns = l.Node("Reshape", []string{columns, l.Ints(int64(o.h*o.w*c), -1)})
	dw := l.Node("Gemm", []string{columns, grad}, onnx.IntAttr("transB", 1))
	dw = l.Node("Reshape", []string{dw, l.Ints(int64(o.h), int64(o.w), int64(c), int64(k))})
	return l.Node("Transpose", []string{dw}, onnx.IntsAttr("perm", 3, 2, 0, 1))
}
