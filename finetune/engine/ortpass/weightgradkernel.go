package ortpass

import (
	"slices"
)

// WeightGradKernel makes the weight gradient of a convolution one node that reads x
// and dy as they lie in the blocked layout. Each plain form copies them first, once or
// more. It needs package ortkernel's library.
func WeightGradKernel(block int) Pass {
	return Pass{Name: "weight-gradient-kernel", Kernels: true, run: func(e *editor) {
		for _, n := range slices.Clone(e.g.Nodes) {
			if w := matchWeightGrad(e, n); w != nil && w.dyDims[1]%int64(block) == 0 {
				w.callKernel(e, int64(block))
			}
		}
	}}
}

// callKernel adds the kernel's node. It reads a few channels, those of a first layer's
// image, in the plain layout.
func (m *weightGrad) callKernel(e *editor, block int64) {
	x := m.x
	if m.xDims[1]%block == 0 {
		x = e.toBlocked(x)
	}
	e.replace(m.result, kernelDomain, "ConvWeightGrad", []string{x, e.toBlocked(m.dy)},
		kernelAttrs([]int64{m.h, m.w}, m.stride[:], m.dilation[:], m.pad[:2])...)
}
