package op_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/runtime/ort"
)

// TestOpsets: ONNX Runtime takes every operation in every opset that is offered,
// or the error names the one that is needed.
func TestOpsets(t *testing.T) {
	ortMachine(t)
	for _, opset := range []int{13, 16, 18, 22} {
		for _, c := range table {
			t.Run(fmt.Sprintf("%d/%s", opset, c.name), func(t *testing.T) {
				b := c.make(t, batchSize)
				b.differentiate(t)
				m, err := engine.ORT{}.Lower(b.function(), export.Options{Opset: opset})
				if err != nil && opset == 13 && strings.Contains(err.Error(), "needs opset 1") {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				data, err := m.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				s, err := ort.Open(data, ort.Options{})
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
			})
		}
	}
}
