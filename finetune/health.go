package finetune

import (
	"context"
	"fmt"
	"math"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/finetune/train"
)

// EffectiveRank tells how many directions embeddings x: [n, dim] really use: the
// exponential of the entropy of their singular values, made to sum to 1 (RankMe,
// Garrido et al., 2023). It is 1 when all point the same way and at most min(n,
// dim); NaN when it is not defined.
func EffectiveRank(x []float32, dim int) float64 {
	rank, err := metrics.RankMe(x, dim)
	if err != nil {
		return math.NaN()
	}
	return rank
}

// Bounds beyond which a run is said to collapse. Measured after one short epoch of
// SimCLR on Fashion-MNIST: healthy runs have a uniformity near -2.8 and a loss of 0.93
// of chance, a learning rate 5,000 times too high gives -1.2 and 0.96, a
// temperature of 1,000 a loss of 1.00.
const (
	collapsedLoss       = 0.985 // of what chance gives
	collapsedUniformity = -1.5  // 0: all the same
	collapsedRank       = 2.0

	// healthSteps are the steps before which nothing can be said.
	healthSteps = 20
)

// collapse says what shows that a run collapses, from the metrics of an epoch;
// empty if nothing does.
func collapse(metrics map[string]float64, chance float64) string {
	loss := metrics[train.OutputLoss]
	rank, hasRank := metrics[metricRank]
	uniformity, hasUniformity := metrics["uniformity"]
	switch {
	case hasUniformity && uniformity > collapsedUniformity:
		return fmt.Sprintf("the projections crowd together (uniformity %.2f; a healthy run is below -2, 0 is a point)", uniformity)
	case hasRank && rank < collapsedRank:
		return fmt.Sprintf("the embeddings use %.1f directions", rank)
	case chance > 0 && loss > collapsedLoss*chance:
		return fmt.Sprintf("the loss %.4f is no better than chance, %.4f", loss, chance)
	}
	return ""
}

// checkHealth warns of a collapse after an epoch.
func (t *trainer) checkHealth(metrics map[string]float64) {
	if t.at.Step < healthSteps || t.Config.autoencodes() { // whose loss shows it
		return
	}
	chance := 0.0
	if o, err := t.Config.Objective(); err == nil {
		if c, ok := o.(train.Chancer); ok {
			chance = c.Chance(t.Config.BatchSize)
		}
	}
	if why := collapse(metrics, chance); why != "" {
		c := &t.Config
		t.warn("warning: the run is collapsing: %s; try a lower learning rate (it is %g), a temperature between 0.05 and 1 (it is %g), or a larger batch", why, c.LR, c.Temperature)
	}
}

// diagnose names the layer where a step first gave NaN or an infinite value.
func (t *trainer) diagnose(ctx context.Context, in engine.Tensors) string {
	t.warn("the loss is not a number: running the step again on the Go machine to find the first layer that went bad")
	n, err := engine.FirstNonFinite(ctx, t.step.Function, t.program.Before(), in)
	switch {
	case err != nil:
		return fmt.Sprintf("the first bad layer was not found: %v", err)
	case n == nil:
		return "on the Go machine the step is finite"
	}
	return fmt.Sprintf("the first value to go bad is that of %v in layer %s", n.Op, engine.LayerOf(n))
}
