package optim

import (
	"math"
	"strings"

	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models/op"
)

// EMA lets the weights of a target network follow those of an online one:
//
//	target = tau * target + (1 - tau) * online
//
// tau is Base, or with Cosine it rises from Base to 1 along half a cosine, as in
// BYOL (Grill et al., 2020): 1 - (1 - Base) * (cos(pi * t / T) + 1) / 2 at step t of
// T.
type EMA struct {
	Base   float64
	Cosine bool
}

// Tau returns tau at a step.
func (e EMA) Tau(s train.Step) float64 {
	if !e.Cosine {
		return e.Base
	}
	along := float64(s.Index) / float64(max(1, s.Total))
	return 1 - (1-e.Base)*(math.Cos(math.Pi*along)+1)/2
}

// Update gives each weight whose name starts with target its next value, from the
// current value of the weight that has online in that place. Called before the
// forward pass of the target network it is MoCo's order, called in Updater.Update
// BYOL's.
func (e EMA) Update(b *train.Builder, target, online string) {
	tau := b.Feed("ema."+target, op.Dims(), func(s train.Step, data []float32) { data[0] = float32(e.Tau(s)) })
	rest := op.Sub(b.Graph.Scalar(1), tau)
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
