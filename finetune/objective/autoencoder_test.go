package objective_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

const side = 12

func autoencoder(t testing.TB, e objective.Loss, n augment.Noise) objective.Autoencoder {
	t.Helper()
	encoder := models.NewConvEncoder(side, 0.25)
	decoder, err := models.MirrorOf(encoder, models.Map{Channels: 1, Height: side, Width: side})
	if err != nil {
		t.Fatal(err)
	}
	return objective.Autoencoder{Encoder: encoder, Decoder: decoder, Error: e, Noise: n}
}

// losses trains some steps on one batch of squares and returns the losses.
func losses(t testing.TB, a objective.Autoencoder, steps int) []float64 {
	t.Helper()
	const n = 4
	p, err := train.Build(train.Config{Objective: a, Optimizer: optim.Adam{}, Rate: func(train.Step) float64 { return 0.01 },
		BatchSize: n, Image: []int{1, side, side}})
	if err != nil {
		t.Fatal(err)
	}
	program, err := engine.Go{}.Compile(p.Function)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if err := program.Load(engine.Tensors(p.Params.Init(1))); err != nil {
		t.Fatal(err)
	}
	x := make([]float32, n*side*side)
	for i := range n {
		for y := i; y < i+6; y++ {
			for k := 2; k < 8; k++ {
				x[(i*side+y)*side+k] = 1
			}
		}
	}
	for i := range x { // as a loader with this mean and deviation gives them
		if a.Mean != nil {
			x[i] = (x[i] - a.Mean[0]) / a.Std[0]
		}
	}
	var out []float64
	for i := range steps {
		in := p.Inputs(train.Step{Index: i, Total: steps, Seed: 5})
		in[train.InputViews] = engine.NewTensor(slices.Clone(x), n, 1, side, side)
		values, err := program.Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, float64(values[train.OutputLoss].Float32s()[0]))
	}
	return out
}

func TestAutoencoderLearns(t *testing.T) {
	for _, e := range []objective.Loss{objective.LossMSE, objective.LossL1, objective.LossSSIM, objective.LossBCE} {
		got := losses(t, autoencoder(t, e, augment.Noise{}), 60)
		if first, last := got[0], got[len(got)-1]; !(last < 0.5*first) {
			t.Errorf("%s: the loss falls from %g to %g only", e, first, last)
		}
	}
}

// TestDenoiserIsRepeatable: the noise of a step is drawn from its number, so that a
// run gives the same losses again, and it is noise: each kind gives others.
func TestDenoiserIsRepeatable(t *testing.T) {
	var seen [][]float64
	for _, kind := range []augment.NoiseKind{"", augment.NoiseGaussian, augment.NoiseMasking, augment.NoiseSaltPepper} {
		n := augment.Noise{Kind: kind}
		if kind != "" {
			n.Level = kind.DefaultLevel()
		}
		got := losses(t, autoencoder(t, objective.LossMSE, n), 3)
		if again := losses(t, autoencoder(t, objective.LossMSE, n), 3); !slices.Equal(got, again) {
			t.Errorf("%s: losses %v, and then %v", kind, got, again)
		}
		for _, other := range seen {
			if got[0] == other[0] {
				t.Errorf("%s: the loss is that of another noise", kind)
			}
		}
		seen = append(seen, got)
	}
}

// TestAutoencoderUndoesNormalisation: the goal is the image in 0..1 whatever the
// views' mean and deviation.
func TestAutoencoderUndoesNormalisation(t *testing.T) {
	a := autoencoder(t, objective.LossMSE, augment.Noise{Kind: augment.NoiseMasking, Level: 0.3})
	a.Mean, a.Std = []float32{0}, []float32{1}
	plain := losses(t, a, 1)[0]
	a.Mean, a.Std = []float32{0.5}, []float32{0.25}
	// The first prediction, near 1/2 everywhere, hardly depends on the input; with a
	// goal that is still normalised the error would be 4 and more.
	if got := losses(t, a, 1)[0]; math.Abs(got-plain) > 0.05 {
		t.Errorf("loss %g, without normalisation %g", got, plain)
	}
}

func TestSSIMClosedForms(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	z := make([]float32, 2*144)
	for i := range 144 {
		z[i], z[144+i] = r.Float32(), 0.25
	}
	image := func(z *op.Node, from int) *op.Node {
		return op.Reshape(op.Slice(z, 0, from, from+1), op.Batched(1, 1, 12, 12))
	}
	for _, o := range []objective.SSIM{{}, {Window: 7, Uniform: true}, {Padded: true}} {
		if got := evaluate(t, z, 2, func(z *op.Node) *op.Node { return o.Loss(image(z, 0), image(z, 0)) }); math.Abs(got) > 1e-6 {
			t.Errorf("%+v: an image differs from itself by %g", o, got)
		}
	}
	// Two flat images differ in the luminance alone: (2ab + c1) / (a^2 + b^2 + c1).
	a, b, c1 := 0.25, 0.75, 1e-4
	got := evaluate(t, z, 2, func(z *op.Node) *op.Node {
		return objective.SSIM{}.Loss(image(z, 1), op.AddScalar(image(z, 1), 0.5))
	})
	if want := 1 - (2*a*b+c1)/(a*a+b*b+c1); math.Abs(got-want) > 1e-3 {
		t.Errorf("flat images: got %g, want %g", got, want)
	}
}

func TestBinaryCrossEntropyStaysFinite(t *testing.T) {
	p := []float32{0, 1, 0, 1}
	want := []float64{100, 100, 0, 0}
	for i := range p {
		target := 1 - p[i]
		if i > 1 {
			target = p[i]
		}
		got := evaluate(t, []float32{p[i]}, 1, func(z *op.Node) *op.Node {
			return op.Mean(objective.BinaryCrossEntropy(z, z.Graph().Const([]float32{target}, 1, 1)), false)
		})
		if got != want[i] {
			t.Errorf("probability %g of %g: got %g, want %g", p[i], target, got, want[i])
		}
	}
}

func TestReconstructionErrors(t *testing.T) {
	a := autoencoder(t, "huber", augment.Noise{})
	_, err := train.Build(train.Config{Objective: a, Optimizer: optim.Adam{}, Rate: func(train.Step) float64 { return 1 }, BatchSize: 2, Image: []int{1, side, side}})
	if err == nil || !strings.Contains(err.Error(), `unknown loss "huber"`) {
		t.Errorf("got %v", err)
	}
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Batched(1, 1, 8, 8))
	objective.SSIM{}.Map(x, x)
	if err := g.Err(); err == nil || !strings.Contains(err.Error(), "window of 11") {
		t.Errorf("got %v", err)
	}
}
