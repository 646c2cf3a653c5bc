package main

import (
	"context"
	"fmt"

	"github.com/sslrt/sslrt/finetune/knn"
	"github.com/sslrt/sslrt/finetune/linear"
	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/finetune/probe"
	"github.com/sslrt/sslrt/models/onnx"
)

// outcome is what a protocol gives: scores of the test images for each class, and how
// the classifier is written behind the encoder.
type outcome struct {
	protocol    string
	method      string
	logits      []float64 // [test images, classes]
	probability []float64 // the same shape
	temperature float64   // that calibrates; 1 for none
	variants    []variant // other settings, for a reader
	file        func(encoder *onnx.Model, f probe.File) (*onnx.Model, error)
}

// variant is the accuracy with other settings.
type variant struct {
	Name     string  `json:"settings"`
	Accuracy float64 `json:"accuracy"`
}

func (f *evaluateFlags) knn(ctx context.Context, s streams, l *labelledSets) (*outcome, error) {
	var out *outcome
	for _, k := range f.k {
		for _, t := range f.temperature {
			if err := ctx.Err(); err != nil {
				return nil, context.Cause(ctx)
			}
			c, err := knn.New(l.train.X, l.trainLabels, l.train.Dim, knn.Options{K: k, Temperature: t, Classes: len(l.classes)})
			if err != nil {
				return nil, err
			}
			votes, err := c.Votes(l.test.X)
			if err != nil {
				return nil, err
			}
			if out == nil {
				out = &outcome{protocol: c.Protocol(), method: "knn", logits: votes, probability: votes, temperature: 1,
					file: func(encoder *onnx.Model, file probe.File) (*onnx.Model, error) {
						return probe.KNNModel(encoder, l.train.X, l.trainLabels, l.train.Dim, k, t, file)
					}}
			}
			accuracy, err := metrics.TopK(votes, len(l.classes), l.testLabels, 1)
			if err != nil {
				return nil, err
			}
			out.variants = append(out.variants, variant{fmt.Sprintf("k %d, temperature %g", k, t), accuracy})
		}
	}
	if len(out.variants) == 1 {
		out.variants = nil
	}
	return out, nil
}

func (f *evaluateFlags) linear(ctx context.Context, s streams, l *labelledSets) (*outcome, error) {
	bar := newProgress(s.err, "linear probe", "fits", 1)
	defer bar.close()
	p, err := probe.FitLinear(ctx, l.train.X, l.trainLabels, l.train.Dim, probe.LinearOptions{
		Classes: len(l.learned), C: f.penalties, Seed: f.seed,
		Progress: func(_ string, done, total int) { bar.of(total); bar.set(done) },
	})
	if err != nil {
		return nil, err
	}
	logits, err := linear.Logits(p.Model, l.test.X)
	if err != nil {
		return nil, err
	}
	all := len(l.classes)
	wide := widen(logits, len(l.learned), all)
	out := &outcome{protocol: p.Protocol(), method: "linear", logits: wide, temperature: p.Temperature,
		probability: metrics.Softmax(wide, all, p.Temperature),
		file: func(encoder *onnx.Model, file probe.File) (*onnx.Model, error) {
			return probe.LinearModel(encoder, p.Model, p.Temperature, file)
		}}
	for _, t := range p.Trials {
		out.variants = append(out.variants, variant{fmt.Sprintf("C %g, on %d held-back training images", t.C, p.Held), t.Accuracy})
	}
	return out, nil
}

// never is the score of what cannot be.
const never = -1e30

// widen adds columns for classes that were never seen: they get no score.
//
//	logits: [N, known]
//	result: [N, all]
func widen[F float32 | float64](logits []F, known, all int) []float64 {
	wide := make([]float64, len(logits)/known*all)
	for i := range wide {
		wide[i] = never
		if k := i % all; k < known {
			wide[i] = float64(logits[i/all*known+k])
		}
	}
	return wide
}
