package train_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// contrast is SimCLR with a network that has no statistics of the batch.
func contrast(loss objective.Loss) objective.SimCLR {
	return objective.SimCLR{Encoder: perceptron{8}, Projector: models.NewProjector(5), Temperature: 0.2, Contrast: loss}
}

// sums returns the gradients of a step in chunks: they are kept until the next one.
func sums(p engine.Program) map[string][]float32 {
	out := map[string][]float32{}
	for name, v := range p.State() {
		if weight, ok := strings.CutPrefix(name, "optim.accumulated."); ok {
			out[weight] = v.Float32s()
		}
	}
	return out
}

// wantGradients compares gradients with those of a step at once, each beside its
// largest entry.
func wantGradients(t *testing.T, what string, got map[string][]float32, want engine.Tensors) {
	t.Helper()
	n, worst := 0, 0.0
	for name, v := range want {
		weight, ok := strings.CutPrefix(name, train.GradPrefix)
		if !ok {
			continue
		}
		n++
		d, size := largest(t, v.Float32s(), got[weight])
		worst = max(worst, d/size)
		if !(d <= 1e-5*size) || size == 0 {
			t.Errorf("%s: the gradient of %s differs by %g of its largest entry, %g", what, weight, d/size, size)
		}
	}
	if n == 0 || n != len(got) {
		t.Errorf("%s: %d gradients, want %d", what, len(got), n)
	}
	t.Logf("%s: gradients differ by %.1e of the largest entry", what, worst)
}

func TestChunksHaveTheWholeBatchsGradients(t *testing.T) {
	const batch, pixels = 12, 3 * 6 * 6
	for _, m := range machines(t) {
		for _, loss := range []objective.Loss{objective.LossNTXent, objective.LossInfoNCE} {
			c := train.Config{Objective: contrast(loss), Optimizer: optim.SGD{}, Rate: constant(0.1),
				BatchSize: batch, Image: []int{3, 6, 6}, GradNorm: true, Gradients: true}
			s, whole, _ := start(t, m, c)
			c.Gradients = false
			x := noise(3, 2*batch*pixels)
			want := pairs(t, s, whole, train.Step{Total: 1}, x)
			for _, chunk := range []int{12, 6, 4, 3, 2, 1} {
				c.Chunk = chunk
				s, chunked, _ := start(t, m, c)
				what := fmt.Sprintf("%s %s, chunks of %d", m.Name(), loss, chunk)
				got := pairs(t, s, chunked, train.Step{Total: 1}, x)
				wantGradients(t, what, sums(chunked), want)
				for _, o := range s.Outputs {
					d, size := largest(t, want[o.Name].Float32s(), got[o.Name].Float32s())
					if !(d <= 1e-6*size) {
						t.Errorf("%s: %s differs by %g, the largest is %g", what, o.Name, d, size)
					}
				}
				if len(got) != len(s.Outputs) {
					t.Errorf("%s: %d outputs, want %d", what, len(got), len(s.Outputs))
				}
			}
		}
	}
}

// pairs runs one batch of pairs x: [2N, 3, 6, 6].
func pairs(t *testing.T, s *train.Program, p engine.Program, at train.Step, x []float32) engine.Tensors {
	t.Helper()
	return run(t, p, inputs(s, at, x, 3, 6, 6))
}

