package metrics

import (
	"fmt"
	"math"
)

// Confusion counts images by true class (row) and predicted class (column):
// [classes, classes].
type Confusion struct {
	Classes int
	Counts  []int
}

// NewConfusion counts pairs of a true and a predicted class, each from 0 to
// classes less 1.
func NewConfusion(truth, predicted []int, classes int) (*Confusion, error) {
	if len(truth) != len(predicted) || len(truth) == 0 {
		return nil, fmt.Errorf("metrics: confusion: got %d true and %d predicted classes, want as many of both and some", len(truth), len(predicted))
	}
	if classes < 1 {
		return nil, fmt.Errorf("metrics: confusion: got %d classes, want 1 or more", classes)
	}
	c := &Confusion{classes, make([]int, classes*classes)}
	for i, t := range truth {
		p := predicted[i]
		if t < 0 || t >= classes || p < 0 || p >= classes {
			return nil, fmt.Errorf("metrics: confusion: image %d is of class %d, predicted as %d, want 0 to %d", i, t, p, classes-1)
		}
		c.Counts[t*classes+p]++
	}
	return c, nil
}

// ClassReport is how well one class is told apart.
type ClassReport struct {
	Precision, Recall, F1 float64 // 0 where not defined
	Support               int     // images of the class
	Predicted             int     // images taken for it
}

// PerClass returns a report for each class.
func (c *Confusion) PerClass() []ClassReport {
	out := make([]ClassReport, c.Classes)
	for k := range out {
		r := &out[k]
		for j := range c.Classes {
			r.Support += c.Counts[k*c.Classes+j]
			r.Predicted += c.Counts[j*c.Classes+k]
		}
		hit := float64(c.Counts[k*c.Classes+k])
		if r.Predicted > 0 {
			r.Precision = hit / float64(r.Predicted)
		}
		if r.Support > 0 {
			r.Recall = hit / float64(r.Support)
		}
		if r.Predicted+r.Support > 0 {
			r.F1 = 2 * hit / float64(r.Predicted+r.Support)
		}
	}
	return out
}

// Report is how well all classes are told apart. Macro averages weigh the classes
// that occur, as a truth or as a prediction, the same.
type Report struct {
	Accuracy, BalancedAccuracy           float64 // balanced: the mean recall of the classes with images
	MacroPrecision, MacroRecall, MacroF1 float64
	WeightedF1                           float64 // by the images of each class
	CohenKappa                           float64 // 0: no better than chance; 0 if not defined
	Matthews                             float64 // multi-class correlation (Gorodkin, 2004); 0 if not defined
	Images                               int
}

// Report summarises the counts.
func (c *Confusion) Report() Report {
	var r Report
	occurring, withImages, hits := 0.0, 0.0, 0.0
	var chance, predicted2, support2 float64 // sums of products of the marginals
	for k, class := range c.PerClass() {
		r.Images += class.Support
		hits += float64(c.Counts[k*c.Classes+k])
		s, p := float64(class.Support), float64(class.Predicted)
		chance, predicted2, support2 = chance+s*p, predicted2+p*p, support2+s*s
		if class.Support+class.Predicted > 0 {
			occurring++
		}
		if class.Support > 0 {
			withImages++
		}
		r.MacroPrecision += class.Precision
		r.MacroRecall += class.Recall
		r.MacroF1 += class.F1
		r.WeightedF1 += class.F1 * s
	}
	n := float64(r.Images)
	r.Accuracy = hits / n
	r.BalancedAccuracy = r.MacroRecall / withImages
	r.MacroPrecision /= occurring
	r.MacroRecall /= occurring
	r.MacroF1 /= occurring
	r.WeightedF1 /= n
	if free := n*n - chance; free > 0 {
		r.CohenKappa = (hits*n - chance) / free
	}
	if d := math.Sqrt(n*n-predicted2) * math.Sqrt(n*n-support2); d > 0 {
		r.Matthews = (hits*n - chance) / d
	}
	return r
}

