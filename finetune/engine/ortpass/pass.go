package ortpass

import (
	"fmt"

	"github.com/sslrt/sslrt/models/onnx"
)

// Pass is one rewriting of a model.
type Pass struct {
	Name    string // names the pass: "blocked-conv"
	Kernels bool   // it uses operators of package ortkernel's library
	run     func(e *editor)
}

// Default returns the passes that pay on the CPU when ONNX Runtime's blocked layout
// joins block channels: 16 with AVX-512, 8 with AVX2. Without such a layout, which
// is block 0, there are none.
func Default(block int) []Pass {
	if block <= 0 {
		return nil
	}
	return []Pass{WeightGrad(block), BlockedConv(block, minChannels), StridedInputGrad(block)}
}

// Apply runs passes over m, one after the other, in place. Nodes that nothing needs
// any more are dropped; the others keep their order.
func Apply(m *onnx.Model, passes ...Pass) error {
	for _, p := range passes {
		e := newEditor(m)
		p.run(e)
		e.nameBlocked()
		e.finish()
		if err := onnx.Check(m); err != nil {
			return fmt.Errorf("ortpass: %s: %w", p.Name, err)
		}
	}
	return nil
}

// WithKernels returns the passes that pay where package ortkernel's library is there:
// the activations then stay in the blocked layout from layer to layer.
func WithKernels(block int) []Pass {
	return []Pass{NormKernel(block), BiasKernel(block), WeightGradKernel(block), DepthwiseKernel(block),
		BlockedConv(block, block), NarrowConv(block), StridedInputGrad(block), MaxPoolKernel(block), BlockedSum(), Elementwise()}
}
