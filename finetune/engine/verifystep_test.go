package engine_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
	"github.com/sslrt/sslrt/runtime/ort"
)

// A step that differs from its graph in the loss, in an update, or in what it
// returns must not pass.
func TestVerifyStep(t *testing.T) {
	needORT(t)
	for _, c := range []struct {
		name, want string
		change     func(f *engine.Function)
	}{
		{"the same", "", func(*engine.Function) {}},
		{"another loss", `output "loss" of the file and of the graph differ by`, func(f *engine.Function) {
			f.Outputs[0].Node = op.Scale(f.Outputs[0].Node, 1.0001)
		}},
		{"another update", `the changes of parameter "w2"`, func(f *engine.Function) {
			p := f.Carry[2].Param
			f.Carry[2].Next = op.Add(p, op.Scale(op.Sub(f.Carry[2].Next, p), 1.1))
		}},
		{"a parameter left out", `no output "next:w2"`, func(f *engine.Function) { f.Carry = f.Carry[:2] }},
		{"an output left out", "has 1 outputs, want 2", func(f *engine.Function) { f.Outputs = f.Outputs[:1] }},
	} {
		f, state, in := mlp(t)
		changed := engine.Function{Outputs: append([]export.Output(nil), f.Outputs...), Carry: append([]engine.Carry(nil), f.Carry...)}
		c.change(&changed)
		m, err := engine.ORT{}.Lower(changed, export.Options{})
		if err != nil {
			t.Fatal(c.name, err)
		}
		file := filepath.Join(t.TempDir(), "step.onnx")
		if err := onnx.WriteFile(file, m); err != nil {
			t.Fatal(err)
		}
		got, err := engine.VerifyStep(context.Background(), file, f, in, state, ort.Options{})
		if c.want == "" {
			if err != nil || got.Parameter == "" || got.Output == "" || got.ChangeError > 1e-4 {
				t.Errorf("%s: got %+v, %v", c.name, got, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %+v, %v, want %q", c.name, got, err, c.want)
		}
	}
}
