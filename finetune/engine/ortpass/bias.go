package ortpass

import (
	"slices"

	"github.com/sslrt/sslrt/models/onnx"
)

// BiasKernel makes a bias and the ReLU behind it one node each way, in the blocked
// layout, as networks without batch normalisation have them: autoencoders above all. It
// needs package ortkernel's library.
func BiasKernel(block int) Pass {
	return Pass{Name: "bias-kernel", Kernels: true, run: func(e *editor) {
		for _, n := range slices.Clone(e.g.Nodes) {
			if n.OpType == "Relu" && n.Domain == "" {
				blockBias(e, n, int64(block))
			}
		}
	}}
}

// blockBias rewrites a ReLU that follows a bias, and the gradients of both.
func blockBias(e *editor, relu *onnx.Node, block int64) {
	add := e.from(relu.Inputs[0], "Add")
	x, ok := e.dims4(relu.Inputs[0])
	if add == nil || !ok || x[1]%block != 0 || e.onlyUser(add.Outputs[0]) != relu {
		return
	}
	bias := e.from(add.Inputs[1], "Reshape")
	if bias == nil || !slices.Equal(e.shapes[bias.Inputs[0]], x[1:2]) || !slices.Equal(e.shapes[add.Inputs[0]], x[:]) {
		return
	}
	if to := e.ints(bias.Inputs[1]); !slices.Equal(to, []int64{x[1], 1, 1}) && !slices.Equal(to, []int64{1, x[1], 1, 1}) {
		return
	}
	mask := e.maskedBy(relu.Outputs[0])
	e.drop(add)
	y := e.node(kernelDomain, "BiasRelu", []string{e.toBlocked(add.Inputs[0]), bias.Inputs[0]})
	e.leaveBlocked(relu, y, x[1])
	if mask == nil {
		return
	}
	sum := e.userOf(mask.Outputs[0], "ReduceSum")
	if sum == nil || !sumsChannels(e.ints(sum.Inputs[1]), x) || e.user(sum, "Reshape") == nil {
		return
	}
	dx := e.name("dx")
	e.drop(sum)
	e.add(kernelDomain, "BiasReluGrad", []string{e.toBlocked(mask.Inputs[1]), y}, []string{dx, sum.Outputs[0]}, nil)
	e.leaveBlocked(mask, dx, x[1])
}

// maskedBy returns the node Where(y, dy, 0), the gradient of a ReLU with the result y,
// nil if there is none.
func (e *editor) maskedBy(y string) *onnx.Node {
	w := e.user(e.userOf(y, "Cast"), "Where")
	if w == nil || !slices.Equal(e.shapes[w.Inputs[1]], e.shapes[y]) {
		return nil
	}
	zero := e.consts[w.Inputs[2]]
	if zero == nil || zero.Type != onnx.Float {
		return nil
	}
	if v, err := zero.Floats(); err != nil || len(v) != 1 || v[0] != 0 {
		return nil
	}
	return w
}

// sumsChannels reports whether these axes leave the channels alone of a tensor of these
// sizes; axes of size 1 need not be named.
func sumsChannels(axes []int64, dims [4]int64) bool {
	for i, d := range dims {
		if named := slices.Contains(axes, int64(i)); named == (i == 1) && (named || d > 1) {
			return false
		}
	}
	return len(axes) > 0
}
