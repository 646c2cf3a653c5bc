package optim_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// normalised has a layer with running statistics and a queue.
type normalised struct{}

func (normalised) Views() int { return 1 }

func (normalised) Loss(b *train.Builder) *op.Node {
	s := b.Scope("encoder")
	h := models.BatchNorm(s.Sub("bn"), b.Views())
	y := models.Linear(s.Sub("fc"), op.Flatten(h), 3, true)
	memory := b.Scope("memory")
	memory.SetBuffer("queue", op.Add(memory.Buffer("queue", models.Constant(0), 2), b.Graph.Scalar(1)))
	return op.Mean(op.Mul(y, y), false)
}

func TestAveragedFollowsWeightsAndStatistics(t *testing.T) {
	average := optim.EMA{Base: 0.3, Warmup: true}
	step, err := train.Build(train.Config{
		Objective: normalised{}, Optimizer: optim.Averaged{Next: optim.SGD{Momentum: 0.9}, Average: average},
		Rate: func(train.Step) float64 { return 0.1 }, BatchSize: 2, Image: []int{1, 2, 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Go{}.Compile(step.Function)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	before := engine.Tensors(step.Params.Init(4))
	if err := p.Load(before); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, v := range before {
		if of, ok := strings.CutPrefix(name, models.AveragePrefix); ok {
			names = append(names, of)
			if !slices.Equal(v.Float32s(), before[of].Float32s()) {
				t.Errorf("the average of %s does not start as it does", of)
			}
		}
	}
	slices.Sort(names)
	if want := []string{"encoder.bn.bias", "encoder.bn.running_mean", "encoder.bn.running_var", "encoder.bn.weight",
		"encoder.fc.bias", "encoder.fc.weight"}; !slices.Equal(names, want) {
		t.Errorf("averages of %v, want %v", names, want)
	}
	for i, tau := range []float64{1. / 10, 2. / 11, 3. / 12, 0.3} { // 4/13 is more than 0.3
		s := train.Step{Index: i, Total: 4}
		if got := average.Tau(s); math.Abs(got-tau) > 1e-12 {
			t.Errorf("tau of step %d is %g, want %g", i, got, tau)
		}
		in := step.Inputs(s)
		in[train.InputViews] = engine.NewTensor([]float32{1, 2, 3, 5, 8, 13, float32(i), 0}, 2, 1, 2, 2)
		if _, err := p.Run(context.Background(), in); err != nil {
			t.Fatal(err)
		}
		after := p.State()
		for _, name := range names {
			old, got := before[models.AveragePrefix+name].Float32s(), after[models.AveragePrefix+name].Float32s()
			for k, v := range after[name].Float32s() {
				if want := tau*float64(old[k]) + (1-tau)*float64(v); math.Abs(float64(got[k])-want) > 1e-6*max(1, math.Abs(want)) {
					t.Errorf("step %d: average of %s[%d] is %g, want %g", i, name, k, got[k], want)
				}
			}
		}
		before = after
	}
}
