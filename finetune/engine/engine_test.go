package engine_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
	"github.com/sslrt/sslrt/runtime/ort"
)

// machines returns the machines that run here: ort only where its library is.
func machines(t *testing.T) []engine.Machine {
	t.Helper()
	list := []engine.Machine{engine.Go{}, engine.Go{Tape: true}}
	if _, err := ort.Init(ort.FindOptions{}); errors.Is(err, ort.ErrNoLibrary) {
		t.Log("skipping the ort machine: no ONNX Runtime (run sslrt setup)")
		return list
	}
	return append(list, engine.ORT{})
}

func random(r *rand.Rand, sizes ...int) *tensor.Dense {
	data := make([]float32, op.Dims(sizes...).Size())
	for i := range data {
		data[i] = float32(r.NormFloat64())
	}
	return tensor.New(tensor.WithShape(sizes...), tensor.WithBacking(data))
}

// mlp is a two-layer network fitting random targets by gradient descent.
func mlp(t *testing.T) (engine.Function, engine.Tensors, engine.Tensors) {
	t.Helper()
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Batched(8, 5))
	target := g.Input("target", op.Float32, op.Batched(8, 2))
	lr := g.Input("lr", op.Float32, op.Dims())
	w1 := g.Param("w1", op.Float32, op.Dims(7, 5))
	b1 := g.Param("b1", op.Float32, op.Dims(7))
	w2 := g.Param("w2", op.Float32, op.Dims(2, 7))
	y := op.Linear(op.SiLU(op.Linear(x, w1, b1)), w2, nil)
	d := op.Sub(y, target)
	loss := op.Mean(op.Mul(d, d), false)
	params := []*op.Node{w1, b1, w2}
	grads, err := engine.Backprop(loss, params...)
	if err != nil {
		t.Fatal(err)
	}
	f := engine.Function{Outputs: []export.Output{{Name: "loss", Node: loss}, {Name: "y", Node: y}}}
	for i, p := range params {
		f.Carry = append(f.Carry, engine.Carry{Param: p, Next: op.Sub(p, op.Mul(lr, grads[i]))})
	}
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	state := engine.Tensors{"w1": random(r, 7, 5), "b1": random(r, 7), "w2": random(r, 2, 7)}
	in := engine.Tensors{"x": random(r, 8, 5), "target": random(r, 8, 2),
		"lr": tensor.New(tensor.WithShape(), tensor.WithBacking([]float32{0.1}))}
	return f, state, in
}

func TestMachinesLearnAlike(t *testing.T) {
	var losses [][]float32
	for _, m := range machines(t) {
		f, state, in := mlp(t)
		p, err := m.Compile(f)
		if err != nil {
			t.Fatal(m.Name(), err)
		}
		defer p.Close()
		if err := p.Load(state); err != nil {
			t.Fatal(err)
		}
		var curve []float32
		for range 50 {
			out, err := p.Run(context.Background(), in)
			if err != nil {
				t.Fatal(m.Name(), err)
			}
			curve = append(curve, out["loss"].Float32s()[0])
		}
		if curve[49] > curve[0]/3 {
			t.Errorf("%s: the loss went from %g to %g: it does not learn", m.Name(), curve[0], curve[49])
		}
		losses = append(losses, curve)
	}
	for _, other := range losses[1:] {
		for i, v := range other {
			if math.Abs(float64(v-losses[0][i])) > 1e-5 {
				t.Fatalf("step %d: losses %g and %g", i, losses[0][i], v)
			}
		}
	}
}
