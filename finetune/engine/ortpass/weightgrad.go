package ortpass

import (
	"slices"

	"github.com/sslrt/sslrt/models/onnx"
)

// WeightGrad makes weight gradients of convolutions convolutions in the blocked
// layout. The plain form, a matrix product over all images and positions, copies
// the input once for each tap of the kernel, twice; this one copies it once for
// each row of the kernel.
//
//	dw[k, c, u, v] = sum over n, i, j of x[n, c, i*stride+u*dilation-pad, j*stride+v*dilation-pad] * dy[n, k, i, j]
//
// With u fixed, let the pairs (i, n) be the channels of a convolution, x's columns
// the rows and its channels the columns of an image; then dy's columns are the
// kernel, W' x 1, the result has one row for each v, and stride and dilation change
// places. All u together are a batch. Its long rows, the C channels, are what the
// blocked kernel is fast at.
func WeightGrad(block int) Pass {
	return Pass{Name: "blocked-weight-gradient", run: func(e *editor) {
		for _, n := range slices.Clone(e.g.Nodes) {
			if w := matchWeightGrad(e, n); w != nil && w.pays(int64(block)) {
				w.rewrite(e, int64(block))
			}
		}
	}}
}

// weightGrad is a weight gradient found in the graph.
type weightGrad struct {
	result           *onnx.Node // computes dw: [K, C, h, w]
	x, dy            string
	xDims, dyDims    [4]int64
	h, w             int64 // of the kernel
	stride, dilation [2]int64
	pad              [4]int64
}

// matchWeightGrad returns the weight gradient that n is the last node of, nil if it
// is none. It mirrors the form that package op writes:
//
//	columns = Concat(a Slice of Pad(Transpose(x)) for each tap)
//	dw = Transpose(Reshape(Gemm(Reshape(columns), Reshape(Transpose(dy)))))
func matchWeightGrad(e *editor, n *onnx.Node) *weightGrad {
	if n.OpType != "Transpose" || !slices.Equal(n.Attr("perm").Ints, []int64{3, 2, 0, 1}) {
		return nil
	}
	split := e.from(n.Inputs[0], "Reshape")
	if split == nil {
		return nil
	}
	sizes := e.ints(split.Inputs[1]) // h, w, C, K
	gemm := e.from(split.Inputs[0], "Gemm")
	if len(sizes) != 4 || gemm == nil || len(gemm.Inputs) != 2 {
		return nil
	}
	if t := gemm.Attr("transB"); t == nil || t.I != 1 || len(gemm.Attrs) != 1 {
		return nil
	}
	m := &weightGrad{result: n, h: sizes[0], w: sizes[1]}
	columns, rows := e.from(gemm.Inputs[0], "Reshape"), e.from(gemm.Inputs[1], "Reshape")
	if columns == nil || rows == nil || !m.findInput(e, columns.Inputs[0]) {
		return nil
	}
	dy := channelsFirst(e, rows.Inputs[0])
	if dy == nil {
		return nil
	}
	m.dy = dy.Inputs[0]
	var okX, okDY bool
	m.xDims, okX = e.dims4(m.x)
	m.dyDims, okDY = e.dims4(m.dy)
	if !okX || !okDY || m.xDims[1] != sizes[2] || m.dyDims[1] != sizes[3] {
		return nil
	}
	return m
}

// findInput goes from the columns back to x.
func (m *weightGrad) findInput(e *editor, columns string) bool {
	taps := []string{columns}
	if join := e.from(columns, "Concat"); join != nil {
		taps = join.Inputs
	}
	if int64(len(taps)) != m.h*m.w {
		return false
	}
	first, last := e.from(taps[0], "Slice"), e.from(taps[len(taps)-1], "Slice")
	if first == nil || last == nil || len(first.Inputs) != 5 || first.Inputs[0] != last.Inputs[0] {
		return false
	}
	axes, start, end, step := e.ints(first.Inputs[3]), e.ints(first.Inputs[1]), e.ints(last.Inputs[1]), e.ints(first.Inputs[4])
	if !slices.Equal(axes, []int64{2, 3}) || !slices.Equal(start, []int64{0, 0}) || len(end) != 2 || len(step) != 2 {
		return false
	}
	m.stride = [2]int64(step)
	for i, k := range []int64{m.h, m.w} {
		m.dilation[i] = 1
		if k > 1 {
			m.dilation[i] = end[i] / (k - 1)
		}
	}
	planes := first.Inputs[0]
	if pad := e.from(planes, "Pad"); pad != nil {
		p := e.ints(pad.Inputs[1])
		if len(pad.Inputs) != 2 || len(p) != 8 {
			return false
		}
		m.pad = [4]int64{p[2], p[3], p[6], p[7]}
		planes = pad.Inputs[0]
	}
	t := channelsFirst(e, planes)
	if t == nil {
		return false
	}
	m.x = t.Inputs[0]
	return true
}

