package main

import (
	"fmt"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/knn"
)

func runMetric(c *Case, _ engine.Machine) error {
	switch c.Op {
	case "knn":
		return runKNN(c)
	}
	return uncovered("no such metric yet")
}

func runKNN(c *Case) error {
	var p struct {
		K, Classes int
		T          float64
		Similarity string
	}
	if err := c.params(&p); err != nil {
		return err
	}
	if p.Similarity != "" && p.Similarity != "cosine" {
		return uncovered("no similarity %q", p.Similarity)
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	var x [2][]float32
	var y [2][]int
	for i, part := range []string{"train", "test"} {
		if x[i], err = a.floats32(part + "_x"); err != nil {
			return err
		}
		labels, err := a.ints(part + "_y")
		if err != nil {
			return err
		}
		for _, l := range labels {
			y[i] = append(y[i], int(l))
		}
	}
	dim := a.shape("train_x")[1]
	classifier, err := knn.New(x[0], y[0], dim, knn.Options{K: p.K, Temperature: p.T, Classes: p.Classes})
	if err != nil {
		return err
	}
	result, err := classifier.Evaluate(x[1], y[1])
	if err != nil {
		return err
	}
	votes, err := classifier.Votes(x[1])
	if err != nil {
		return err
	}
	predicted, err := classifier.Predict(x[1])
	if err != nil {
		return err
	}
	neighbours, err := nearest(a, x, dim)
	if err != nil {
		return err
	}
	got := map[string][]float64{
		"pred": toFloats(predicted), "votes_normalized": votes, "neighbours": neighbours,
		"top1": {result.Accuracy}, "top5": {result.Top5},
	}
	for _, out := range c.Outputs {
		if got[out] == nil {
			return uncovered("nothing computes its output %q", out)
		}
		if a.integer(out) {
			err = checkWithin(a, out, got[out], 0.5, 0)
		} else {
			err = c.check(a, out, got[out])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// nearest returns as many neighbours of each test vector as the case lists.
func nearest(a *arrays, x [2][]float32, dim int) ([]float64, error) {
	index, err := knn.NewIndex(x[0], dim)
	if err != nil {
		return nil, err
	}
	if !a.has("neighbours") {
		return nil, nil
	}
	k := a.shape("neighbours")[1]
	lists, err := index.Nearest(x[1], k)
	if err != nil {
		return nil, err
	}
	var out []float64
	for i, list := range lists {
		if len(list) != k {
			return nil, fmt.Errorf("neighbours: got %d of vector %d, want %d", len(list), i, k)
		}
		for _, n := range list {
			out = append(out, float64(n.Index))
		}
	}
	return out, nil
}

func toFloats(v []int) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}
