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

// Signs of a collapse, beside what the run's first batch showed. Measured after one
// short epoch of SimCLR on Fashion-MNIST and CIFAR-10, widths 0.05 to 0.125, 23 to 187
// steps. The effective rank is 0.5 to 0.95 of what it was in runs that learn, at
// temperatures from 0.07 to 1, and 0.19 to 0.35 with a learning rate 1,000 times too
// high. A temperature of 10 and more leaves the loss at 0.998 of chance, where it
// began; 0.01 makes it 8 times that. Slow runs that learn were at 0.995. Uniformity
// tells little: low temperatures that learn well crowd to -1, linear heads begin at
// -0.4.
const (
	collapsedRank       = 0.4   // of what it was at first, in the first epoch
	collapsedRankLater  = 0.2   // in those that follow
	collapsedUniformity = -0.4  // and more crowded than at first; 0: a point
	collapsedLoss       = 0.997 // of chance, and no less than at first
	explodedLoss        = 5.0   // of chance

	// healthSteps are the steps before which nothing can be said.
	healthSteps = 20
)

// collapse says what shows that a run collapses, from the metrics of an epoch and of
// the run's first batch; empty if nothing does. chance is the loss of a network that
// has learnt nothing, 0 if unknown.
func collapse(epoch int, metrics, start map[string]float64, chance float64) string {
	loss, lossAtFirst := metrics[train.OutputLoss], start[train.OutputLoss]
	rank, hasRank := metrics[metricRank]
	uniformity, hasUniformity := metrics["uniformity"]
	share := collapsedRank
	if epoch > 1 {
		share = collapsedRankLater
	}
	switch {
	case hasUniformity && uniformity > collapsedUniformity && uniformity > start["uniformity"]+0.3:
		return fmt.Sprintf("the projections crowd together (uniformity %.2f, at first %.2f; 0 is a point)", uniformity, start["uniformity"])
	case hasRank && rank < max(2, share*start[metricRank]):
		return fmt.Sprintf("the embeddings use few directions (effective rank %.1f, at first %.1f)", rank, start[metricRank])
	case chance > 0 && loss > explodedLoss*chance:
		return fmt.Sprintf("the loss %.4f is %.0f times what chance gives, %.4f", loss, loss/chance, chance)
	case chance > 0 && loss > collapsedLoss*chance && loss < chance/collapsedLoss && loss > 0.98*lossAtFirst:
		return fmt.Sprintf("the loss %.4f is no better than chance, %.4f", loss, chance)
	}
	return ""
}

// checkHealth warns of a collapse after an epoch.
func (t *trainer) checkHealth(metrics map[string]float64) {
	c := &t.Config
	if t.at.Step < healthSteps || float64(t.at.Epoch) <= c.WarmupEpochs || c.autoencodes() { // whose loss shows it
		return
	}
	chance := 0.0
	if o, err := c.Objective(); err == nil {
		if o, ok := o.(train.Chancer); ok {
			chance = o.Chance(c.BatchSize)
		}
	}
	why := collapse(t.at.Epoch, metrics, t.at.start.means(), chance)
	if why == "" {
		return
	}
	advice := fmt.Sprintf("a lower learning rate (it is %g)", c.LR)
	if c.Method == MethodSimCLR {
		advice += fmt.Sprintf(", a temperature between 0.05 and 1 (it is %g), a larger batch (it is %d)", c.Temperature, c.BatchSize)
	}
	t.warn("warning: the run is collapsing: %s; try %s", why, advice)
}

// diagnose names the layer where a step first gave NaN or an infinite value.
func (t *trainer) diagnose(ctx context.Context, in engine.Tensors) string {
	t.warn("the loss is not a number: running the step again on the Go machine to find the first layer that went bad")
	n, err := t.step.FirstNonFinite(ctx, t.program.Before(), in)
	switch {
	case err != nil:
		return fmt.Sprintf("the first bad layer was not found: %v", err)
	case n == nil:
		return "on the Go machine the step is finite"
	}
	layer := engine.LayerOf(n)
	if layer == "" { // of a step in chunks, whose loss is a function of its own
		return fmt.Sprintf("the first value to go bad is that of %v in the loss", n.Op)
	}
	return fmt.Sprintf("the first value to go bad is that of %v in layer %s", n.Op, layer)
}
