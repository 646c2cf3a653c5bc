package ortpass

import (
	"slices"

	"github.com/sslrt/sslrt/models/onnx"
)

// StridedInputGrad makes the input gradient of a convolution with stride 2 four
// convolutions in the blocked layout, one for the even and odd rows and columns of the
// result each, which then interleave. ONNX Runtime's ConvTranspose builds a matrix of
// columns and adds it up.
//
// Of the kernel's rows u those with u = a+pad (mod 2) reach the rows 2i+a of the
// result: dx[2i+a] = sum over t of dy[i+q-t] * w[u0+2t], with u0 = (a+pad) mod 2 and
// q = (a+pad-u0)/2.
func StridedInputGrad(block int) Pass {
	return Pass{Name: "blocked-strided-input-gradient", run: func(e *editor) {
		for _, n := range slices.Clone(e.g.Nodes) {
			if n.OpType == "ConvTranspose" && n.Domain == "" {
				splitStrided(e, n, int64(block))
			}
		}
	}}
}

// phase is one of the two halves of an axis of the result.
type phase struct {
	taps        []int64 // of the kernel, in the order of a convolution
	before, end int64   // padding
}

func splitStrided(e *editor, n *onnx.Node, b int64) {
	dy, okY := e.dims4(n.Inputs[0])
	dx, okX := e.dims4(n.Outputs[0])
	w, okW := e.dims4(n.Inputs[1])
	strides, pads, kernel := n.Attr("strides"), n.Attr("pads"), n.Attr("kernel_shape")
	if !okX || !okY || !okW || len(n.Inputs) != 2 || strides == nil || pads == nil || kernel == nil ||
		!slices.Equal(strides.Ints, []int64{2, 2}) {
		return
	}
	if d := n.Attr("dilations"); d != nil && !slices.Equal(d.Ints, []int64{1, 1}) {
		return
	}
	if g := n.Attr("group"); g != nil && g.I != 1 {
		return
	}
	k, c := w[0], w[1]
	if c%b != 0 || k%b != 0 || dx[2]%2 != 0 || dx[3]%2 != 0 {
		return
	}
	var rows, columns [2]phase
	for a := range int64(2) {
		var okRow, okColumn bool
		rows[a], okRow = phaseOf(a, kernel.Ints[0], pads.Ints[0], dy[2], dx[2]/2)
		columns[a], okColumn = phaseOf(a, kernel.Ints[1], pads.Ints[1], dy[3], dx[3]/2)
		if !okRow || !okColumn {
			return
		}
	}

	// All taps in the blocked layout: [C/b * K/b, h*w, b of K, b of C].
	all := e.toBlocked(e.reshape(n.Inputs[1], k, c, kernel.Ints[0]*kernel.Ints[1], 1)) // [K, C/b, taps, b of C]
	all = e.transpose(e.reshape(all, k/b, b, c/b, kernel.Ints[0]*kernel.Ints[1], b), 2, 0, 3, 1, 4)
	all = e.reshape(all, k/b*c/b, kernel.Ints[0]*kernel.Ints[1], b*b)

	h, wide := dx[2]/2, dx[3]/2
	planes := dx[0] * c / b
	var lines []string
	for _, r := range rows {
		var parts []string
		for _, s := range columns {
			part := e.phaseOf(all, r, s, n.Inputs[0], kernel.Ints[1], c, k)
			if part == "" {
				part = e.zeros(dx[0], c, h, wide)
			}
			parts = append(parts, e.reshape(part, planes*h, wide, 1, b))
		}
		line := e.node("", "Concat", parts, onnx.IntAttr("axis", 2)) // [planes*h, wide, 2, b]
		lines = append(lines, e.reshape(line, planes*h, 1, 2*wide*b))
	}
	out := e.node("", "Concat", lines, onnx.IntAttr("axis", 1)) // [planes*h, 2, 2*wide*b]
	e.leaveBlocked(n, e.reshape(out, dx[0], c, dx[2], dx[3]), c)
}

// phaseOf returns the taps and the padding of the positions a, a+2, ... of a result
// with twice out positions.
func phaseOf(a, kernel, pad, in, out int64) (phase, bool) {
	first := (a + pad) % 2
	var taps []int64
	for u := first; u < kernel; u += 2 {
		taps = append(taps, u)
	}
	slices.Reverse(taps)
	t := int64(len(taps))
	p := phase{taps: taps, before: t - 1 - (a+pad-first)/2}
	p.end = out - in - p.before + t - 1
	return p, t == 0 || p.before >= 0 && p.end >= 0
}

// phaseOf convolves dy with the taps of one phase, "" if there are none.
func (e *editor) phaseOf(all string, r, s phase, dy string, width, c, k int64) string {
	if len(r.taps) == 0 || len(s.taps) == 0 {
		return ""
	}
	var taps []int64
	for _, u := range r.taps {
		for _, v := range s.taps {
			taps = append(taps, u*width+v)
		}
	}
	h, w := int64(len(r.taps)), int64(len(s.taps))
	weight := e.node("", "Gather", []string{all, e.constInts(taps...)}, onnx.IntAttr("axis", 1))
	return e.node(blockedDomain, "Conv", []string{e.toBlocked(dy), e.reshape(weight, c, k, h, w)},
		onnx.IntsAttr("kernel_shape", h, w), onnx.IntsAttr("pads", r.before, s.before, r.end, s.end),
		onnx.IntsAttr("strides", 1, 1), onnx.IntsAttr("dilations", 1, 1), onnx.IntAttr("group", 1))
}
