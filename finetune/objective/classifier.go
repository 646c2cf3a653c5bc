package objective

import (
	"math"
	"math/rand/v2"

	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// Supervised learns the labels of the images: an encoder and one linear layer.
type Supervised struct {
	Encoder   models.Encoder
	Classes   int
	Freeze    bool    // the encoder keeps its weights and its running statistics
	Smoothing float64 // of the labels, see CrossEntropyOptions

	// Mixup (Zhang et al., 2018) adds another image and its label with a weight drawn
	// from Beta(Mixup, Mixup); CutMix (Yun et al., 2019) pastes a box of it whose area is
	// that weight. 0: not. The other image is the next one of the batch.
	Mixup, CutMix float64
}

// Views returns 1.
func (Supervised) Views() int { return 1 }

// Chance is the loss of one probability for all classes.
func (s Supervised) Chance(int) float64 { return math.Log(float64(s.Classes)) }

// Loss builds the cross-entropy; the logits are a metric.
func (s Supervised) Loss(b *train.Builder) *op.Node {
	scope := b.Scope(NameEncoder)
	if s.Freeze {
		scope = b.EvalScope(NameEncoder)
	}
	x, share := b.Views(), (*op.Node)(nil)
	if s.Mixup > 0 || s.CutMix > 0 {
		x, share = s.mix(b, x)
	}
	h := s.Encoder.Forward(scope, x)
	if s.Freeze {
		h = op.StopGradient(h)
	}
	logits := models.Linear(b.Scope(NameClassifier), h, s.Classes, true)
	b.Metric("logits", logits)
	loss := CrossEntropyOptions{Smoothing: s.Smoothing}
	own := loss.Mean(logits, b.Labels())
	if share == nil {
		return own
	}
	rest := op.Sub(b.Graph.Scalar(1), share)
	return op.Add(op.Mul(own, share), op.Mul(loss.Mean(logits, next(b.Labels(), b.N)), rest))
}

// mix returns the images x: [N, C, H, W] mixed with their neighbours, and the share
// of each that is its own: a scalar.
func (s Supervised) mix(b *train.Builder, x *op.Node) (mixed, share *op.Node) {
	if x == nil {
		return nil, nil
	}
	height, width := x.Dims[2], x.Dims[3]
	// 1 where a pixel is the image's own, 0 where it is its neighbour's; between them
	// for mixup.
	mask := b.Feed("mix", op.Dims(1, 1, height, width), func(at train.Step, data []float32) {
		r := at.Rand("mix")
		if s.CutMix > 0 {
			box(data, height, width, beta(r, s.CutMix), r)
			return
		}
		own := float32(beta(r, s.Mixup))
		for i := range data {
			data[i] = own
		}
	})
	other := op.Sub(b.Graph.Scalar(1), mask)
	return op.Add(op.Mul(x, mask), op.Mul(next(x, b.N), other)), op.Mean(mask, false)
}

// next moves each of n rows up by one, the first to the end.
func next(x *op.Node, n int) *op.Node {
	return op.Concat(0, op.Slice(x, 0, 1, n), op.Slice(x, 0, 0, 1))
}

// box fills a mask [height, width] with ones but for a box of zeros, whose area is 1 -
// own of it, anywhere; what reaches over the border is cut off.
func box(mask []float32, height, width int, own float64, r *rand.Rand) {
	side := math.Sqrt(1 - own)
	h, w := int(float64(height)*side), int(float64(width)*side)
	top, left := r.IntN(height)-h/2, r.IntN(width)-w/2
	for y := range height {
		for x := range width {
			mask[y*width+x] = 1
			if y >= top && y < top+h && x >= left && x < left+w {
				mask[y*width+x] = 0
			}
		}
	}
}

// beta draws from Beta(a, a): the share of one of two gamma variables.
func beta(r *rand.Rand, a float64) float64 {
	x, y := gamma(r, a), gamma(r, a)
	if x+y == 0 { // both too small for a float64: one of the ends
		return float64(r.IntN(2))
	}
	return x / (x + y)
}

// gamma draws from Gamma(a, 1) by Marsaglia and Tsang (2000).
func gamma(r *rand.Rand, a float64) float64 {
	if a < 1 {
		return gamma(r, a+1) * math.Pow(r.Float64(), 1/a)
	}
	d := a - 1.0/3
	for {
		x := r.NormFloat64()
		v := math.Pow(1+x/math.Sqrt(9*d), 3)
		if v > 0 && math.Log(r.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
