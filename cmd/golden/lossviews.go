package main

import (
	"slices"

	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/models/op"
)

// Losses that compare views of images.

// fourOf builds a loss of the predictions and projections of two views.
func fourOf(f func(p1, p2, z1, z2 *op.Node) *op.Node) func(b *build) (outputs, error) {
	return func(b *build) (outputs, error) {
		in, err := b.all("p1", "p2", "z1", "z2")
		if err != nil {
			return nil, err
		}
		return outputs{"loss": f(in[0], in[1], in[2], in[3])}, nil
	}
}

// twoOf builds a loss of two inputs.
func twoOf(f func(a, b *op.Node) *op.Node, first, second string) func(b *build) (outputs, error) {
	return func(b *build) (outputs, error) {
		in, err := b.all(first, second)
		if err != nil {
			return nil, err
		}
		return outputs{"loss": f(in[0], in[1])}, nil
	}
}

func buildBarlow(b *build) (outputs, error) {
	p := struct {
		Lambda          float64 `json:"lambd"`
		Standardisation string
	}{0.0051, "biased"}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	o := objective.BarlowTwins{Lambda: p.Lambda}
	switch p.Standardisation {
	case "biased":
	case "unbiased":
		o.Unbiased = true
	case "bn_eps":
		o.Eps = 1e-5
	default:
		return nil, uncovered("no standardisation %q", p.Standardisation)
	}
	in, err := b.all("z1", "z2")
	if err != nil {
		return nil, err
	}
	on, off, c := o.Terms(in[0], in[1])
	return outputs{"loss": o.Loss(in[0], in[1]), "on_diag": on, "off_diag": off, "c": c}, nil
}

func buildVICReg(b *build) (outputs, error) {
	p := struct{ Inv, Var, Cov, Gamma, Eps float64 }{25, 25, 1, 1, 1e-4}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	in, err := b.all("z1", "z2")
	if err != nil {
		return nil, err
	}
	o := objective.VICReg{Invariance: p.Inv, Variance: p.Var, Covariance: p.Cov, Gamma: p.Gamma, Eps: p.Eps}
	i, v, c := o.Terms(in[0], in[1])
	return outputs{"loss": o.Loss(in[0], in[1]), "invariance": i, "variance": v, "covariance": c}, nil
}

// buildSupCon takes features [N, V, D], whose anchors go view by view.
func buildSupCon(b *build) (outputs, error) {
	p := struct {
		Temperature float64
		Base        float64 `json:"base_temperature"`
	}{0.07, 0.07}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	x, err := b.x("features")
	if err != nil {
		return nil, err
	}
	labels, err := b.labels("labels")
	if err != nil {
		return nil, err
	}
	values, err := b.a.ints("labels")
	if err != nil {
		return nil, err
	}
	n, views, d := x.Dims[0], x.Dims[1], x.Dims[2]
	z := op.Reshape(op.Transpose(x, 1, 0, 2), op.Dims(n*views, d))
	hot := op.OneHot(labels, int(slices.Max(values))+1)
	classes := op.Concat(0, slices.Repeat([]*op.Node{hot}, views)...)
	return outputs{"loss": objective.SupCon(z, classes, p.Temperature, p.Base),
		"per_anchor": objective.SupConRows(z, classes, p.Temperature)}, nil
}

func buildMoCo(b *build) (outputs, error) {
	var p struct {
		Temperature float64
		Before      *int `json:"ptr_before"`
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	in, err := b.all("q", "k", "queue")
	if err != nil {
		return nil, err
	}
	logits := objective.MoCoLogits(in[0], in[1], in[2], p.Temperature)
	out := outputs{"logits": logits, "loss": objective.MoCoLoss(logits)}
	if p.Before != nil {
		out["queue_after"] = objective.Enqueue(in[2], in[1], *p.Before)
	}
	return out, nil
}

// views splits [V, N, K] into V matrices.
func views(x *op.Node) []*op.Node {
	var out []*op.Node
	for v := range x.Dims[0] {
		out = append(out, op.Reshape(op.Slice(x, 0, v, v+1), op.Dims(x.Dims[1:]...)))
	}
	return out
}

func buildDINO(b *build) (outputs, error) {
	p := struct {
		Student  float64 `json:"temp_student"`
		Teacher  float64 `json:"temp_teacher"`
		Momentum float64 `json:"center_momentum"`
	}{0.1, 0.04, 0.9}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	in, err := b.all("student", "teacher", "center")
	if err != nil {
		return nil, err
	}
	o := objective.DINO{StudentTemperature: p.Student, TeacherTemperature: p.Teacher}
	return outputs{"loss": o.Loss(views(in[0]), views(in[1]), in[2]),
		"center_after": o.Center(in[2], views(in[1]), p.Momentum)}, nil
}

func buildSwAV(b *build) (outputs, error) {
	p := struct {
		Temperature, Epsilon float64
		Iterations           int `json:"sinkhorn_iterations"`
	}{0.1, 0.05, 3}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	in, err := b.all("z1", "z2", "prototypes")
	if err != nil {
		return nil, err
	}
	o := objective.SwAV{Temperature: p.Temperature, Epsilon: p.Epsilon, Iterations: p.Iterations}
	s1, s2 := o.Scores(in[0], in[2]), o.Scores(in[1], in[2])
	return outputs{"loss": o.Loss(s1, s2), "scores1": s1, "scores2": s2, "q1": o.Codes(s1), "q2": o.Codes(s2)}, nil
}

func buildSinkhorn(b *build) (outputs, error) {
	var p struct {
		Epsilon    float64
		Iterations int
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	s, err := b.x("scores")
	return outputs{"q": objective.Sinkhorn(s, p.Epsilon, p.Iterations)}, err
}
