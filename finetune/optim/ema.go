package optim

import (
	"math"
	"strings"

	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// EMA lets the weights of a target network follow those of an online one:
//
//	target = tau * target + (1 - tau) * online
//
// tau is Base, or with Cosine it rises from Base to 1 along half a cosine, as in
// BYOL (Grill et al., 2020): 1 - (1 - Base) * (cos(pi * t / T) + 1) / 2 at step t of
// T. With Warmup it is at most (1 + t) / (10 + t), so that an average of few steps is
// not one of the initial weights.
type EMA struct {
	Base   float64
	Cosine bool
	Warmup bool
}

// Tau returns tau at a step.
func (e EMA) Tau(s train.Step) float64 {
	tau := e.Base
	if e.Cosine {
		along := float64(s.Index) / float64(max(1, s.Total))
		tau = 1 - (1-e.Base)*(math.Cos(math.Pi*along)+1)/2
	}
	if e.Warmup {
		tau = min(tau, float64(1+s.Index)/float64(10+s.Index))
	}
	return tau
}

// factors returns tau and 1 - tau of the step.
func (e EMA) factors(b *train.Builder, feed string) (tau, rest *op.Node) {
	tau = b.Feed(feed, op.Dims(), func(s train.Step, data []float32) { data[0] = float32(e.Tau(s)) })
	return tau, op.Sub(b.Graph.Scalar(1), tau)
}

// Update gives each weight whose name starts with target its next value, from the
// current value of the weight that has online in that place. Called before the
// forward pass of the target network it is MoCo's order, called in Updater.Update
// BYOL's.
func (e EMA) Update(b *train.Builder, target, online string) {
	tau, rest := e.factors(b, "ema."+target)
	for _, w := range b.Trainable() {
		name, ok := strings.CutPrefix(w.Name, target)
		if !ok {
			continue
		}
		source := b.Get(online + name)
		if source == nil {
			b.Graph.Fail("optim: EMA: %q follows %q, which does not exist", w.Name, online+name)
			return
		}
		b.Set(w.Name, op.Add(op.Mul(b.Get(w.Name), tau), op.Mul(source, rest)))
	}
}

// Averaged keeps a moving average of the weights that Next trains, beside them
// (Polyak and Juditsky, 1992), and of the running statistics of their layers: a
// network of averages normalises by what belongs to it. The averages are named
// models.AveragePrefix and the parameter, and start as the parameters do.
type Averaged struct {
	Next    train.Optimizer
	Average EMA
}

// Update adds the next optimiser's step, and the averages of what it gives.
func (o Averaged) Update(b *train.Builder, weights []models.Spec, grads []*op.Node) {
	layers, trained := map[string]bool{}, map[string]bool{}
	for _, w := range weights {
		trained[w.Name], layers[layerOf(w.Name)] = true, true
	}
	var follow []models.Spec
	for _, s := range b.Specs() { // before the optimiser adds its state
		if trained[s.Name] || !s.Trainable && layers[layerOf(s.Name)] {
			follow = append(follow, s)
		}
	}
	o.Next.Update(b, weights, grads)
	tau, rest := o.Average.factors(b, "ema.tau")
	scope := models.NewScope(b.Params, true)
	for _, s := range follow {
		name := models.AveragePrefix + s.Name
		old := scope.Buffer(name, s.Init, s.Node.Dims...)
		scope.SetBuffer(name, op.Add(op.Mul(old, tau), op.Mul(b.Get(s.Name), rest)))
	}
}

// layerOf is the name of a parameter without its last part.
func layerOf(name string) string { return name[:max(0, strings.LastIndexByte(name, '.'))] }
