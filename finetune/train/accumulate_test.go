package train_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// perceptron is an encoder without BatchNorm.
type perceptron struct{ size int }

func (p perceptron) Size() int { return p.size }

func (p perceptron) Forward(s models.Scope, x *op.Node) *op.Node {
	x = op.SiLU(op.Conv2D(x, s.Weight("conv.weight", models.Uniform(0.3), 4, 3, 3, 3), s.Weight("conv.bias", models.Uniform(0.3), 4), op.Conv{}))
	return op.Tanh(models.Linear(s.Sub("0"), op.Flatten(x), p.size, true))
}

// reconstruction learns to give back its view.
type reconstruction struct{ encoder perceptron }

func (reconstruction) Views() int { return 1 }

func (r reconstruction) Loss(b *train.Builder) *op.Node {
	x := op.Flatten(b.View(0))
	d := op.Sub(models.Linear(b.Scope("decoder"), r.encoder.Forward(b.Scope("encoder"), b.View(0)), x.Dims[1], true), x)
	return op.Mean(op.Mul(d, d), false)
}

// optimizers cover state of every kind, and clipping, which needs the whole gradient.
var optimizers = map[string]struct {
	optimizer train.Optimizer
	rate      float64
}{
	"sgd, clipped": {optim.Clip{Norm: 0.05, Next: optim.SGD{Momentum: 0.9, Nesterov: true, Decay: optim.Decay{Rate: 0.01}}}, 0.5},
	"sgd, damped":  {optim.SGD{Momentum: 0.9, Dampening: 0.5}, 0.5},
	"adam":         {optim.Adam{}, 0.01},
	"rmsprop":      {optim.RMSprop{}, 0.001},
	"lars":         {optim.LARS{Momentum: 0.9, Decay: 1e-4, Exclude1D: true}, 10},
}

func TestAccumulatedBatchesEqualALargeOne(t *testing.T) {
	const large, parts, steps = 12, 3, 4
	const small = large / parts
	objectives := map[string]train.Objective{
		"cross-entropy": objective.Supervised{Encoder: perceptron{8}, Classes: 3},
		"squared error": reconstruction{perceptron{8}},
	}
	for _, m := range machines(t) {
		for name, o := range objectives {
			for optimizer, how := range optimizers {
				c := train.Config{Objective: o, Optimizer: how.optimizer, GradNorm: true,
					Rate:      func(s train.Step) float64 { return how.rate * float64(s.Total-s.Index) / float64(s.Total) },
					BatchSize: large, Image: []int{3, 6, 6}}
				whole, program, initial := start(t, m, c)
				c.BatchSize, c.Accumulate = small, parts
				split, accumulating, _ := start(t, m, c)

				const pixels = 3 * 6 * 6
				for i := range steps {
					s := train.Step{Index: i, Total: steps}
					x, labels := noise(uint64(i), large*pixels), make([]int64, large)
					for k := range labels {
						labels[k] = int64(k*k+i) % 3
					}
					out := step(t, whole, program, s, x, labels)
					norm, loss := out[train.MetricGradNorm].Float32s()[0], out[train.OutputLoss].Float32s()[0]
					mean := float32(0)
					for p := range parts {
						s.Batch = p
						out = step(t, split, accumulating, s, x[p*small*pixels:(p+1)*small*pixels], labels[p*small:(p+1)*small])
						mean += out[train.OutputLoss].Float32s()[0] / parts
					}
					if d, _ := largest(t, []float32{norm, loss}, []float32{out[train.MetricGradNorm].Float32s()[0], mean}); d > 1e-6 {
						t.Errorf("%s %s %s, step %d: norm of the gradients and loss %g %g, of one large batch %g %g",
							m.Name(), name, optimizer, i, out[train.MetricGradNorm].Float32s()[0], mean, norm, loss)
					}
				}
				state := accumulating.State()
				moved := 0.0
				for name, want := range program.State() {
					d, size := largest(t, want.Float32s(), state[name].Float32s())
					if d > 1e-6*max(1, size) {
						t.Errorf("%s %s %s: %s differs by %g, the largest is %g", m.Name(), name, optimizer, name, d, size)
					}
					was, _ := largest(t, want.Float32s(), initial[name].Float32s())
					moved = max(moved, was)
				}
				if moved < 1e-3 {
					t.Errorf("%s %s %s: the weights moved by %g only", m.Name(), name, optimizer, moved)
				}
			}
		}
	}
}

// step runs one batch x: [n, 3, 6, 6].
func step(t *testing.T, s *train.Program, p engine.Program, at train.Step, x []float32, labels []int64) engine.Tensors {
	t.Helper()
	in := inputs(s, at, slices.Clone(x), 3, 6, 6)
	if s.Labels {
		in[train.InputLabels] = engine.NewTensor(labels, len(labels))
	}
	return run(t, p, in)
}

// Between the batches of a step nothing changes but the sums of gradients and what
// the forward passes set: the queue, here.
func TestOnlyTheLastBatchChangesWeights(t *testing.T) {
	const parts = 3
	for _, m := range machines(t) {
		s, p, before := start(t, m, train.Config{
			Objective: momentum{}, Optimizer: optim.Adam{}, Accumulate: parts,
			Rate:      constant(0.1),
			BatchSize: 2, Image: []int{1, 2, 2},
		})
		for i := range 2 * parts {
			run(t, p, inputs(s, train.Step{Index: i / parts, Total: 2, Batch: i % parts, Seed: 9}, noise(uint64(i), 4*4), 1, 2, 2))
			after := models.StateDict(p.State())
			for name, v := range after {
				d, _ := largest(t, v.Float32s(), before[name].Float32s())
				each := strings.HasPrefix(name, "memory.") || strings.HasPrefix(name, "optim.accumulated.")
				if want := each || i%parts == parts-1; (d > 0) != want {
					t.Errorf("%s, batch %d: %s changed by %g", m.Name(), i, name, d)
				}
			}
			before = after
		}
	}
}

func TestBatchesOfAStepHaveTheirOwnNoise(t *testing.T) {
	seen := map[string]bool{}
	for batch := range 3 {
		seen[fmt.Sprint(train.Step{Index: 3, Batch: batch, Seed: 1}.Rand("noise").Uint64())] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d different streams, want 3", len(seen))
	}
}
