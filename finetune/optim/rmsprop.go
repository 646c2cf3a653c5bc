package optim

import (
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// RMSprop is the optimiser of Tieleman and Hinton, 2012, as torch.optim.RMSprop
// does it:
//
//	v = Alpha * v + (1 - Alpha) * grad^2
//	buf = Momentum * buf + grad / (sqrt(v) + Eps)
//	w = w - lr * buf
type RMSprop struct {
	Alpha    float64 // default 0.99
	Eps      float64 // default 1e-8
	Momentum float64
	Decay    Decay // added to the gradient
}

// Update adds the optimiser's step; its buffers are "optim.square_avg." and
// "optim.momentum.".
func (o RMSprop) Update(b *train.Builder, weights []models.Spec, grads []*op.Node) {
	if o.Alpha == 0 {
		o.Alpha = 0.99
	}
	if o.Eps == 0 {
		o.Eps = 1e-8
	}
	square, momentum := newSlot(b, "square_avg"), newSlot(b, "momentum")
	for i, w := range weights {
		g := o.Decay.addTo(grads[i], w)
		v := square.set(w, average(square.get(w), op.Mul(g, g), o.Alpha))
		d := op.Div(g, op.AddScalar(op.Sqrt(v), o.Eps))
		if o.Momentum != 0 {
			d = momentum.set(w, op.Add(op.Scale(momentum.get(w), o.Momentum), d))
		}
		b.Set(w.Name, op.Sub(w.Node, op.Mul(d, b.Rate())))
	}
}
