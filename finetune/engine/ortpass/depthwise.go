package ortpass

import (
	"slices"

	"github.com/sslrt/sslrt/models/onnx"
)

// DepthwiseKernel makes depthwise convolutions and their gradients run in the blocked
// layout. ONNX Runtime's operators that compute the gradients take the channels one by
// one. It needs package ortkernel's library.
func DepthwiseKernel(block int) Pass {
	return Pass{Name: "depthwise-kernel", Kernels: true, run: func(e *editor) {
		for _, n := range slices.Clone(e.g.Nodes) {
			switch b := int64(block); {
			case n.Domain != "":
			case n.OpType == "Transpose":
				depthwiseWeightGrad(e, n, b)
			case n.OpType == "ConvTranspose":
				depthwiseInputGrad(e, n, b)
			case n.OpType == "Conv":
				depthwiseConv(e, n, b)
			}
		}
	}}
}

// depthwise returns the channels of a convolution if its weight w gives each a kernel of
// its own, and whole blocks of them; else 0.
func (e *editor) depthwise(n *onnx.Node, w string, block int64) int64 {
	d, ok := e.dims4(w)
	g, pad := n.Attr("group"), n.Attr("auto_pad")
	if !ok || g == nil || pad != nil || d[1] != 1 || d[0] != g.I || d[0]%block != 0 || len(n.Inputs) != 2 {
		return 0
	}
	return d[0]
}

func depthwiseConv(e *editor, n *onnx.Node, b int64) {
	c := e.depthwise(n, n.Inputs[1], b)
	y, ok := e.dims4(n.Outputs[0])
	if c == 0 || !ok || y[1] != c || e.consts[n.Inputs[1]] != nil {
		return
	}
	k := n.Attr("kernel_shape").Ints
	w := e.reshape(e.toBlocked(e.reshape(n.Inputs[1], c/b, b, k[0]*k[1], 1)), c, 1, k[0], k[1]) // [C/b, h, w, b]
	e.leaveBlocked(n, e.node(blockedDomain, "Conv", []string{e.toBlocked(n.Inputs[0]), w}, slices.Clone(n.Attrs)...), c)
}

func depthwiseInputGrad(e *editor, n *onnx.Node, b int64) {
	c := e.depthwise(n, n.Inputs[1], b)
	dx, ok := e.dims4(n.Outputs[0])
	if c == 0 || !ok || dx[1] != c {
		return
	}
	out := e.node(kernelDomain, "DepthwiseInputGrad", []string{e.toBlocked(n.Inputs[0]), n.Inputs[1]},
		append(kernelAttrs(n.Attr("kernel_shape").Ints, n.Attr("strides").Ints, n.Attr("dilations").Ints, n.Attr("pads").Ints[:2]),
			onnx.IntsAttr("size", dx[2], dx[3]))...)
	e.leaveBlocked(n, out, c)
}

// depthwiseWeightGrad matches the form that package op writes, a convolution in which the
// images take the place of the channels, and stride and dilation that of each other:
//
//	dw = Transpose(Slice(Conv(Reshape(Transpose(Reshape(x))), Transpose(dy))))
func depthwiseWeightGrad(e *editor, n *onnx.Node, b int64) {
	dw, ok := e.dims4(n.Outputs[0])
	cut := e.from(n.Inputs[0], "Slice")
	if !ok || cut == nil || dw[1] != 1 || dw[0]%b != 0 {
		return
	}
	conv := e.from(cut.Inputs[0], "Conv")
	if conv == nil || conv.Attr("group") == nil || conv.Attr("group").I != dw[0] {
		return
	}
	joined, dy := e.from(conv.Inputs[0], "Reshape"), channelsFirst(e, conv.Inputs[1])
	if joined == nil || dy == nil {
		return
	}
	moved := e.from(joined.Inputs[0], "Transpose")
	if moved == nil || !slices.Equal(moved.Attr("perm").Ints, []int64{2, 1, 0, 3, 4}) {
		return
	}
	split := e.from(moved.Inputs[0], "Reshape")
	if split == nil {
		return
	}
	if x, ok := e.dims4(split.Inputs[0]); !ok || x[1] != dw[0] {
		return
	}
	e.replace(n, kernelDomain, "DepthwiseWeightGrad", []string{e.toBlocked(split.Inputs[0]), e.toBlocked(dy.Inputs[0])},
		kernelAttrs(dw[2:], conv.Attr("dilations").Ints, conv.Attr("strides").Ints, conv.Attr("pads").Ints[:2])...)
}

// kernelAttrs are the attributes by which kernels walk over an image.
func kernelAttrs(kernel, strides, dilations, pads []int64) []*onnx.Attr {
	return []*onnx.Attr{onnx.IntsAttr("kernel_shape", kernel...), onnx.IntsAttr("strides", strides...),
		onnx.IntsAttr("dilations", dilations...), onnx.IntsAttr("pads_begin", pads...)}
}
