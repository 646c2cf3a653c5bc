package train_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

func TestGradientsAgreeOnBothMachines(t *testing.T) {
	projector := models.NewProjector(6, 5)
	projector.Activation = models.SiLU
	c := train.Config{
		Objective: objective.SimCLR{Encoder: smooth(), Projector: projector, Temperature: 0.5},
		Optimizer: optim.SGD{Momentum: 0.9},
		Rate:      constant(0.1),
		BatchSize: 4, Image: []int{3, 8, 8}, Gradients: true,
	}
	var all []engine.Tensors
	for _, m := range machines(t) {
		s, p, _ := start(t, m, c)
		out := run(t, p, inputs(s, train.Step{Total: 3}, noise(1, 8*3*64), 3, 8, 8))
		for k, v := range p.State() {
			out[k] = v
		}
		all = append(all, out)
	}
	for _, other := range all[1:] {
		for name, v := range all[0] {
			d, size := largest(t, v.Float32s(), other[name].Float32s())
			if !(d <= 1e-4*size+1e-6) {
				t.Errorf("%s: differs by %g, the largest is %g", name, d, size)
			}
		}
	}
}

// momentum is an objective with all that SimCLR has not: several forward passes, a
// predictor, a target network that follows the updated weights by a scheduled
// rate, a queue, sampled noise.
type momentum struct{}

const (
	queueRows = 3
	width     = 2
)

func (momentum) Views() int { return 2 }

func (momentum) Loss(b *train.Builder) *op.Node {
	x1, x2 := op.Flatten(b.View(0)), op.Flatten(b.View(1))
	eps := b.Feed("noise", x1.Shape, func(s train.Step, data []float32) {
		r := s.Rand("noise")
		for i := range data {
			data[i] = float32(r.NormFloat64())
		}
	})
	q := models.Linear(b.Scope("online"), op.Add(x1, op.Scale(eps, 0.01)), width, false)
	q = models.Linear(b.Scope("predictor"), q, width, true)
	k := op.StopGradient(models.Linear(b.Scope("target"), x2, width, false))
	state := b.Scope("memory")
	queue := state.Buffer("queue", models.Constant(0.5), queueRows, width)
	state.SetBuffer("queue", op.Concat(0, k, op.Slice(queue, 0, 0, queueRows-b.N)))
	d := op.Sub(q, k)
	against := op.Mean(op.MatMul(q, op.Transpose(queue, 1, 0)), false)
	return op.Add(op.Mean(op.Mul(d, d), false), op.Scale(against, 0.1))
}

func (momentum) Update(b *train.Builder) {
	tau := b.Feed("tau", op.Dims(), func(s train.Step, data []float32) { data[0] = 0.5 + 0.1*float32(s.Index) })
	rest := op.Sub(b.Graph.Scalar(1), tau)
	b.Set("target.weight", op.Add(op.Mul(tau, b.Get("target.weight")), op.Mul(rest, b.Get("online.weight"))))
}

func TestObjectivesWithStateAndFeeds(t *testing.T) {
	for _, m := range machines(t) {
		s, p, before := start(t, m, train.Config{
			Objective: momentum{}, Optimizer: optim.SGD{},
			Rate:      constant(0.1),
			BatchSize: 2, Image: []int{1, 2, 2},
		})
		for i := range 3 {
			x := noise(uint64(i), 4*4)
			run(t, p, inputs(s, train.Step{Index: i, Total: 3, Seed: 9}, x, 1, 2, 2))
			after := models.StateDict(p.State())

			// The target follows the weights as they are after the step.
			tau := 0.5 + 0.1*float32(i)
			old, online := before["target.weight"].Float32s(), after["online.weight"].Float32s()
			want := make([]float32, len(old))
			for j := range want {
				want[j] = tau*old[j] + (1-tau)*online[j]
			}
			if d, _ := largest(t, after["target.weight"].Float32s(), want); d > 1e-6 {
				t.Errorf("%s step %d: the target is off by %g", m.Name(), i, d)
			}
			if d, _ := largest(t, before["online.weight"].Float32s(), online); d == 0 {
				t.Errorf("%s step %d: the online network did not move", m.Name(), i)
			}
			// The queue holds the keys of this step, by the target as it was, then old ones.
			key := make([]float32, 0, queueRows*width)
			for row := range 2 {
				for o := range width {
					sum := float32(0)
					for j := range 4 {
						sum += x[(2+row)*4+j] * old[o*4+j]
					}
					key = append(key, sum)
				}
			}
			key = append(key, before["memory.queue"].Float32s()[:width]...)
			if d, _ := largest(t, after["memory.queue"].Float32s(), key); d > 1e-5 {
				t.Errorf("%s step %d: the queue is off by %g", m.Name(), i, d)
			}
			before = after
		}
	}
}

func TestFeedsRepeat(t *testing.T) {
	a, b := train.Step{Index: 3, Seed: 1}.Rand("noise"), train.Step{Index: 3, Seed: 1}.Rand("noise")
	if a.Uint64() != b.Uint64() {
		t.Error("the same step gave other numbers")
	}
	c, d := train.Step{Index: 4, Seed: 1}.Rand("noise"), train.Step{Index: 3, Seed: 1}.Rand("noise")
	if c.Uint64() == d.Uint64() {
		t.Error("another step gave the same numbers")
	}
}

type noWeights struct{}

func (noWeights) Views() int                     { return 1 }
func (noWeights) Loss(b *train.Builder) *op.Node { return op.Mean(b.Views(), false) }

func TestBuildErrors(t *testing.T) {
	base := train.Config{Optimizer: optim.SGD{}, Rate: constant(1), BatchSize: 2, Image: []int{3, 8, 8}}
	for want, change := range map[string]func(*train.Config){
		"depends on no weight": func(c *train.Config) { c.Objective = noWeights{} },
		"batch size":           func(c *train.Config) { c.Objective = noWeights{}; c.BatchSize = 0 },
		"temperature":          func(c *train.Config) { c.Objective = objective.SimCLR{Encoder: smooth()} },
		"unknown loss": func(c *train.Config) {
			c.Objective = objective.SimCLR{Encoder: smooth(), Temperature: 1, Contrast: "hinge"}
		},
	} {
		c := base
		change(&c)
		if _, err := train.Build(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// One step of SimCLR on a batch of four images.
func ExampleBuild() {
	step, err := train.Build(train.Config{
		Objective: objective.SimCLR{
			Encoder:     models.ResNet{Blocks: []int{1}, Widths: []int{4}, Stem: models.StemCIFAR},
			Projector:   models.NewProjector(4, 4),
			Temperature: 0.5,
		},
		Optimizer: optim.SGD{Momentum: 0.9, Decay: optim.Decay{Rate: 5e-4}},
		Rate:      optim.Cosine{Base: 0.06}.Rate,
		BatchSize: 4, Image: []int{3, 8, 8},
	})
	if err != nil {
		panic(err)
	}
	program, err := engine.Go{}.Compile(step.Function)
	if err != nil {
		panic(err)
	}
	defer program.Close()
	if err := program.Load(engine.Tensors(step.Params.Init(1))); err != nil {
		panic(err)
	}
	in := step.Inputs(train.Step{Index: 0, Total: 100})
	in[train.InputViews] = engine.NewTensor(make([]float32, 8*3*8*8), 8, 3, 8, 8)
	out, err := program.Run(context.Background(), in)
	if err != nil {
		panic(err)
	}
	// Views that are all alike cannot be told apart: the loss is log(2N-1).
	fmt.Printf("%.4f\n", out[train.OutputLoss].Float32s()[0])
	// Output: 1.9459
}
