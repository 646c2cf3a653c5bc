package optim

import (
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// LARS scales the step of each weight by a trust ratio of norms (You et al., 2017,
// "Large batch training of convolutional networks"). Two forms are in use:
//
//	d = grad + Decay * w
//	trust = Eta * |w| / (|grad| + Decay * |w| + Eps)     the paper's
//	trust = Eta * |w| / |d|                              with Joint: MoCo v3, Barlow Twins
//	buf = Momentum * buf + trust * d
//	w = w - lr * buf
//
// trust is 1 where |w| or the norm below it is 0, and for parameters with one axis
// if Exclude1D leaves them out, from the decay too, as the paper of SimCLR does.
type LARS struct {
	Eta       float64 // default 1e-3
	Eps       float64
	Momentum  float64
	Decay     float64
	Joint     bool
	Exclude1D bool
}

// Update adds the optimiser's step; its buffers are "optim.momentum.".
func (o LARS) Update(b *train.Builder, weights []models.Spec, grads []*op.Node) {
	if o.Eta == 0 {
		o.Eta = 1e-3
	}
	decay := Decay{o.Decay, o.Exclude1D}
	momentum := newSlot(b, "momentum")
	for i, w := range weights {
		d := decay.addTo(grads[i], w)
		if !o.Exclude1D || len(w.Node.Dims) > 1 {
			d = op.Mul(d, o.trust(w.Node, grads[i], d))
		}
		d = momentum.set(w, op.Add(op.Scale(momentum.get(w), o.Momentum), d))
		b.Set(w.Name, op.Sub(w.Node, op.Mul(d, b.Rate())))
	}
}

// trust returns the ratio for one weight: a scalar.
func (o LARS) trust(w, grad, d *op.Node) *op.Node {
	size, below := norm(w), norm(grad)
	denominator := op.AddScalar(op.Add(below, op.Scale(size, o.Decay)), o.Eps)
	if o.Joint {
		below = norm(d)
		denominator = below
	}
	applies := op.Mul(op.Greater(size, 0), op.Greater(below, 0))
	exempt := op.AddScalar(op.Neg(applies), 1)
	ratio := op.Div(op.Scale(size, o.Eta), op.Add(denominator, exempt)) // finite where it does not apply
	return op.Add(op.Mul(ratio, applies), exempt)
}

// norm is the square root of the sum of squares.
func norm(x *op.Node) *op.Node { return op.Sqrt(op.Sum(op.Mul(x, x), false)) }
