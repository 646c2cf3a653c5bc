package train_test

import (
	"math"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// The objectives below are small sketches of methods that are not built: they show
// that what such methods need fits the Objective interface. CONTRIBUTING.md refers
// to them.

// momentumContrast is MoCo (He et al., 2020) with a linear encoder: a target
// encoder that is a moving average, a queue of its outputs, a feed that schedules
// the momentum.
type momentumContrast struct{ dim, queue int }

func (momentumContrast) Views() int { return 2 }

func (m momentumContrast) Loss(b *train.Builder) *op.Node {
	encode := func(network string, x *op.Node) *op.Node {
		return op.L2Normalize(models.Linear(b.Scope(network), op.Flatten(x), m.dim, false), 1, 1e-12)
	}
	q := encode("encoder", b.View(0))
	k := op.StopGradient(encode("target.encoder", b.View(1)))
	memory := b.Scope("memory")
	queue := memory.Buffer("queue", models.Uniform(1), m.queue, m.dim)
	memory.SetBuffer("queue", op.Concat(0, k, op.Slice(queue, 0, 0, m.queue-b.N)))

	positive := op.Sum(op.Mul(q, k), true, 1)
	negative := op.MatMul(q, op.Transpose(queue, 1, 0))
	logp := op.LogSoftmax(op.Concat(1, positive, negative), 1)
	return op.Neg(op.Mean(op.Slice(logp, 1, 0, 1), false))
}

func (momentumContrast) Update(b *train.Builder) {
	momentum := b.Feed("target.momentum", op.Dims(), func(s train.Step, data []float32) {
		data[0] = 1 - 0.5*float32(s.Index+1)/float32(s.Total)
	})
	one := b.Graph.Scalar(1)
	for _, s := range b.Trainable() {
		if online, ok := strings.CutPrefix(s.Name, models.TargetPrefix); ok {
			b.Set(s.Name, op.Add(op.Mul(b.Get(s.Name), momentum), op.Mul(b.Get(online), op.Sub(one, momentum))))
		}
	}
}

// program compiles the step of an objective on the Go machine. Images are [1, 2, 2].
func program(t *testing.T, o train.Objective, n int) (*train.Program, engine.Program) {
	t.Helper()
	step, p, _ := start(t, engine.Go{}, train.Config{Objective: o, Optimizer: optim.SGD{},
		Rate: constant(0.5), BatchSize: n, Image: []int{1, 2, 2}})
	return step, p
}

// views returns images [n, 1, 2, 2] that differ.
func views(n int) []float32 {
	x := make([]float32, n*4)
	for i := range x {
		x[i] = float32(math.Sin(float64(3*i + 1)))
	}
	return x
}

func values(p engine.Program, name string) []float32 {
	return append([]float32(nil), p.State()[name].Float32s()...)
}

func TestMomentumEncoderAndQueue(t *testing.T) {
	const n, dim, queue = 2, 3, 6
	step, p := program(t, momentumContrast{dim, queue}, n)
	const weight, target = "encoder.weight", "target.encoder.weight"
	before, memory := values(p, target), values(p, "memory.queue")
	for i, w := range values(p, weight) {
		if w != before[i] {
			t.Fatalf("the target starts at %v, want the encoder's %v", before, values(p, weight))
		}
	}
	x := views(2 * n)
	for i := range 2 {
		run(t, p, inputs(step, train.Step{Index: i, Total: 2}, x, 1, 2, 2))
		// The target moves towards the new weights, by this step's momentum.
		momentum := []float64{0.75, 0.5}[i]
		after, online := values(p, target), values(p, weight)
		moved := false
		for j := range after {
			want := momentum*float64(before[j]) + (1-momentum)*float64(online[j])
			if math.Abs(float64(after[j])-want) > 1e-6 {
				t.Errorf("step %d: target[%d] is %g, want %g", i, j, after[j], want)
			}
			moved = moved || after[j] != before[j]
		}
		if !moved {
			t.Errorf("step %d: the target did not move", i)
		}
		// The newest keys stand first, made by the target as it was.
		got := values(p, "memory.queue")
		for j, v := range keys(x[4*n:], before, dim) {
			if math.Abs(float64(got[j])-v) > 1e-6 {
				t.Errorf("step %d: queue[%d] is %g, want %g", i, j, got[j], v)
			}
		}
		for j, v := range memory[:(queue-n)*dim] {
			if got[n*dim+j] != v {
				t.Errorf("step %d: the queue did not move on: [%d] is %g, want %g", i, n*dim+j, got[n*dim+j], v)
			}
		}
		before, memory = after, got
	}
}

// keys applies a linear layer w: [dim, 4] to x: [n, 4] and normalises the rows.
func keys(x, w []float32, dim int) []float64 {
	var out []float64
	for i := 0; i < len(x); i += 4 {
		row := make([]float64, dim)
		sum := 0.0
		for d := range row {
			for j := range 4 {
				row[d] += float64(x[i+j]) * float64(w[4*d+j])
			}
			sum += row[d] * row[d]
		}
		for _, v := range row {
			out = append(out, v/math.Sqrt(sum))
		}
	}
	return out
}

// maskedAutoencoder reconstructs the pixels that a mask hides (He et al., 2022),
// through a code with sampled noise (Kingma and Welling, 2014): two feeds.
type maskedAutoencoder struct{ code int }

func (maskedAutoencoder) Views() int { return 1 }

func (m maskedAutoencoder) Loss(b *train.Builder) *op.Node {
	x := op.Flatten(b.View(0))
	pixels := x.Dims[1]
	mask := b.Feed("mask", op.Batched(b.N, pixels), func(s train.Step, data []float32) {
		r := s.Rand("mask")
		for i := 0; i < len(data); i += pixels {
			data[i+r.IntN(pixels)] = 1 // one hidden pixel an image
		}
	})
	noise := b.Feed("noise", op.Batched(b.N, m.code), func(s train.Step, data []float32) {
		r := s.Rand("noise")
		for i := range data {
			data[i] = float32(r.NormFloat64())
		}
	})
	seen := op.Mul(x, op.Sub(b.Graph.Scalar(1), mask))
	mean := models.Linear(b.Scope("encoder"), seen, m.code, true)
	logvar := models.Linear(b.Scope("logvar"), seen, m.code, true)
	z := op.Add(mean, op.Mul(noise, op.Exp(op.Scale(logvar, 0.5))))
	d := op.Mul(mask, op.Sub(models.Linear(b.Scope("decoder"), z, pixels, true), x))
	b.Metric("mask used", mask)
	b.Metric("noise used", noise)
	return op.Scale(op.Sum(op.Mul(d, d), false), 1/float64(b.N))
}

func TestNoiseAndMasks(t *testing.T) {
	const n = 3
	both := func(steps ...int) (losses []float64, masks, noises [][]float32) {
		step, p := program(t, maskedAutoencoder{2}, n)
		for _, i := range steps {
			out := run(t, p, inputs(step, train.Step{Index: i, Total: 4, Seed: 9}, views(n), 1, 2, 2))
			losses = append(losses, float64(out[train.OutputLoss].Float32s()[0]))
			masks = append(masks, append([]float32(nil), out["mask used"].Float32s()...))
			noises = append(noises, append([]float32(nil), out["noise used"].Float32s()...))
		}
		return losses, masks, noises
	}
	losses, masks, noises := both(0, 1)
	again, sameMasks, sameNoises := both(0, 1)
	for i := range losses {
		if losses[i] != again[i] || !equal(masks[i], sameMasks[i]) || !equal(noises[i], sameNoises[i]) {
			t.Errorf("step %d is not repeated: loss %g, then %g", i, losses[i], again[i])
		}
		if sum := masks[i][0] + masks[i][1] + masks[i][2] + masks[i][3]; sum != 1 {
			t.Errorf("step %d: the first image hides %g pixels, want 1", i, sum)
		}
	}
	if equal(noises[0], noises[1]) {
		t.Error("two steps have the same noise")
	}
}

func equal(a, b []float32) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}
