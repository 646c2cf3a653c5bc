package ortpass

import (
	"slices"

	"github.com/sslrt/sslrt/models/onnx"
)

// NarrowConv has convolutions of 3x3 taps that give a single block of channels run in a
// kernel of ours: ONNX Runtime's needs more of them to reach the processor's speed. It
// comes after BlockedConv, and needs package ortkernel's library.
func NarrowConv(block int) Pass {
	return Pass{Name: "narrow-conv-kernel", Kernels: true, run: func(e *editor) {
		for _, n := range slices.Clone(e.g.Nodes) {
			if n.Domain == blockedDomain && n.OpType == "Conv" && narrow(e, n, int64(block)) {
				e.replace(n, kernelDomain, "Conv3x3", n.Inputs)
			}
		}
	}}
}

// narrow reports whether the kernel can run a convolution in the blocked layout.
func narrow(e *editor, n *onnx.Node, block int64) bool {
	w := e.from(n.Inputs[1], "Reshape")
	if len(n.Inputs) != 2 || w == nil {
		return false
	}
	dims := e.ints(w.Inputs[1]) // [K, C, h, w]
	return len(dims) == 4 && dims[0] == block && dims[1]%block == 0 && slices.Equal(dims[2:], []int64{3, 3}) &&
		n.Attr("group").I == 1 && slices.Equal(n.Attr("pads").Ints, []int64{1, 1, 1, 1}) &&
		slices.Equal(n.Attr("strides").Ints, []int64{1, 1}) && slices.Equal(n.Attr("dilations").Ints, []int64{1, 1})
}