// TopK is the share of images whose class is among the k with the highest scores;
// of equal scores the lower class counts as higher.
//
//	scores: [N, classes]
//	labels: [N]
func TopK[F Float](scores []F, classes int, labels []int, k int) (float64, error) {
	if err := checkScores("top k", scores, classes, labels); err != nil {
		return 0, err
	}
	if k < 1 {
		return 0, fmt.Errorf("metrics: top k: got k %d, want 1 or more", k)
	}
	hits := 0
	for i, label := range labels {
		row := scores[i*classes : (i+1)*classes]
		before := 0
		for j, s := range row {
			if s > row[label] || s == row[label] && j < label {
				before++
			}
		}
		if before < k {
			hits++
		}
	}
	return float64(hits) / float64(len(labels)), nil
}

// Argmax returns the class with the highest score of each row, the lower one of
// equals. scores: [N, classes].
func Argmax[F Float](scores []F, classes int) []int {
	out := make([]int, len(scores)/classes)
	for i := range out {
		row := scores[i*classes : (i+1)*classes]
		for j, s := range row {
			if s > row[out[i]] {
				out[i] = j
			}
		}
	}
	return out
}

// Softmax returns the probabilities of logits divided by a temperature: [N, classes].
func Softmax[F Float](logits []F, classes int, temperature float64) []float64 {
	out := make([]float64, len(logits))
	for lo := 0; lo < len(logits); lo += classes {
		row := logits[lo : lo+classes]
		top := float64(row[0])
		for _, v := range row {
			top = max(top, float64(v))
		}
		sum := 0.0
		for j, v := range row {
			out[lo+j] = math.Exp((float64(v) - top) / temperature)
			sum += out[lo+j]
		}
		for j := range row {
			out[lo+j] /= sum
		}
	}
	return out
}

// NLL is the mean negative log-likelihood of softmax(logits / temperature), in nats.
//
//	logits: [N, classes]
func NLL[F Float](logits []F, classes int, labels []int, temperature float64) (float64, error) {
	if err := checkScores("likelihood", logits, classes, labels); err != nil {
		return 0, err
	}
	if !(temperature > 0) {
		return 0, fmt.Errorf("metrics: likelihood: got temperature %g, want more than 0", temperature)
	}
	return nll(logits, classes, labels, temperature), nil
}

func nll[F Float](logits []F, classes int, labels []int, temperature float64) float64 {
	total := 0.0
	for i, label := range labels {
		row := logits[i*classes : (i+1)*classes]
		top := float64(row[0])
		for _, v := range row {
			top = max(top, float64(v))
		}
		sum := 0.0
		for _, v := range row {
			sum += math.Exp((float64(v) - top) / temperature)
		}
		total += math.Log(sum) - (float64(row[label])-top)/temperature
	}
	return total / float64(len(labels))
}

// Brier is the mean over images of the squared distance of the probabilities from
// the truth, summed over classes: 0 to 2.
//
//	probability: [N, classes]
func Brier[F Float](probability []F, classes int, labels []int) (float64, error) {
	if err := checkScores("Brier score", probability, classes, labels); err != nil {
		return 0, err
	}
	sum := 0.0
	for i, label := range labels {
		for j, p := range probability[i*classes : (i+1)*classes] {
			d := float64(p)
			if j == label {
				d--
			}
			sum += d * d
		}
	}
	return sum / float64(len(labels)), nil
}

// AUROCOneVsRest is the mean over classes of the AUROC of telling that class from
// all others. Every class needs images.
func AUROCOneVsRest[F Float](scores []F, classes int, labels []int) (float64, error) {
	if err := checkScores("AUROC", scores, classes, labels); err != nil {
		return 0, err
	}
	column, positive, sum := make([]F, len(labels)), make([]bool, len(labels)), 0.0
	for k := range classes {
		for i, label := range labels {
			column[i], positive[i] = scores[i*classes+k], label == k
		}
		d, err := NewDetection(column, positive)
		if err != nil {
			return 0, fmt.Errorf("metrics: AUROC of class %d: %w", k, err)
		}
		sum += d.AUROC()
	}
	return sum / float64(classes), nil
}

// checkScores checks scores: [N, classes] and their labels.
func checkScores[F Float](what string, scores []F, classes int, labels []int) error {
	n, err := rows(what, scores, classes)
	if err != nil {
		return err
	}
	if len(labels) != n || n == 0 {
		return fmt.Errorf("metrics: %s: got %d labels for %d rows of scores, want as many and some", what, len(labels), n)
	}
	for i, l := range labels {
		if l < 0 || l >= classes {
			return fmt.Errorf("metrics: %s: image %d is of class %d, want 0 to %d", what, i, l, classes-1)
		}
	}
	return nil
}
