package engine_test

import (
	"math"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// gradsOf runs the gradients of a loss of one input x: [3] on every machine.
func gradsOf(t *testing.T, x []float32, loss func(x *op.Node) *op.Node, want []float64) {
	t.Helper()
	for _, m := range machines(t) {
		g := op.NewGraph()
		in := g.Input("x", op.Float32, op.Dims(len(x)))
		l := loss(in)
		grads, err := engine.Backprop(l, in)
		if err != nil {
			t.Fatal(err)
		}
		out := runOnce(t, m, engine.Function{Outputs: []export.Output{{Name: "dx", Node: grads[0]}}},
			engine.Tensors{"x": engine.NewTensor(x, len(x))})
		for i, d := range out["dx"].Float32s() {
			if math.Abs(float64(d)-want[i]) > 1e-5*max(1, math.Abs(want[i])) {
				t.Errorf("%s: gradient %v, want %v", m.Name(), out["dx"].Float32s(), want)
				break
			}
		}
	}
}

func runOnce(t *testing.T, m engine.Machine, f engine.Function, in engine.Tensors) engine.Tensors {
	t.Helper()
	p, err := m.Compile(f)
	if err != nil {
		t.Fatalf("%s: %v", m.Name(), err)
	}
	defer p.Close()
	if err := p.Load(nil); err != nil {
		t.Fatal(err)
	}
	out, err := p.Run(t.Context(), in)
	if err != nil {
		t.Fatalf("%s: %v", m.Name(), err)
	}
	return out
}

func TestBackpropAddsWherePathsMeet(t *testing.T) {
	// L = sum(x^3 + 2x), written with x used five times
	gradsOf(t, []float32{-1, 0.5, 2}, func(x *op.Node) *op.Node {
		return op.Sum(op.Add(op.Mul(op.Mul(x, x), x), op.Add(x, x)), false)
	}, []float64{5, 2.75, 14})
}

func TestBackpropStopsAtStopGradient(t *testing.T) {
	// L = sum(x * [x^2]) with [.] held fixed
	gradsOf(t, []float32{-1, 0.5, 2}, func(x *op.Node) *op.Node {
		return op.Sum(op.Mul(x, op.StopGradient(op.Mul(x, x))), false)
	}, []float64{1, 0.25, 4})
}

func TestBackpropOfLossWithAxes(t *testing.T) {
	gradsOf(t, []float32{3, 4}, func(x *op.Node) *op.Node {
		return op.Sqrt(op.Sum(op.Mul(x, x), true, 0)) // [1]
	}, []float64{0.6, 0.8})
}

func TestBackpropByLossItself(t *testing.T) {
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Dims(1))
	out := runOnce(t, engine.Go{}, engine.Function{Outputs: []export.Output{{Name: "dx", Node: backprop(t, x, x)}}}, nil)
	wantValues(t, "dx", out["dx"], 1)
}

// TestBackpropTwice: gradients of two losses in one graph, and one of a gradient.
func TestBackpropTwice(t *testing.T) {
	for _, m := range machines(t) {
		g := op.NewGraph()
		x := g.Input("x", op.Float32, op.Dims(2))
		cube := op.Sum(op.Mul(x, op.Mul(x, x)), false)
		first := backprop(t, cube, x)
		again := backprop(t, cube, x)
		other := backprop(t, op.Sum(op.Exp(x), false), x)
		second := backprop(t, op.Sum(first, false), x) // 6x
		out := runOnce(t, m, engine.Function{Outputs: []export.Output{
			{Name: "3x^2", Node: first}, {Name: "3x^2 again", Node: again}, {Name: "exp", Node: other}, {Name: "6x", Node: second},
		}}, engine.Tensors{"x": engine.NewTensor([]float32{-1, 2}, 2)})
		for name, want := range map[string][2]float64{
			"3x^2": {3, 12}, "3x^2 again": {3, 12}, "exp": {math.Exp(-1), math.Exp(2)}, "6x": {-6, 12},
		} {
			for i, v := range out[name].Float32s() {
				if math.Abs(float64(v)-want[i]) > 1e-5*math.Abs(want[i]) {
					t.Errorf("%s: %s: got %v, want %v", m.Name(), name, out[name].Float32s(), want)
				}
			}
		}
	}
}

func backprop(t *testing.T, loss, x *op.Node) *op.Node {
	t.Helper()
	grads, err := engine.Backprop(loss, x)
	if err != nil {
		t.Fatal(err)
	}
	return grads[0]
}

func TestBackpropGivesNilWithoutPath(t *testing.T) {
	g := op.NewGraph()
	x, other := g.Input("x", op.Float32, op.Dims(2)), g.Input("other", op.Float32, op.Dims(2))
	loss := op.Sum(op.Mul(x, op.StopGradient(other)), false)
	grads, err := engine.Backprop(loss, x, other, g.Scalar(3))
	if err != nil {
		t.Fatal(err)
	}
	if grads[0] == nil || grads[1] != nil || grads[2] != nil {
		t.Errorf("got gradients %v, want one by x and none by the others", grads)
	}
}

func TestBackpropErrors(t *testing.T) {
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Dims(2))
	for _, c := range []struct {
		name string
		loss *op.Node
		want string
	}{
		{"no loss", nil, "there is no loss"},
		{"a vector", op.Exp(x), "the loss must be one number, got float32[2]"},
	} {
		if _, err := engine.Backprop(c.loss, x); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got the error %v, want %q", c.name, err, c.want)
		}
	}
	loss := op.Sum(x, false)
	op.Reshape(x, op.Dims(3))
	if _, err := engine.Backprop(loss, x); err == nil || !strings.Contains(err.Error(), "do not fill") {
		t.Errorf("a graph with an error: got %v", err)
	}
}

// TestBackpropOnceThroughBatchNorm: what has no second derivative says so.
func TestBackpropOnceThroughBatchNorm(t *testing.T) {
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Batched(4, 2))
	w := g.Const([]float32{1, 1}, 2)
	y, _, _ := op.BatchNormTrain(x, w, w, 1e-5)
	first := backprop(t, op.Sum(op.Mul(y, y), false), x)
	if _, err := engine.Backprop(op.Sum(op.Mul(first, first), false), x); err == nil || !strings.Contains(err.Error(), "not differentiable twice") {
		t.Errorf("got the error %v", err)
	}
}
