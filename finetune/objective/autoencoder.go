package objective

import (
	"math"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// NameDecoder is the decoder's name in a state dict.
const NameDecoder = "decoder"

// Losses of reconstructions, by name; see Autoencoder.
const (
	LossMSE  Loss = "mse"  // mean squared error, the default
	LossL1   Loss = "l1"   // mean absolute error
	LossSSIM Loss = "ssim" // 1 - structural similarity
	LossBCE  Loss = "bce"  // binary cross-entropy of the values as probabilities
)

// ssimWindow is the largest window of the loss: smaller images get a smaller one.
const ssimWindow = 11

// Autoencoder learns to give images back from their embeddings (Hinton and
// Salakhutdinov, 2006, "Reducing the dimensionality of data with neural networks").
// With noise it sees spoilt images and has to give back clean ones (Vincent et al.,
// 2010). Reconstructions have values in 0..1.
type Autoencoder struct {
	Encoder models.Encoder
	Decoder models.Decoder
	Error   Loss
	Noise   augment.Noise

	// Mean and Std of each channel are those by which the views were normalised;
	// empty ones are 0 and 1.
	Mean, Std []float32
}

// Names of the pictures that the objective shows.
const (
	ShownNoisy          = "noisy"
	ShownReconstruction = "reconstruction"
)

// Views returns 1.
func (Autoencoder) Views() int { return 1 }

// Names of the inputs that carry the noise.
const (
	feedKeep = "noise.keep" // float32 [N, C, H, W]
	feedAdd  = "noise.add"
)

// Loss builds the step. The embeddings are a metric, and psnr, the peak signal-to-noise
// ratio of the batch in dB.
func (a Autoencoder) Loss(b *train.Builder) *op.Node {
	x := b.Views()
	if x == nil {
		return nil
	}
	clean := a.pixels(x)
	seen := x
	if a.Noise.Kind != "" {
		seen = a.views(a.spoil(b, clean))
	}
	h := a.Encoder.Forward(b.Scope(NameEncoder), seen)
	logits := a.Decoder.Logits(b.Scope(NameDecoder), h)
	y := op.Sigmoid(logits)
	mse := op.Mean(SquaredError(y, clean), false)
	b.Metric(train.MetricEmbedding, h)
	b.Metric("psnr", op.Scale(op.Log(mse), -10/math.Ln10))
	if a.Noise.Kind != "" {
		b.Show(ShownNoisy, seen)
	}
	b.Show(ShownReconstruction, a.views(y))
	switch a.Error {
	case "", LossMSE:
		return mse
	case LossL1:
		return op.Mean(AbsoluteError(y, clean), false)
	case LossSSIM:
		side := min(x.Dims[2], x.Dims[3], ssimWindow)
		return SSIM{Window: side - 1 + side%2}.Loss(y, clean)
	case LossBCE:
		return op.Mean(BinaryCrossEntropyLogits(logits, clean), false)
	}
	return b.Graph.Fail("objective: unknown loss %q of a reconstruction: choose %s, %s, %s or %s", a.Error, LossMSE, LossL1, LossSSIM, LossBCE)
}

// spoil adds the noise of the step: x is [N, C, H, W] in 0..1.
func (a Autoencoder) spoil(b *train.Builder, x *op.Node) *op.Node {
	draw := func(s train.Step, keep, add []float32) {
		a.Noise.Draw(s.Rand("noise"), x.Dims[0], x.Dims[1], x.Dims[2]*x.Dims[3], keep, add)
	}
	y := x
	if a.Noise.Kind != augment.NoiseGaussian {
		y = op.Mul(y, b.Feed(feedKeep, x.Shape, func(s train.Step, data []float32) { draw(s, data, nil) }))
	}
	if a.Noise.Kind != augment.NoiseMasking {
		y = op.Add(y, b.Feed(feedAdd, x.Shape, func(s train.Step, data []float32) { draw(s, nil, data) }))
	}
	return op.Clip(y, 0, 1)
}

// pixels undoes the normalisation of views: [N, C, H, W].
func (a Autoencoder) pixels(x *op.Node) *op.Node {
	if a.plain() {
		return x
	}
	return op.Add(op.Mul(x, a.channels(x, a.Std)), a.channels(x, a.Mean))
}

// views normalises pixels.
func (a Autoencoder) views(x *op.Node) *op.Node {
	if a.plain() {
		return x
	}
	return op.Div(op.Sub(x, a.channels(x, a.Mean)), a.channels(x, a.Std))
}

func (a Autoencoder) plain() bool {
	for i := range a.Mean {
		if a.Mean[i] != 0 || a.Std[i] != 1 {
			return false
		}
	}
	return true
}

// channels returns a constant that broadcasts along the channels of x.
func (a Autoencoder) channels(x *op.Node, v []float32) *op.Node {
	c := x.Dims[1]
	return x.Graph().Const(v[:c:c], 1, c, 1, 1)
}
