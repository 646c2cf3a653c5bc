package train_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/runtime/ort"
)

func machines(t *testing.T) []engine.Machine {
	if _, err := ort.Init(ort.FindOptions{}); errors.Is(err, ort.ErrNoLibrary) {
		t.Log("skipping the ort machine: no ONNX Runtime (run sslrt setup)")
		return []engine.Machine{engine.Go{}}
	}
	return []engine.Machine{engine.Go{}, engine.ORT{}}
}

// start compiles a step on a machine and loads its initial weights.
func start(t *testing.T, m engine.Machine, c train.Config) (*train.Program, engine.Program, models.StateDict) {
	t.Helper()
	s, err := train.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Compile(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	state := s.Params.Init(1)
	if err := p.Load(engine.Tensors(state)); err != nil {
		t.Fatal(err)
	}
	return s, p, state
}

func noise(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

func largest(t *testing.T, a, b []float32) (difference, value float64) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%d and %d values", len(a), len(b))
	}
	for i, v := range a {
		difference = max(difference, math.Abs(float64(v)-float64(b[i])))
		value = max(value, math.Abs(float64(v)))
	}
	return difference, value
}

// A smooth network: a ReLU whose input is all but 0 may differ between machines.
func smooth() models.ResNet {
	return models.ResNet{Blocks: []int{1, 1}, Widths: []int{4, 6}, Stem: models.StemCIFAR, Activation: models.SiLU}
}

// simclr is SimCLR with that network, which has statistics of the batch.
func simclr() objective.SimCLR {
	return objective.SimCLR{Encoder: smooth(), Projector: models.NewProjector(5), Temperature: 0.5}
}

// constant is a learning rate that stays.
func constant(rate float64) func(train.Step) float64 {
	return func(train.Step) float64 { return rate }
}

// inputs are those of a step whose views are x, images of a shape [C, H, W].
func inputs(s *train.Program, at train.Step, x []float32, image ...int) engine.Tensors {
	n := len(x)
	for _, d := range image {
		n /= d
	}
	in := s.Inputs(at)
	in[train.InputViews] = engine.NewTensor(x, append([]int{n}, image...)...)
	return in
}

// run makes a step.
func run(t *testing.T, p engine.Program, in engine.Tensors) engine.Tensors {
	t.Helper()
	out, err := p.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
