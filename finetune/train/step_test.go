package train_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
)

func TestGradientsAgree(t *testing.T) {
	cfg := train.Config{
		Objective: objective.SimCLR{Encoder: models.ResNet{Blocks: []int{1, 1}, Widths: []int{4, 6}, Stem: models.StemCIFAR},
			Projector: models.NewProjector(6, 5), Temperature: 0.5},
		Optimizer: optim.SGD{Momentum: .9},
		Rate:      func(train.Step) float64 { return 0.1 },
		BatchSize: 4, Image: []int{3, 8, 8}, Gradients: true,
	}
	var all []engine.Tensors
	for _, m := range []engine.Machine{engine.Go{}, engine.ORT{}} {
		s, err := train.Build(cfg)
		if err != nil {
			t.Fatal(err)
		}
		p, err := m.Compile(s.Function)
		if err != nil {
			t.Fatal(err)
		}
		p.Load(engine.Tensors(s.Params.Init(1)))
		in := s.Inputs(train.Step{Total: 3})
		r := rand.New(rand.NewPCG(1, 1))
		x := make([]float32, 8*3*64)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		in["views"] = engine.NewTensor(x, 8, 3, 8, 8)
		out, err := p.Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range p.State() {
			out[k] = v
		}
		all = append(all, out)
	}
	for k, a := range all[0] {
		b := all[1][k]
		worst, largest := 0.0, 0.0
		for i, v := range a.Float32s() {
			worst = max(worst, math.Abs(float64(v-b.Float32s()[i])))
			largest = max(largest, math.Abs(float64(v)))
		}
		if !(worst <= 1e-4*largest+1e-6) {
			t.Errorf("%s: %g of %g", k, worst, largest)
		}
	}
}