// Chunks go with everything that follows the gradients: the optimisers, clipping,
// moving averages, and batches that are accumulated on top.
func TestStepsInChunks(t *testing.T) {
	const batch, pixels, steps = 8, 3 * 6 * 6, 3
	for _, m := range machines(t) {
		for name, how := range optimizers {
			for _, accumulate := range []int{1, 2} {
				c := train.Config{Objective: contrast(""), Optimizer: optim.Averaged{Next: how.optimizer, Average: optim.EMA{Base: 0.9}},
					Rate: constant(min(how.rate, 0.5)), GradNorm: true,
					BatchSize: batch, Image: []int{3, 6, 6}, Accumulate: accumulate}
				s, whole, initial := start(t, m, c)
				c.Chunk = 2
				cs, chunked, _ := start(t, m, c)
				for i := range steps {
					for k := range accumulate {
						at := train.Step{Index: i, Total: steps, Batch: k}
						x := noise(uint64(10*i+k), 2*batch*pixels)
						want := pairs(t, s, whole, at, x)
						got := pairs(t, cs, chunked, at, x)
						for _, o := range []string{train.OutputLoss, train.MetricGradNorm} {
							if d, size := largest(t, want[o].Float32s(), got[o].Float32s()); k == accumulate-1 && d > 1e-5*size {
								t.Errorf("%s %s step %d: %s is %v, at once %v", m.Name(), name, i, o, got[o], want[o])
							}
						}
					}
				}
				state := chunked.State()
				moved := 0.0
				for weight, want := range whole.State() {
					if strings.HasPrefix(weight, "optim.") {
						continue
					}
					d, size := largest(t, want.Float32s(), state[weight].Float32s())
					if d > 1e-5*max(1, size) {
						t.Errorf("%s %s, %d batches: %s differs by %g, the largest is %g", m.Name(), name, accumulate, weight, d, size)
					}
					was, _ := largest(t, want.Float32s(), initial[weight].Float32s())
					moved = max(moved, was)
				}
				if moved < 1e-3 {
					t.Errorf("%s %s: the weights moved by %g only", m.Name(), name, moved)
				}
			}
		}
	}
}

// A large batch: its loss compares 1,024 views.
func TestGradientsOf512InChunks(t *testing.T) {
	const batch, pixels = 512, 3 * 6 * 6
	c := train.Config{Objective: contrast(""), Optimizer: optim.SGD{}, Rate: constant(0.1),
		BatchSize: batch, Image: []int{3, 6, 6}, Gradients: true}
	x := noise(4, 2*batch*pixels)
	for _, m := range machines(t) {
		s, whole, _ := start(t, m, c)
		want := pairs(t, s, whole, train.Step{Total: 1}, x)
		parts := c
		parts.Gradients, parts.Chunk = false, 64
		s, chunked, _ := start(t, m, parts)
		pairs(t, s, chunked, train.Step{Total: 1}, x)
		wantGradients(t, m.Name(), sums(chunked), want)
	}
}

// With BatchNorm a chunk is normalised by its own statistics. The running statistics
// follow once for each chunk: two chunks alike leave them as two steps would.
func TestStatisticsInChunks(t *testing.T) {
	const n, pixels = 4, 3 * 8 * 8
	for _, m := range machines(t) {
		c := train.Config{Objective: simclr(),
			Optimizer: optim.SGD{}, Rate: constant(0), BatchSize: n, Image: []int{3, 8, 8}}
		x := noise(1, 2*n*pixels)
		s, small, _ := start(t, m, c)
		for range 2 {
			run(t, small, inputs(s, train.Step{Total: 1}, x, 3, 8, 8))
		}
		c.BatchSize, c.Chunk = 2*n, n
		cs, chunked, _ := start(t, m, c)
		first, second := x[:n*pixels], x[n*pixels:]
		var twice []float32
		for _, part := range [][]float32{first, first, second, second} {
			twice = append(twice, part...)
		}
		run(t, chunked, inputs(cs, train.Step{Total: 1}, twice, 3, 8, 8))
		if len(cs.Statistics) == 0 || len(s.Statistics) != len(cs.Statistics) {
			t.Fatalf("%d parameters are statistics, in chunks %d", len(s.Statistics), len(cs.Statistics))
		}
		got, want := chunked.State(), small.State()
		for _, name := range s.Statistics {
			if d, size := largest(t, want[name].Float32s(), got[name].Float32s()); d > 1e-6*size {
				t.Errorf("%s: %s differs by %g, the largest is %g", m.Name(), name, d, size)
			}
		}
	}
}

