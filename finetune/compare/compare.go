// Package compare measures embeddings by several tasks with one protocol for all, so
// that encoders, and what there is without one, stand beside each other in a table.
package compare

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/sslrt/sslrt/finetune/cluster"
	"github.com/sslrt/sslrt/finetune/knn"
	"github.com/sslrt/sslrt/finetune/linear"
	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/finetune/probe"
)

// Set is labelled embeddings.
type Set struct {
	X      []float32 // [N, Dim]
	Labels []int     // [N], from 0 to the number of classes less 1
	Dim    int
}

// Scores are the numbers of one encoder, each from 0 to 1, larger is better. NaN is
// what the data do not allow.
type Scores struct {
	KNN     float64 // accuracy of the nearest neighbours
	Linear  float64 // accuracy of a linear probe
	Few     float64 // the same with a hundredth of the labels
	Cluster float64 // accuracy of k-means on the test part, clusters matched to classes
	Anomaly float64 // AUROC of telling a class from all others, mean over the classes
}

// Tasks are the names of the scores, in their order.
var Tasks = []string{"knn", "linear", "linear_1pct", "cluster", "anomaly"}

// Values returns the scores in the order of Tasks.
func (s Scores) Values() []float64 {
	return []float64{s.KNN, s.Linear, s.Few, s.Cluster, s.Anomaly}
}

const (
	fewLabels    = 0.01
	anomalyNear  = 1
	anomalyLimit = 2000 // images of a class in the bank
)

// Protocol says how the scores are measured.
const Protocol = "frozen embeddings, the same for all: knn, cosine, k 200, T 0.1; linear, logistic regression on standardised embeddings, " +
	"penalty chosen on a fifth of the training part; linear_1pct, the same with 1 % of the labels, stratified, one image of a class at least; " +
	"cluster, k-means (10 restarts) on the test part with as many clusters as classes, accuracy under the best matching; " +
	"anomaly, one class is normal: a test image's score is its cosine distance to the nearest of the class's training images (2,000 at most), AUROC, mean over the classes"

// Measure runs all tasks. progress, unless nil, is told what is done.
func Measure(ctx context.Context, train, test Set, classes int, seed uint64, progress func(task string)) (Scores, error) {
	if classes < 2 {
		return Scores{}, errors.New("compare: want labelled images of two classes or more")
	}
	s := Scores{math.NaN(), math.NaN(), math.NaN(), math.NaN(), math.NaN()}
	for _, t := range []struct {
		name string
		run  func() (float64, error)
		to   *float64
	}{
		{"knn", func() (float64, error) { return neighbours(train, test, classes) }, &s.KNN},
		{"linear", func() (float64, error) { return probed(ctx, train, test, classes, seed) }, &s.Linear},
		{"linear_1pct", func() (float64, error) { return fewProbed(ctx, train, test, classes, seed) }, &s.Few},
		{"cluster", func() (float64, error) { return clustered(ctx, test, classes, seed) }, &s.Cluster},
		{"anomaly", func() (float64, error) { return anomalous(train, test, classes) }, &s.Anomaly},
	} {
		if progress != nil {
			progress(t.name)
		}
		v, err := t.run()
		if err != nil {
			return s, fmt.Errorf("compare: %s: %w", t.name, err)
		}
		*t.to = v
		if err := ctx.Err(); err != nil {
			return s, context.Cause(ctx)
		}
	}
	return s, nil
}

func neighbours(train, test Set, classes int) (float64, error) {
	c, err := knn.New(train.X, train.Labels, train.Dim, knn.Options{Classes: classes})
	if err != nil {
		return 0, err
	}
	r, err := c.Evaluate(test.X, test.Labels)
	return r.Accuracy, err
}

func probed(ctx context.Context, train, test Set, classes int, seed uint64) (float64, error) {
	p, err := probe.FitLinear(ctx, train.X, train.Labels, train.Dim, probe.LinearOptions{Classes: classes, Seed: seed})
	if err != nil {
		return 0, err
	}
	logits, err := linear.Logits(p.Model, test.X)
	if err != nil {
		return 0, err
	}
	return metrics.TopK(logits, classes, test.Labels, 1)
}

// fewProbed is NaN when a hundredth of the labels are one image of each class: then
// there is nothing to choose the penalty by.
func fewProbed(ctx context.Context, train, test Set, classes int, seed uint64) (float64, error) {
	kept, err := probe.Fraction(train.Labels, fewLabels, seed)
	if err != nil {
		return 0, err
	}
	few := pick(train, kept)
	if len(kept) <= classes {
		return math.NaN(), nil
	}
	return probed(ctx, few, test, classes, seed)
}

func clustered(ctx context.Context, test Set, classes int, seed uint64) (float64, error) {
	if len(test.Labels) < classes {
		return math.NaN(), nil
	}
	m, err := cluster.KMeans(ctx, test.X, test.Dim, cluster.KMeansOptions{K: classes, Seed: seed})
	if err != nil {
		return 0, err
	}
	a, err := metrics.NewAgreement(test.Labels, m.Labels)
	if err != nil {
		return 0, err
	}
	return a.Accuracy(), nil
}

// anomalous takes each class for the normal one in turn. A class that only one of the
// parts has is left out.
func anomalous(train, test Set, classes int) (float64, error) {
	sum, n := 0.0, 0
	for c := range classes {
		var bank []int
		for i, l := range train.Labels {
			if l == c && len(bank) < anomalyLimit {
				bank = append(bank, i)
			}
		}
		positive := make([]bool, len(test.Labels))
		others := 0
		for i, l := range test.Labels {
			if positive[i] = l != c; positive[i] {
				others++
			}
		}
		if len(bank) == 0 || others == 0 || others == len(positive) {
			continue
		}
		index, err := knn.NewIndex(pick(train, bank).X, train.Dim)
		if err != nil {
			return 0, err
		}
		found, err := index.Nearest(test.X, anomalyNear)
		if err != nil {
			return 0, err
		}
		scores := make([]float64, len(found))
		for i, near := range found {
			scores[i] = -near[0].Similarity
		}
		d, err := metrics.NewDetection(scores, positive)
		if err != nil {
			return 0, err
		}
		sum, n = sum+d.AUROC(), n+1
	}
	if n == 0 {
		return math.NaN(), nil
	}
	return sum / float64(n), nil
}

func pick(s Set, index []int) Set {
	out := Set{Dim: s.Dim}
	for _, i := range index {
		out.X = append(out.X, s.X[i*s.Dim:(i+1)*s.Dim]...)
		out.Labels = append(out.Labels, s.Labels[i])
	}
	return out
}
