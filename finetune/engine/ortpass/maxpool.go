package ortpass

import (
	"slices"

	"github.com/sslrt/sslrt/models/onnx"
)

// MaxPoolKernel pools in the blocked layout and finds again in the gradient where the
// largest values were. The plain form writes their positions, for which ONNX Runtime has
// no fast kernel. It needs package ortkernel's library.
func MaxPoolKernel(block int) Pass {
	return Pass{Name: "max-pool-kernel", Kernels: true, run: func(e *editor) {
		for _, n := range slices.Clone(e.g.Nodes) {
			if n.OpType == "ScatterElements" {
				poolBlocked(e, n, int64(block))
			}
		}
	}}
}

// poolBlocked rewrites the max-pooling whose gradient a ScatterElements is part of. It
// mirrors the form that package op writes.
func poolBlocked(e *editor, scatter *onnx.Node, block int64) {
	dx := e.user(scatter, "Reshape")
	positions, values := e.from(scatter.Inputs[1], "Reshape"), e.from(scatter.Inputs[2], "Reshape")
	if dx == nil || positions == nil || values == nil {
		return
	}
	mod := e.from(positions.Inputs[0], "Mod")
	if mod == nil || e.onlyUser(mod.Outputs[0]) != positions {
		return
	}
	pool := e.from(mod.Inputs[0], "MaxPool")
	if pool == nil || len(pool.Outputs) != 2 || e.onlyUser(pool.Outputs[1]) != mod || pool.Attr("dilations") != nil || pool.Attr("ceil_mode").I != 0 {
		return
	}
	x, ok := e.dims4(pool.Inputs[0])
	if !ok || x[1]%block != 0 {
		return
	}
	kernel, strides, pads := pool.Attr("kernel_shape").Ints, pool.Attr("strides").Ints, pool.Attr("pads").Ints
	in := e.toBlocked(pool.Inputs[0])
	y := e.node(blockedDomain, "MaxPool", []string{in}, slices.Clone(pool.Attrs)...)
	e.leaveBlocked(pool, y, x[1])
	out := e.node(kernelDomain, "MaxPoolGrad", []string{in, y, e.toBlocked(values.Inputs[0])},
		onnx.IntsAttr("kernel_shape", kernel...), onnx.IntsAttr("strides", strides...), onnx.IntsAttr("pads_begin", pads[:2]...))
	e.leaveBlocked(dx, out, x[1])
}
