package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// counter is a function that adds its input to the parameter "sum" and returns
// the sum so far, and that also moves a history along.
func counter() engine.Function {
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Dims(2))
	sum := g.Param("sum", op.Float32, op.Dims(2))
	scale := g.Param("scale", op.Float32, op.Dims())
	last := g.Param("last", op.Float32, op.Dims(2))
	before := g.Param("before", op.Float32, op.Dims(2))
	next := op.Add(sum, op.Mul(x, scale))
	return engine.Function{
		Outputs: []export.Output{{Name: "so far", Node: next}, {Name: "the same", Node: next}, {Name: "input", Node: x}, {Name: "previous", Node: last}},
		Carry:   []engine.Carry{{Param: sum, Next: next}, {Param: last, Next: x}, {Param: before, Next: last}},
	}
}

func counterState() engine.Tensors {
	return engine.Tensors{"sum": vector(10, 20), "last": vector(0, 0), "before": vector(-1, -1),
		"scale": engine.NewTensor([]float32{2}), "unknown": vector(1)}
}

func vector(v ...float32) *tensor.Dense { return engine.NewTensor(v, len(v)) }

func eachMachine(t *testing.T, test func(t *testing.T, m engine.Machine)) {
	for _, m := range machines(t) {
		t.Run(m.Name(), func(t *testing.T) { test(t, m) })
	}
}

