package metrics

import (
	"fmt"
	"math"
)

// Bin holds the images whose highest probability lies in (Low, High].
type Bin struct {
	Low, High  float64
	Count      int
	Accuracy   float64 // share predicted right; 0 if Count is
	Confidence float64 // mean highest probability; 0 if Count is
}

// Calibration tells how far confidence is from accuracy (Guo et al., "On Calibration
// of Modern Neural Networks", ICML 2017).
type Calibration struct {
	ECE  float64 // expected error: mean |accuracy - confidence| of the bins by their images
	MCE  float64 // of the worst bin that has images
	Bins []Bin   // of equal width
}

// Calibrate sorts images into bins by the highest probability; 15 bins are usual.
//
//	probability: [N, classes], 0 to 1
func Calibrate[F Float](probability []F, classes int, labels []int, bins int) (Calibration, error) {
	if err := checkScores("calibration", probability, classes, labels); err != nil {
		return Calibration{}, err
	}
	if bins < 1 {
		return Calibration{}, fmt.Errorf("metrics: calibration: got %d bins, want 1 or more", bins)
	}
	c := Calibration{Bins: make([]Bin, bins)}
	for b := range c.Bins {
		c.Bins[b].Low, c.Bins[b].High = float64(b)/float64(bins), float64(b+1)/float64(bins)
	}
	for i, k := range Argmax(probability, classes) {
		p := float64(probability[i*classes+k])
		if p < 0 || p > 1 {
			return Calibration{}, fmt.Errorf("metrics: calibration: image %d has probability %g, want 0 to 1", i, p)
		}
		at := min(max(int(math.Ceil(p*float64(bins)))-1, 0), bins-1)
		// Rounding must not move a probability over an edge.
		for at > 0 && p <= c.Bins[at].Low {
			at--
		}
		for at < bins-1 && p > c.Bins[at].High {
			at++
		}
		b := &c.Bins[at]
		b.Count++
		b.Confidence += p
		if k == labels[i] {
			b.Accuracy++
		}
	}
	for i := range c.Bins {
		b := &c.Bins[i]
		if b.Count == 0 {
			continue
		}
		b.Accuracy /= float64(b.Count)
		b.Confidence /= float64(b.Count)
		gap := math.Abs(b.Accuracy - b.Confidence)
		c.ECE += gap * float64(b.Count) / float64(len(labels))
		c.MCE = max(c.MCE, gap)
	}
	return c, nil
}

// Bounds of FitTemperature.
const (
	minTemperature = 0.01
	maxTemperature = 100
)

// FitTemperature returns the temperature from 0.01 to 100 whose softmax(logits / T)
// gives labels the highest likelihood, and the mean negative log-likelihood there
// (temperature scaling, Guo et al., 2017). The likelihood is concave in 1/T, so this
// is the only optimum. Fit it on images that the classifier was not trained on.
//
//	logits: [N, classes]
func FitTemperature[F Float](logits []F, classes int, labels []int) (temperature, loss float64, err error) {
	if err := checkScores("temperature", logits, classes, labels); err != nil {
		return 0, 0, err
	}
	at := func(logBeta float64) float64 { return nll(logits, classes, labels, math.Exp(-logBeta)) }
	// Golden section search: unimodal in 1/T is unimodal in its logarithm.
	ratio := (math.Sqrt(5) - 1) / 2
	lo, hi := math.Log(1.0/maxTemperature), math.Log(1/minTemperature)
	a, b := hi-ratio*(hi-lo), lo+ratio*(hi-lo)
	fa, fb := at(a), at(b)
	for hi-lo > 1e-7 {
		if fa <= fb {
			hi, b, fb = b, a, fa
			a = hi - ratio*(hi-lo)
			fa = at(a)
		} else {
			lo, a, fa = a, b, fb
			b = lo + ratio*(hi-lo)
			fb = at(b)
		}
	}
	mid := (lo + hi) / 2
	return math.Exp(-mid), at(mid), nil
}
