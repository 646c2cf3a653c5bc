package main

import (
	"strings"

	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/models/op"
)

// pixelErrors are the errors of reconstructions by the word that a variant starts
// with.
var pixelErrors = map[string]func(pred, target *op.Node) *op.Node{
	"mse":         objective.SquaredError,
	"l1":          objective.AbsoluteError,
	"smooth_l1":   func(p, t *op.Node) *op.Node { return objective.SmoothL1(p, t, 1) },
	"huber":       func(p, t *op.Node) *op.Node { return op.Scale(objective.SmoothL1(p, t, 0.5), 0.5) },
	"charbonnier": func(p, t *op.Node) *op.Node { return objective.Charbonnier(p, t, 1e-6) },
	"bce":         objective.BinaryCrossEntropy,
	"bce_logits":  objective.BinaryCrossEntropyLogits,
}

// buildReconstruction reads variants such as "mse_mean", "bce_sum_per_sample",
// "bce_logits_extreme" and "bce with exact 0/1 predictions".
func buildReconstruction(b *build) (outputs, error) {
	variant, err := variantOf(b)
	if err != nil {
		return nil, err
	}
	word, _, _ := strings.Cut(variant, " ")
	word = strings.TrimSuffix(word, "_extreme")
	word = strings.TrimSuffix(word, "_mean")
	word, perSample := strings.CutSuffix(word, "_sum_per_sample")
	f := pixelErrors[word]
	if f == nil {
		return nil, uncovered("no variant %q", variant)
	}
	name := "pred"
	if word == "bce_logits" {
		name = "logits"
	}
	in, err := b.all(name, "target")
	if err != nil {
		return nil, err
	}
	errors := f(in[0], in[1])
	switch {
	case perSample:
		return outputs{"loss": objective.PerImage(errors)}, nil
	case len(b.a.shape("loss")) > 0:
		return outputs{"loss": errors}, nil
	}
	return outputs{"loss": op.Mean(errors, false)}, nil
}

func buildSSIM(b *build) (outputs, error) {
	p := struct {
		Window  int     `json:"win"`
		Sigma   float64 `json:"sigma"`
		Range   float64 `json:"L"`
		K1, K2  float64
		Padding string
		Uniform bool
	}{Padding: "valid"}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	if p.Padding != "valid" && p.Padding != "same" {
		return nil, uncovered("no padding %q", p.Padding)
	}
	in, err := b.all("x", "y")
	if err != nil {
		return nil, err
	}
	o := objective.SSIM{Window: p.Window, Sigma: p.Sigma, Uniform: p.Uniform, Range: p.Range, K1: p.K1, K2: p.K2, Padded: p.Padding == "same"}
	return outputs{"loss": o.Loss(in[0], in[1]), "ssim_map": o.Map(in[0], in[1])}, nil
}
