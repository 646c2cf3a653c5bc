// Package knn classifies feature vectors by their weighted nearest neighbours,
// the usual label-based measure of a self-supervised encoder that trains nothing.
//
// The protocol is that of Wu et al., "Unsupervised Feature Learning via
// Non-Parametric Instance Discrimination" (CVPR 2018,
// https://arxiv.org/abs/1805.01978): similarity S is the cosine of two vectors,
// each of the k most similar training vectors votes for its class with weight
// exp(S/T), and the class with the largest sum wins. k is 200 and T is 0.1 by
// default. Ties go to the lower training index and to the lower class.
//
// Vectors are rows of flat slices in C order. Accuracies are shares from 0 to 1.
package knn

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Options are the settings of the protocol; the zero value is the usual one.
type Options struct {
	K           int     // neighbours that vote; 0 is 200; more than there are means all
	Temperature float64 // T; 0 is 0.1
	Classes     int     // number of classes; 0 is the largest training label plus 1
}

// Classifier holds labelled training vectors. It is safe for concurrent use.
type Classifier struct {
	index       *Index
	labels      []int
	classes, k  int
	temperature float64
}

// New returns a classifier of the training vectors.
//
//	train: [N, dim], copied and scaled to length 1
//	labels: [N], from 0 to the number of classes less 1
func New(train []float32, labels []int, dim int, opt Options) (*Classifier, error) {
	if opt.K < 0 || opt.Classes < 0 || opt.Temperature < 0 || math.IsNaN(opt.Temperature) || math.IsInf(opt.Temperature, 0) {
		return nil, fmt.Errorf("knn: got k %d, temperature %v, %d classes, want none negative", opt.K, opt.Temperature, opt.Classes)
	}
	index, err := NewIndex(train, dim)
	if err != nil {
		return nil, err
	}
	if len(labels) != index.Len() {
		return nil, fmt.Errorf("knn: got %d labels for %d training vectors", len(labels), index.Len())
	}
	if index.Len() == 0 {
		return nil, errors.New("knn: no training vectors")
	}
	c := &Classifier{
		index:       index,
		labels:      slices.Clone(labels),
		classes:     opt.Classes,
		k:           opt.K,
		temperature: opt.Temperature,
	}
	if c.classes == 0 {
		c.classes = slices.Max(labels) + 1
	}
	for i, l := range labels {
		if l < 0 || l >= c.classes {
			return nil, fmt.Errorf("knn: training vector %d: got label %d, want 0 to %d", i, l, c.classes-1)
		}
	}
	if c.k == 0 {
		c.k = 200
	}
	c.k = min(c.k, index.Len())
	if c.temperature == 0 {
		c.temperature = 0.1
	}
	return c, nil
}

// Protocol describes the measure in one line, to be printed next to its number.
func (c *Classifier) Protocol() string {
	return fmt.Sprintf("k-nearest neighbours, cosine, k %d, weights exp(s/%g), %d training images, %d classes",
		c.k, c.temperature, c.index.Len(), c.classes)
}

// Classes returns the number of classes.
func (c *Classifier) Classes() int { return c.classes }

// Votes returns each class's share of the votes.
//
//	x: [M, dim]
//	result: [M, Classes()], rows sum to 1
func (c *Classifier) Votes(x []float32) ([]float64, error) {
	votes := make([]float64, len(x)/c.index.dim*c.classes)
	err := c.index.search(x, c.k, func(i int, found []Neighbour) {
		c.vote(votes[i*c.classes:(i+1)*c.classes], found)
	})
	if err != nil {
		return nil, err
	}
	return votes, nil
}

// vote adds up the votes of the neighbours found, nearest first. Weights are
// taken relative to the nearest one, which cancels in the shares and keeps
// exp(S/T) finite for every T.
func (c *Classifier) vote(votes []float64, found []Neighbour) {
	var sum float64
	for _, n := range found {
		w := math.Exp((n.Similarity - found[0].Similarity) / c.temperature)
		votes[c.labels[n.Index]] += w
		sum += w
	}
	for i := range votes {
		votes[i] /= sum
	}
}

// Predict returns the winning class of each vector.
//
//	x: [M, dim]
//	result: [M]
func (c *Classifier) Predict(x []float32) ([]int, error) {
	votes, err := c.Votes(x)
	if err != nil {
		return nil, err
	}
	out := make([]int, len(votes)/c.classes)
	for i := range out {
		out[i] = argmax(votes[i*c.classes : (i+1)*c.classes])
	}
	return out, nil
}

func argmax(x []float64) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

// Result is what Evaluate measured.
type Result struct {
	Accuracy float64 // share of test vectors whose winning class is right
	Top5     float64 // share whose class is among the five with most votes
	Tested   int     // number of test vectors
	Protocol string
}

// Evaluate classifies test vectors and compares with their labels.
//
//	x: [M, dim]
//	labels: [M]; a label that no training vector has counts as an error of the classifier
func (c *Classifier) Evaluate(x []float32, labels []int) (Result, error) {
	votes, err := c.Votes(x)
	if err != nil {
		return Result{}, err
	}
	n := len(votes) / c.classes
	if len(labels) != n {
		return Result{}, fmt.Errorf("knn: got %d labels for %d test vectors", len(labels), n)
	}
	if n == 0 {
		return Result{}, errors.New("knn: no test vectors")
	}
	first, five := 0, 0
	for i, label := range labels {
		if label < 0 {
			return Result{}, fmt.Errorf("knn: test vector %d has no label", i)
		}
		switch rank(votes[i*c.classes:(i+1)*c.classes], label) {
		case 0:
			first++
			five++
		case 1, 2, 3, 4:
			five++
		}
	}
	return Result{
		Accuracy: float64(first) / float64(n),
		Top5:     float64(five) / float64(n),
		Tested:   n,
		Protocol: c.Protocol(),
	}, nil
}

// rank returns how many classes come before label by votes, then by number.
func rank(votes []float64, label int) int {
	if label >= len(votes) {
		return len(votes)
	}
	before := 0
	for i, v := range votes {
		if v > votes[label] || (v == votes[label] && i < label) {
			before++
		}
	}
	return before
}
