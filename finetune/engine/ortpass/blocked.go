package ortpass

import (
	"slices"

	"github.com/sslrt/sslrt/models/onnx"
)

// minChannels is the number of channels from which on the passes pay where every layer
// goes to the blocked layout and back.
const minChannels = 64

// BlockedConv makes convolutions with weights computed at run time, the forward
// ones of training and those of input gradients, run in the blocked layout. ONNX
// Runtime itself does so only for constant weights. Its plain kernel builds the
// matrix of columns on one thread when the maps are small, which costs more than
// the product.
//
// Layers of fewer channels than least are left alone. Weights [K, C, h, w] in this
// layout are [K/b, C/b, h, w, b of C, b of K].
func BlockedConv(block, least int) Pass {
	return Pass{Name: "blocked-conv", run: func(e *editor) {
		for _, n := range slices.Clone(e.g.Nodes) {
			if n.OpType == "Conv" && n.Domain == "" {
				blockConv(e, n, int64(block), int64(least))
			}
		}
	}}
}

func blockConv(e *editor, n *onnx.Node, block, least int64) {
	if len(n.Inputs) != 2 || e.consts[n.Inputs[1]] != nil {
		return
	}
	if g := n.Attr("group"); g != nil && g.I != 1 || n.Attr("auto_pad") != nil {
		return
	}
	x, okX := e.dims4(n.Inputs[0])
	y, okY := e.dims4(n.Outputs[0])
	kernel := n.Attr("kernel_shape")
	if !okX || !okY || kernel == nil || len(kernel.Ints) != 2 {
		return
	}
	c, k := x[1], y[1]
	image := c < block // the first layer's, which stays in the plain layout
	if !image && (c%block != 0 || c < least) || k%block != 0 || k < least {
		return
	}
	in := n.Inputs[0]
	var w string
	if image {
		w = e.reshape(e.toBlocked(e.reshape(n.Inputs[1], k/block, block, c, kernel.Ints[0]*kernel.Ints[1])), k, c, kernel.Ints[0], kernel.Ints[1])
	} else {
		in, w = e.toBlocked(in), blockedWeight(e, n.Inputs[1], k, c, kernel.Ints, block)
	}
	attrs := slices.Clone(n.Attrs)
	if n.Attr("group") == nil {
		attrs = append(attrs, onnx.IntAttr("group", 1))
	}
	out := e.node(blockedDomain, "Conv", []string{in, w}, attrs...)
	e.leaveBlocked(n, out, k)
}

// blockedWeight returns the weight w: [K, C, h, w] in blocks. Moving single numbers
// is slow in a Transpose, so ReorderInput brings the innermost block there, and the
// rest moves whole runs.
func blockedWeight(e *editor, w string, k, c int64, kernel []int64, b int64) string {
	taps := kernel[0] * kernel[1]
	if from := turnedFrom(e, w); from != "" { // [C, K, h, w]
		v := e.toBlocked(e.reshape(from, c, k, taps, 1)) // [C, K/b, taps, b of K]
		v = e.transpose(e.reshape(v, c/b, b, k/b, taps, b), 2, 0, 3, 1, 4)
		v = e.reshape(v, k/b*c/b, taps, b*b)
		back := make([]int64, taps)
		for i := range back {
			back[i] = taps - 1 - int64(i)
		}
		v = e.node("", "Gather", []string{v, e.constInts(back...)}, onnx.IntAttr("axis", 1))
		return e.reshape(v, k, c, kernel[0], kernel[1])
	}
	v := e.toBlocked(e.reshape(w, k/b, b, c, taps)) // [K/b, C, taps, b of K]
	v = e.transpose(e.reshape(v, k/b, c/b, b, taps, b), 0, 1, 3, 2, 4)
	return e.reshape(v, k, c, kernel[0], kernel[1])
}

// turnedFrom returns the v of which w: [K, C, h, w] is the turned kernel: its first
// two axes swapped, its last two reversed. For any other w it returns "".
func turnedFrom(e *editor, w string) string {
	swap := e.from(w, "Transpose")
	if swap == nil || !slices.Equal(swap.Attr("perm").Ints, []int64{1, 0, 2, 3}) {
		return ""
	}
	flip := e.from(swap.Inputs[0], "Slice")
	if flip == nil || len(flip.Inputs) != 5 {
		return ""
	}
	axes, steps := e.ints(flip.Inputs[3]), e.ints(flip.Inputs[4])
	starts, ends := e.ints(flip.Inputs[1]), e.ints(flip.Inputs[2])
	const below = -1 << 30 // an end before every index
	if !slices.Equal(axes, []int64{2, 3}) || !slices.Equal(steps, []int64{-1, -1}) ||
		!slices.Equal(starts, []int64{-1, -1}) || len(ends) != 2 || ends[0] > below || ends[1] > below {
		return ""
	}
	return flip.Inputs[0]
}