func compile(t *testing.T, m engine.Machine, f engine.Function) engine.Program {
	t.Helper()
	p, err := m.Compile(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func wantValues(t *testing.T, what string, got *tensor.Dense, want ...float32) {
	t.Helper()
	if got == nil || !slices.Equal(got.Float32s(), want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestCarry(t *testing.T) {
	eachMachine(t, func(t *testing.T, m engine.Machine) {
		p := compile(t, m, counter())
		state := counterState()
		if err := p.Load(state); err != nil {
			t.Fatal(err)
		}
		state["sum"].Float32s()[0] = 99 // the values are copied
		in := vector(1, 2)
		for i := range 3 {
			out, err := p.Run(t.Context(), engine.Tensors{"x": in})
			if err != nil {
				t.Fatal(err)
			}
			n := float32(i + 1)
			wantValues(t, "so far", out["so far"], 10+2*n, 20+4*n)
			wantValues(t, "the same", out["the same"], 10+2*n, 20+4*n)
			wantValues(t, "input", out["input"], 1, 2)
		}
		after := p.State()
		wantValues(t, "sum", after["sum"], 16, 32)
		wantValues(t, "last", after["last"], 1, 2)
		wantValues(t, "before", after["before"], 1, 2)
		wantValues(t, "scale", after["scale"], 2)
		after["sum"].Float32s()[0] = 0 // a copy
		wantValues(t, "sum", p.State()["sum"], 16, 32)
		if len(after) != 4 {
			t.Errorf("the state has %d parameters, want 4", len(after))
		}
	})
}

// TestCarriedInputIsCopied: a caller may fill the same tensor anew for each run.
func TestCarriedInputIsCopied(t *testing.T) {
	eachMachine(t, func(t *testing.T, m engine.Machine) {
		p := compile(t, m, counter())
		if err := p.Load(counterState()); err != nil {
			t.Fatal(err)
		}
		in := vector(1, 2)
		run := func() engine.Tensors {
			out, err := p.Run(t.Context(), engine.Tensors{"x": in})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		run()
		copy(in.Float32s(), []float32{5, 6})
		wantValues(t, "last", p.State()["last"], 1, 2)
		wantValues(t, "previous", run()["previous"], 1, 2)
	})
}

// TestSavedStateGoesOn: load(state) and run is the run that would have followed.
func TestSavedStateGoesOn(t *testing.T) {
	eachMachine(t, func(t *testing.T, m engine.Machine) {
		f, state, in := mlp(t)
		p := compile(t, m, f)
		if err := p.Load(state); err != nil {
			t.Fatal(err)
		}
		var saved engine.Tensors
		var losses []float32
		for i := range 6 {
			if i == 3 {
				saved = p.State()
			}
			out, err := p.Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			losses = append(losses, out["loss"].Float32s()[0])
		}
		f, _, _ = mlp(t)
		q := compile(t, m, f)
		if err := q.Load(saved); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			out, err := q.Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if got := out["loss"].Float32s()[0]; got != losses[3+i] {
				t.Errorf("step %d: loss %g after a restart, %g without", 3+i, got, losses[3+i])
			}
		}
	})
}

func TestRunErrors(t *testing.T) {
	eachMachine(t, func(t *testing.T, m engine.Machine) {
		p := compile(t, m, counter())
		fails := func(err error, want string) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got the error %v, want one with %q", err, want)
			}
		}
		run := func(in engine.Tensors) error { _, err := p.Run(t.Context(), in); return err }
		fails(run(engine.Tensors{"x": vector(1, 2)}), "not loaded")
		state := counterState()
		delete(state, "sum")
		fails(p.Load(state), `parameter "sum": no value given, want float32[2]`)
		state["sum"] = vector(1, 2, 3)
		fails(p.Load(state), `parameter "sum": got float32(3), want float32[2]`)
		if err := p.Load(counterState()); err != nil {
			t.Fatal(err)
		}
		fails(run(nil), `input "x": no value given`)
		fails(run(engine.Tensors{"x": vector(1)}), `input "x": got float32(1), want float32[2]`)
		fails(run(engine.Tensors{"x": engine.NewTensor([]int64{1, 2}, 2)}), `input "x": got int64(2), want float32[2]`)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.Run(ctx, engine.Tensors{"x": vector(1, 2)}); !errors.Is(err, context.Canceled) {
			t.Errorf("with a cancelled context: got %v", err)
		}
		wantValues(t, "sum after failed runs", p.State()["sum"], 10, 20)
	})
}

func TestCompileErrors(t *testing.T) {
	eachMachine(t, func(t *testing.T, m engine.Machine) {
		g := op.NewGraph()
		x, w := g.Input("x", op.Float32, op.Dims(2)), g.Param("w", op.Float32, op.Dims(3))
		for _, c := range []struct {
			name string
			f    engine.Function
			want string
		}{
			{"nothing", engine.Function{}, "without outputs"},
			{"no node", engine.Function{Outputs: []export.Output{{Name: "y"}}}, `output "y" has no node`},
			{"carry to an input", engine.Function{Carry: []engine.Carry{{Param: x, Next: w}}}, "cannot carry"},
			{"carry another shape", engine.Function{Carry: []engine.Carry{{Param: w, Next: x}}}, `"w" is float32[3], its next value float32[2]`},
		} {
			if _, err := m.Compile(c.f); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got the error %v, want one with %q", c.name, err, c.want)
			}
		}
	})
}

// TestLeavesOnly: a function that computes nothing still returns and carries.
func TestLeavesOnly(t *testing.T) {
	eachMachine(t, func(t *testing.T, m engine.Machine) {
		g := op.NewGraph()
		x, w := g.Input("x", op.Float32, op.Dims(2)), g.Param("w", op.Float32, op.Dims(2))
		p := compile(t, m, engine.Function{
			Outputs: []export.Output{{Name: "was", Node: w}, {Name: "c", Node: g.Const([]float32{3, 4}, 2)}},
			Carry:   []engine.Carry{{Param: w, Next: x}},
		})
		if err := p.Load(engine.Tensors{"w": vector(7, 8)}); err != nil {
			t.Fatal(err)
		}
		out, err := p.Run(t.Context(), engine.Tensors{"x": vector(1, 2)})
		if err != nil {
			t.Fatal(err)
		}
		wantValues(t, "was", out["was"], 7, 8)
		wantValues(t, "c", out["c"], 3, 4)
		wantValues(t, "w after", p.State()["w"], 1, 2)
	})
}

// TestManyRuns: results do not depend on the runs before.
func TestManyRuns(t *testing.T) {
	eachMachine(t, func(t *testing.T, m engine.Machine) {
		g := op.NewGraph()
		x := g.Input("x", op.Float32, op.Batched(2, 1, 4, 4))
		p := compile(t, m, engine.Function{Outputs: []export.Output{
			{Name: "y", Node: op.MaxPool2D(op.ReLU(x), op.Pool{Kernel: [2]int{2, 2}})}}})
		v := make([]float32, 32)
		for i := range 5 {
			for j := range v {
				v[j] = float32((j*7+i*5)%11) - 5
			}
			out, err := p.Run(t.Context(), engine.Tensors{"x": engine.NewTensor(v, 2, 1, 4, 4)})
			if err != nil {
				t.Fatal(err)
			}
			for k, y := range out["y"].Float32s() {
				at := k/4*16 + k%4/2*8 + k%2*2
				if want := max(0, v[at], v[at+1], v[at+4], v[at+5]); y != want {
					t.Fatalf("run %d, window %d: got %g, want %g", i, k, y, want)
				}
			}
		}
	})
}

func TestOutputNamesAreTheirOwn(t *testing.T) {
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Dims(2))
	y := op.Exp(x)
	for _, m := range []engine.Machine{engine.Go{}, engine.ORT{}} {
		for _, outputs := range [][]export.Output{{{Name: "x", Node: y}}, {{Name: "y", Node: y}, {Name: "y", Node: x}}} {
			if _, err := m.Compile(engine.Function{Outputs: outputs}); err == nil || !strings.Contains(err.Error(), "is taken") {
				t.Errorf("%s: outputs %v: %v", m.Name(), outputs, err)
			}
		}
	}
}