// channelsFirst returns the Transpose that makes a value [C, N, ...] of [N, C, ...].
func channelsFirst(e *editor, value string) *onnx.Node {
	t := e.from(value, "Transpose")
	if t == nil || !slices.Equal(t.Attr("perm").Ints, []int64{1, 0, 2, 3}) {
		return nil
	}
	return t
}

// extent returns how far the steps of dy reach along axis i of the padded input.
func (m *weightGrad) extent(i int) int64 {
	k := [2]int64{m.h, m.w}[i]
	return (k-1)*m.dilation[i] + (m.dyDims[2+i]-1)*m.stride[i] + 1
}

// behind returns the padding behind axis i that the steps reach, negative if they
// end before the input does.
func (m *weightGrad) behind(i int) int64 { return m.extent(i) - m.xDims[2+i] - m.pad[i] }

// pays reports whether the blocked form exists for these sizes and is faster.
func (m *weightGrad) pays(block int64) bool {
	n, c, k := m.xDims[0], m.xDims[1], m.dyDims[1]
	return n%block == 0 && k%block == 0 && c >= minChannels && k >= minChannels && m.h*m.w > 1 && m.behind(1) >= 0
}

// rewrite adds the blocked form. Comments give the layout of memory.
func (m *weightGrad) rewrite(e *editor, b int64) {
	n, c, h, w := m.xDims[0], m.xDims[1], m.xDims[2], m.xDims[3]
	k, ho, wo := m.dyDims[1], m.dyDims[2], m.dyDims[3]
	parts := int64(1)
	if k <= 4*b && c%2 == 0 { // the kernel gives a thread four blocks of K at a time
		parts = 2
	}

	x := e.toBlocked(e.reshape(m.x, n/b, b, c, h*w))                              // [N/b, C, H, W, b of N]
	x = e.transpose(e.reshape(x, n/b, parts, c/parts, h, w, b), 1, 3, 0, 4, 2, 5) // [parts, H, N/b, W, C/parts, b of N]
	bottom := max(0, m.behind(0))
	if top := m.pad[0]; top > 0 || bottom > 0 {
		x = e.node("", "Pad", []string{x, e.constInts(0, top, 0, 0, 0, 0, 0, bottom, 0, 0, 0, 0)})
	}
	var rows []int64
	for u := range m.h {
		for i := range ho {
			rows = append(rows, u*m.dilation[0]+i*m.stride[0])
		}
	}
	x = e.node("", "Gather", []string{x, e.constInts(rows...)}, onnx.IntAttr("axis", 1)) // [parts, h*H', N/b, W, C/parts, b of N]
	x = e.reshape(x, parts*m.h, ho*n, w, c/parts)

	dy := e.reshape(e.toBlocked(m.dy), n/b, b, k/b, ho, wo, b)
	dy = e.reshape(e.transpose(dy, 2, 3, 0, 4, 1, 5), k, ho*n, wo, 1) // [K/b, H', N/b, W', b of N, b of K]

	dw := e.node(blockedDomain, "Conv", []string{x, dy},
		onnx.IntsAttr("kernel_shape", wo, 1), onnx.IntsAttr("pads", m.pad[1], 0, m.behind(1), 0),
		onnx.IntsAttr("strides", m.dilation[1], 1), onnx.IntsAttr("dilations", m.stride[1], 1), onnx.IntAttr("group", 1))
	dw = e.node(blockedDomain, "ReorderOutput", []string{dw}, onnx.IntAttr("channels", k)) // [parts*h, K, w, C/parts]
	dw = e.transpose(e.reshape(dw, parts, m.h, k, m.w, c/parts), 2, 0, 1, 3, 4)
	dw = e.transpose(e.reshape(dw, k*parts, m.h*m.w, c/parts), 0, 2, 1)
	e.replace(m.result, "", "Reshape", []string{dw, e.constInts(k, c, m.h, m.w)})
}
