package engine_test

import (
	"context"
	"testing"

	"github.com/sslrt/sslrt/finetune/engine"
)

// The executor forgets values, gorgonia's tape machine keeps them: the numbers are
// the same to the last bit, over several runs.
func TestTapeGivesTheSameBits(t *testing.T) {
	f, state, in := mlp(t)
	var runs [2]engine.Tensors
	for i, m := range []engine.Go{{}, {Tape: true}} {
		p, err := m.Compile(f)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := p.Load(state); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			out, err := p.Run(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			runs[i] = out
		}
		for name, v := range p.State() {
			runs[i][name] = v
		}
	}
	for name, v := range runs[0] {
		w := runs[1][name].Float32s()
		for i, x := range v.Float32s() {
			if x != w[i] {
				t.Fatalf("%s differs at %d: %g and %g", name, i, x, w[i])
			}
		}
	}
}

func TestGoMachineStopsBetweenNodes(t *testing.T) {
	f, state, in := mlp(t)
	p, err := engine.Go{}.Compile(f)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Load(state); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.Run(ctx, in); err == nil {
		t.Error("a run under a context that had ended gave no error")
	}
}
