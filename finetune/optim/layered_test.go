package optim_test

import (
	"context"
	"math"
	"testing"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// stack is a loss whose gradient is 1 for every weight of a stem, two blocks and a
// head.
type stack struct{}

func (stack) Views() int { return 1 }

func (stack) Loss(b *train.Builder) *op.Node {
	sum := op.Scale(op.Sum(b.Views(), false), 0)
	for _, name := range []string{"encoder.conv1", "encoder.layer1.0.conv1", "encoder.layer1.1.conv1", "fc"} {
		scope := models.NewScope(b.Params, true).Sub(name)
		sum = op.Add(sum, op.Sum(scope.Weight("weight", models.Constant(0), 1), false))
	}
	return sum
}

func TestLayeredShortensLowerBlocks(t *testing.T) {
	for name, next := range map[string]train.Optimizer{
		"sgd":   optim.SGD{Momentum: 0.9},
		"adamw": optim.Adam{Decoupled: true},
	} {
		step, err := train.Build(train.Config{Objective: stack{}, Optimizer: optim.Layered{Next: next, Decay: 0.5},
			Rate: func(train.Step) float64 { return 0.1 }, BatchSize: 1, Image: []int{1, 1, 1}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := engine.Go{}.Compile(step.Function)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := p.Load(engine.Tensors(step.Params.Init(1))); err != nil {
			t.Fatal(err)
		}
		in := step.Inputs(train.Step{Total: 1})
		in[train.InputViews] = engine.NewTensor([]float32{0}, 1, 1, 1, 1)
		if _, err := p.Run(context.Background(), in); err != nil {
			t.Fatal(err)
		}
		// The gradients are 1, so the first step of both is the learning rate.
		for weight, want := range map[string]float64{
			"fc.weight": -0.1, "encoder.layer1.1.conv1.weight": -0.05,
			"encoder.layer1.0.conv1.weight": -0.025, "encoder.conv1.weight": -0.0125,
		} {
			if got := float64(p.State()[weight].Float32s()[0]); math.Abs(got-want) > 1e-6 {
				t.Errorf("%s: %s moved by %g, want %g", name, weight, got, want)
			}
		}
	}
}
