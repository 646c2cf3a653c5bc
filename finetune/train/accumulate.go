package train

import (
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// Names of what a step takes, and keeps, when gradients accumulate.
const (
	InputKeep  = "accumulate.keep"  // 0 with the first batch of a step, 1 with the others
	InputApply = "accumulate.apply" // 1 with the last batch of a step, 0 with the others

	accumulated = "optim.accumulated" // the sums of gradients so far, by weight
)

// accumulate lets update see the mean gradients of n batches. It is one graph for
// all of them, with the sums as state, so that a run can be stopped between any two:
// the sums start anew with a step's first batch, and what update sets becomes true
// with its last one. What the forward passes set, running statistics and queues,
// changes with each batch.
func (b *Builder) accumulate(n int, weights []models.Spec, grads []*op.Node, update func(mean []*op.Node)) {
	keep := b.Feed(InputKeep, op.Dims(), func(s Step, data []float32) {
		if s.Batch > 0 {
			data[0] = 1
		}
	})
	apply := b.Feed(InputApply, op.Dims(), func(s Step, data []float32) {
		if s.Batch == n-1 {
			data[0] = 1
		}
	})
	sums := models.NewScope(b.Params, true).Sub(accumulated)
	mean := make([]*op.Node, len(grads))
	for i, w := range weights {
		sum := op.Add(op.Mul(sums.Buffer(w.Name, models.Constant(0), w.Node.Dims...), keep), grads[i])
		sums.SetBuffer(w.Name, sum)
		mean[i] = op.Scale(sum, 1/float64(n))
	}
	before := map[string]*op.Node{}
	for _, s := range b.Specs() {
		before[s.Name] = b.Get(s.Name)
	}
	update(mean)
	wait := op.Sub(b.Graph.Scalar(1), apply)
	for _, s := range b.Changed() {
		old, next := before[s.Name], b.Get(s.Name)
		if old == nil { // the optimiser's own
			old = s.Node
		}
		if next != old {
			// One of the two factors is 0, the other 1: no rounding.
			b.Set(s.Name, op.Add(op.Mul(next, apply), op.Mul(old, wait)))
		}
	}
}
