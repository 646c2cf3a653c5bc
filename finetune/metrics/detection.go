package metrics

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Detection measures scores that should be high for positives: anomalies, defects.
// A threshold t calls everything positive whose score is t or more. It holds one
// point for every distinct score.
type Detection struct {
	points    []operating // by falling threshold
	pos, neg  int
	positives float64 // pos, as a divisor
	negatives float64
}

// operating is what a threshold gives.
type operating struct {
	threshold float64
	tp, fp    int
}

// NewDetection sorts the scores once.
//
//	scores: [N], any finite or infinite number
//	positive: [N], with both values
func NewDetection[F Float](scores []F, positive []bool) (*Detection, error) {
	if len(scores) != len(positive) {
		return nil, fmt.Errorf("metrics: detection: got %d scores, %d labels", len(scores), len(positive))
	}
	order := make([]int, len(scores))
	for i, s := range scores {
		if s != s {
			return nil, fmt.Errorf("metrics: detection: score %d is not a number", i)
		}
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	d := &Detection{}
	for k, i := range order {
		if positive[i] {
			d.pos++
		} else {
			d.neg++
		}
		if k+1 == len(order) || scores[order[k+1]] != scores[i] {
			d.points = append(d.points, operating{float64(scores[i]), d.pos, d.neg})
		}
	}
	return d, d.finish()
}

func (d *Detection) finish() error {
	if d.pos == 0 || d.neg == 0 {
		return fmt.Errorf("metrics: detection: got %d positives and %d negatives, want some of both", d.pos, d.neg)
	}
	d.positives, d.negatives = float64(d.pos), float64(d.neg)
	return nil
}

// ROC returns the curve of false against true positive rates, from (0, 0) to
// (1, 1): one point per distinct score, none left out.
func (d *Detection) ROC() (fpr, tpr []float64) {
	fpr, tpr = []float64{0}, []float64{0}
	for _, p := range d.points {
		fpr = append(fpr, float64(p.fp)/d.negatives)
		tpr = append(tpr, float64(p.tp)/d.positives)
	}
	return fpr, tpr
}

// AUROC is the area under the ROC curve: the chance that a positive scores higher
// than a negative, ties counting half.
func (d *Detection) AUROC() float64 {
	area, last := 0.0, operating{}
	for _, p := range d.points {
		area += float64(p.fp-last.fp) * float64(p.tp+last.tp) / 2
		last = p
	}
	return area / d.positives / d.negatives
}

// PartialAUROC is the area up to a false positive rate, scaled so that chance is
// 0.5 and perfect is 1 (McClish, 1989). maxFPR is more than 0 and at most 1.
func (d *Detection) PartialAUROC(maxFPR float64) (float64, error) {
	if !(maxFPR > 0 && maxFPR <= 1) {
		return 0, fmt.Errorf("metrics: partial AUROC: got a limit of %g, want more than 0 and at most 1", maxFPR)
	}
	fpr, tpr := d.ROC()
	area := areaUpTo(fpr, tpr, maxFPR)
	least := maxFPR * maxFPR / 2
	if maxFPR == 1 {
		return area, nil
	}
	return (1 + (area-least)/(maxFPR-least)) / 2, nil
}

// areaUpTo integrates y over x from x[0] to limit by trapezoids, with linear
// interpolation at the limit. x rises.
func areaUpTo(x, y []float64, limit float64) float64 {
	area := 0.0
	for i := 1; i < len(x); i++ {
		if x[i] > limit {
			at := y[i-1] + (y[i]-y[i-1])*(limit-x[i-1])/(x[i]-x[i-1])
			return area + (limit-x[i-1])*(y[i-1]+at)/2
		}
		area += (x[i] - x[i-1]) * (y[i-1] + y[i]) / 2
	}
	return area
}

// AveragePrecision is the precision at each threshold weighted by the rise of
// recall, without interpolation. It is what "AUPR" means here.
func (d *Detection) AveragePrecision() float64 {
	sum, last := 0.0, 0
	for _, p := range d.points {
		sum += float64(p.tp-last) / d.positives * float64(p.tp) / float64(p.tp+p.fp)
		last = p.tp
	}
	return sum
}

// PRTrapezoid is the area under the precision-recall curve by trapezoids, from
// (recall 0, precision 1); it is more hopeful than AveragePrecision.
func (d *Detection) PRTrapezoid() float64 {
	area, recall, precision := 0.0, 0.0, 1.0
	for _, p := range d.points {
		r, q := float64(p.tp)/d.positives, float64(p.tp)/float64(p.tp+p.fp)
		area += (r - recall) * (precision + q) / 2
		recall, precision = r, q
	}
	return area
}

// F1Max returns the best F1 of all thresholds and the lowest one that gives it.
func (d *Detection) F1Max() (f1, threshold float64) {
	f1 = -1
	for _, p := range d.points {
		if f := d.f1(p); f >= f1 {
			f1, threshold = f, p.threshold
		}
	}
	return f1, threshold
}

func (d *Detection) f1(p operating) float64 {
	return 2 * float64(p.tp) / float64(p.tp+p.fp+d.pos)
}

// FPRAtTPR is the smallest false positive rate of a threshold that finds at least
// that share of the positives: 0.95 usually.
func (d *Detection) FPRAtTPR(tpr float64) (float64, error) {
	for _, p := range d.points {
		if float64(p.tp)/d.positives >= tpr {
			return float64(p.fp) / d.negatives, nil
		}
	}
	return 0, fmt.Errorf("metrics: false positive rate: no threshold finds %g of the positives, want a share up to 1", tpr)
}

// Decided is what one threshold decides.
type Decided struct {
	TP, FP, TN, FN            int
	Accuracy, Precision, F1   float64
	Recall, FalsePositiveRate float64
}

// At measures one threshold. Precision is 0 when nothing is called positive.
func (d *Detection) At(threshold float64) (Decided, error) {
	if math.IsNaN(threshold) {
		return Decided{}, errors.New("metrics: detection: the threshold is not a number")
	}
	var at operating
	for _, p := range d.points {
		if p.threshold < threshold {
			break
		}
		at = p
	}
	r := Decided{TP: at.tp, FP: at.fp, TN: d.neg - at.fp, FN: d.pos - at.tp, F1: d.f1(at)}
	r.Accuracy = float64(r.TP+r.TN) / float64(d.pos+d.neg)
	r.Recall = float64(r.TP) / d.positives
	r.FalsePositiveRate = float64(r.FP) / d.negatives
	if called := r.TP + r.FP; called > 0 {
		r.Precision = float64(r.TP) / float64(called)
	}
	return r, nil
}
