package main

import (
	"fmt"

	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/models/op"
)

func buildLeakyReLU(b *build) (outputs, error) {
	var p struct {
		Slope *float64 `json:"negative_slope"`
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	slope := 0.01 // PyTorch's default
	if p.Slope != nil {
		slope = *p.Slope
	}
	return unary(func(x *op.Node) *op.Node { return op.LeakyReLU(x, slope) })(b)
}

func buildELU(b *build) (outputs, error) {
	p := struct{ Alpha float64 }{1}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	return unary(func(x *op.Node) *op.Node { return op.ELU(x, p.Alpha) })(b)
}

func buildSoftplus(b *build) (outputs, error) {
	p := struct{ Beta, Threshold float64 }{1, 20}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	if p.Threshold < 17 { // e^-17 is below half an ulp of what it is added to
		return nil, uncovered("no threshold %g", p.Threshold)
	}
	return unary(func(x *op.Node) *op.Node { return op.Softplus(x, p.Beta) })(b)
}

func buildLayerNorm(b *build) (outputs, error) {
	var p struct {
		Shape []int `json:"normalized_shape"`
		Eps   float64
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	x, err := b.x("x")
	if err != nil {
		return nil, err
	}
	affine, err := affineInputs(b, p.Shape)
	if err != nil {
		return nil, err
	}
	return outputs{"y": op.LayerNorm(x, affine[0], affine[1], p.Eps)}, nil
}

func buildGroupNorm(b *build) (outputs, error) {
	var p struct {
		Groups int `json:"num_groups"`
		Eps    float64
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	x, err := b.x("x")
	if err != nil {
		return nil, err
	}
	affine, err := affineInputs(b, x.Dims[1:2])
	if err != nil {
		return nil, err
	}
	return outputs{"y": op.GroupNorm(x, affine[0], affine[1], p.Groups, p.Eps)}, nil
}

func buildDropout(b *build) (outputs, error) {
	var p struct{ P float64 }
	if err := b.params(&p); err != nil {
		return nil, err
	}
	in, err := b.all("x", "mask")
	if err != nil {
		return nil, err
	}
	return outputs{"y": op.Dropout(in[0], in[1], p.P)}, nil
}

func buildCrossEntropy(b *build) (outputs, error) {
	var p struct {
		Reduction      string
		LabelSmoothing float64 `json:"label_smoothing"`
		IgnoreIndex    *int    `json:"ignore_index"`
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	logits, err := b.x("logits")
	if err != nil {
		return nil, err
	}
	k := logits.Dims[1]
	rows := logits // [N, K, ...] to one row for each label
	if n := len(logits.Dims); n > 2 {
		perm := []int{0}
		for i := 2; i < n; i++ {
			perm = append(perm, i)
		}
		rows = op.Reshape(op.Transpose(logits, append(perm, 1)...), op.Dims(logits.Size()/k, k))
	}
	probs, err := b.optional("target_probs")
	if err != nil {
		return nil, err
	}
	if probs != nil {
		if p.LabelSmoothing != 0 || p.Reduction != "" && p.Reduction != "mean" || len(logits.Dims) != 2 {
			return nil, uncovered("no options beside target probabilities")
		}
		return outputs{"loss": objective.SoftCrossEntropy(logits, probs)}, nil
	}
	target, err := b.labels("target")
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	weights, err := b.optional("class_weight")
	if err != nil {
		return nil, err
	}
	if i := p.IgnoreIndex; i != nil && *i >= 0 && *i < k { // a class: it weighs nothing
		if p.LabelSmoothing != 0 {
			return nil, uncovered("no smoothing beside an ignored class")
		}
		counted := make([]float32, k)
		for j := range counted {
			if j != *i {
				counted[j] = 1
			}
		}
		mask := b.g.Const(counted, k)
		if weights == nil {
			weights = mask
		} else {
			weights = op.Mul(weights, mask)
		}
	}
	o := objective.CrossEntropyOptions{Smoothing: p.LabelSmoothing, Weights: weights}
	labels := op.Reshape(target, op.Dims(target.Size()))
	switch p.Reduction {
	case "", "mean":
		return outputs{"loss": o.Mean(rows, labels)}, nil
	case "sum":
		loss, _ := o.Rows(rows, labels)
		return outputs{"loss": op.Sum(loss, false)}, nil
	case "none":
		loss, _ := o.Rows(rows, labels)
		return outputs{"loss": op.Reshape(loss, target.Shape)}, nil
	}
	return nil, uncovered("no reduction %q", p.Reduction)
}
