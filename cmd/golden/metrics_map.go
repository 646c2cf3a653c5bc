package main

import (
	"context"

	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/finetune/project"
)

func runPCA(c *Case, a *arrays) (results, error) {
	var p struct {
		K int `json:"n_components"`
	}
	if err := c.params(&p); err != nil {
		return nil, err
	}
	x, dim, err := vectors(a, "x")
	if err != nil {
		return nil, err
	}
	m, err := project.FitPCA(context.Background(), x, dim, p.K)
	if err != nil {
		return nil, err
	}
	y, err := project.Transform(m, x)
	if err != nil {
		return nil, err
	}
	got := results{}
	got.set("mean", m.Mean...)
	got.set("components", m.Components...)
	got.set("explained_variance", m.Variance...)
	got.set("explained_variance_ratio", m.Share...)
	got.set("singular_values", m.Singular...)
	got.set("transformed", append([]float64(nil), y...)...)
	m.Whiten(y)
	got.set("whitened", y...)
	return got, nil
}

func runTSNEExact(c *Case, a *arrays) (results, error) {
	var p struct{ Perplexity float64 }
	if err := c.params(&p); err != nil {
		return nil, err
	}
	x, dim, err := vectors(a, "x")
	if err != nil {
		return nil, err
	}
	y, err := a.floats("y_embedding")
	if err != nil {
		return nil, err
	}
	joint, beta, err := project.Affinities(context.Background(), x, dim, p.Perplexity)
	if err != nil {
		return nil, err
	}
	kl, gradient := project.Divergence(joint, y)
	got := results{}
	got.set("beta", beta...)
	got.set("p_joint", joint...)
	got.set("kl", kl)
	got.set("grad_y", gradient...)
	return got, nil
}

// runTSNE makes a map of its own and judges how good it is, by the bounds of the case:
// t-SNE has many optima.
func runTSNE(c *Case, a *arrays) (results, error) {
	var p struct {
		Perplexity float64
		Iterations int `json:"n_iter"`
	}
	if err := c.params(&p); err != nil {
		return nil, err
	}
	x, dim, err := vectors(a, "x")
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	y, _, err := project.TSNE(ctx, x, dim, project.TSNEOptions{Perplexity: p.Perplexity, Iterations: p.Iterations})
	if err != nil {
		return nil, err
	}
	joint, _, err := project.Affinities(ctx, x, dim, p.Perplexity)
	if err != nil {
		return nil, err
	}
	kl, _ := project.Divergence(joint, y)
	trust, err := metrics.Trustworthiness(ctx, x, dim, y, 2, 5)
	if err != nil {
		return nil, err
	}
	if err := atLeast(-(c.extra("kl_max", 0)*1.1 + 0.02))(a, "minus the divergence", []float64{-kl}); err != nil {
		return nil, err
	}
	got := results{}
	got.judged("last_embedding", atLeast(c.extra("tw_min", 1)-0.02), trust)
	return got, nil
}

func runTrustworthiness(c *Case, a *arrays) (results, error) {
	x, dim, err := vectors(a, "x")
	if err != nil {
		return nil, err
	}
	y, mapDim, err := vectors(a, "embedding")
	if err != nil {
		return nil, err
	}
	got := results{}
	for name, k := range numbered(c, "trust") {
		v, err := metrics.Trustworthiness(context.Background(), x, dim, y, mapDim, int(k))
		if err != nil {
			return nil, err
		}
		got.set(name, v)
	}
	return got, nil
}
