package optim

import (
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// SGD is stochastic gradient descent as torch.optim.SGD does it:
//
//	d = grad + Decay * w
//	buf = Momentum * buf + (1 - Dampening) * d     (buf = d at the first step)
//	w = w - lr * buf                               (lr * (d + Momentum * buf) with Nesterov)
type SGD struct {
	Momentum  float64
	Dampening float64
	Nesterov  bool
	Decay     Decay
}

// Update adds the optimiser's step; its momentum buffers are "optim.momentum."
// and the weight's name.
func (o SGD) Update(b *train.Builder, weights []models.Spec, grads []*op.Node) {
	var fresh *op.Node
	if o.Momentum != 0 && o.Dampening != 0 {
		fresh = b.Feed("sgd.fresh", op.Dims(), func(s train.Step, data []float32) {
			data[0] = float32(1 - o.Dampening)
			if s.Index == 0 {
				data[0] = 1
			}
		})
	}
	momentum := newSlot(b, "momentum")
	for i, w := range weights {
		d := o.Decay.addTo(grads[i], w)
		if o.Momentum != 0 {
			add := d
			if fresh != nil {
				add = op.Mul(d, fresh)
			}
			buf := momentum.set(w, op.Add(op.Scale(momentum.get(w), o.Momentum), add))
			if o.Nesterov {
				d = op.Add(d, op.Scale(buf, o.Momentum))
			} else {
				d = buf
			}
		}
		b.Set(w.Name, op.Sub(w.Node, op.Mul(d, b.Rate())))
	}
}
