package ortpass

import (
	"fmt"

	"github.com/sslrt/sslrt/models/onnx"
)

// Pass is one rewriting of a model.
type Pass struct {
	Name string // names the pass and what it depends on: "blocked-conv-16"
	run  func(e *editor)
}

// Default returns the passes that pay on the CPU when ONNX Runtime's blocked layout
// joins block channels: 16 with AVX-512, 8 with AVX2. Without such a layout, which
// is block 0, there are none.
func Default(block int) []Pass {
	if block <= 0 {
		return nil
	}
	return []Pass{WeightGrad(block), BlockedConv(block)}
}

// Apply runs passes over m, one after the other, in place. Nodes that nothing needs
// any more are dropped; the others keep their order.
func Apply(m *onnx.Model, passes ...Pass) error {
	for _, p := range passes {
		e := newEditor(m)
		p.run(e)
		e.finish()
		if err := onnx.Check(m); err != nil {
			return fmt.Errorf("ortpass: %s: %w", p.Name, err)
		}
	}
	return nil
}