func TestChunksStopped(t *testing.T) {
	const batch, pixels = 8, 3 * 8 * 8
	for _, m := range machines(t) {
		s, p, before := start(t, m, train.Config{
			Objective: simclr(),
			Optimizer: optim.SGD{Momentum: 0.9}, Rate: constant(0.1),
			BatchSize: batch, Chunk: 2, Image: []int{3, 8, 8}})
		chunked := p.(*train.ChunkedStep)
		in := inputs(s, train.Step{Total: 1}, noise(2, 2*batch*pixels), 3, 8, 8)
		for _, last := range []int{2, 6} { // in the first pass, in the second one
			ctx, cancel := context.WithCancel(context.Background())
			chunked.Progress = func(done, total int) {
				if total != 8 {
					t.Errorf("%d passes, want 8", total)
				}
				if done == last {
					cancel()
				}
			}
			if _, err := chunked.Run(ctx, in); !errors.Is(err, context.Canceled) {
				t.Errorf("%s stopped after pass %d: got %v", m.Name(), last, err)
			}
			for name, v := range p.State() {
				if d, _ := largest(t, v.Float32s(), before[name].Float32s()); d != 0 {
					t.Errorf("%s stopped after pass %d: %s changed by %g", m.Name(), last, name, d)
				}
			}
			cancel()
		}
	}
}

func TestChunksFindTheFirstBadLayer(t *testing.T) {
	c := train.Config{Objective: contrast(""), Optimizer: optim.SGD{}, Rate: constant(0),
		BatchSize: 4, Chunk: 2, Image: []int{3, 6, 6}}
	s, p, state := start(t, engine.Go{}, c)
	in := inputs(s, train.Step{Total: 1}, noise(1, 8*3*6*6), 3, 6, 6)
	if n, err := s.FirstNonFinite(context.Background(), p.State(), in); n != nil || err != nil {
		t.Errorf("got %v, %v of a step that is finite", n, err)
	}
	state["encoder.0.weight"].Float32s()[0] = float32(math.NaN())
	n, err := s.FirstNonFinite(context.Background(), engine.Tensors(state), in)
	if err != nil || n == nil || engine.LayerOf(n) != "encoder.0" {
		t.Errorf("got %v, %v, want layer encoder.0", n, err)
	}
}

// strange is a contrast with a forward pass of its own.
type strange struct {
	objective.SimCLR
	embed func(b *train.Builder) *op.Node
}

func (s strange) Embed(b *train.Builder) *op.Node {
	if s.embed != nil {
		return s.embed(b)
	}
	return s.SimCLR.Embed(b)
}

func TestChunkErrors(t *testing.T) {
	c := train.Config{Objective: contrast(""), Optimizer: optim.SGD{}, Rate: constant(0),
		BatchSize: 6, Chunk: 2, Image: []int{3, 6, 6}}
	embed := func(f func(b *train.Builder, x *op.Node) *op.Node) func(c *train.Config) {
		return func(c *train.Config) {
			c.Objective = strange{contrast(""), func(b *train.Builder) *op.Node { return f(b, op.Flatten(b.Views())) }}
		}
	}
	for want, change := range map[string]func(c *train.Config){
		"does not divide into chunks of 4":        func(c *train.Config) { c.Chunk = 4 },
		"does not divide into chunks of -1":       func(c *train.Config) { c.Chunk = -1 },
		"is not one of rows that a network makes": func(c *train.Config) { c.Objective = reconstruction{perceptron{8}} },
		"gradients come in pieces":                func(c *train.Config) { c.Gradients = true },
		"unknown loss":                            func(c *train.Config) { c.Objective = contrast("none") },
		"want a row for each of 4 views":          embed(func(b *train.Builder, x *op.Node) *op.Node { return op.Mean(x, true, 0) }),
		"depend on more than the views":           embed(func(b *train.Builder, x *op.Node) *op.Node { return op.Mul(x, b.Feed("f", op.Dims(), nil)) }),
		"the loss depends on no weight":           embed(func(b *train.Builder, x *op.Node) *op.Node { return x }),
		"do not broadcast":                        embed(func(b *train.Builder, x *op.Node) *op.Node { return op.Linear(x, x, x) }),
	} {
		c := c
		change(&c)
		if _, err := train.Build(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
