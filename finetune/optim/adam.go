package optim

import (
	"math"

	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// Adam is the optimiser of Kingma and Ba, 2015, as torch.optim.Adam does it, with t
// counted from 1:
//
//	m = Beta1 * m + (1 - Beta1) * grad
//	v = Beta2 * v + (1 - Beta2) * grad^2
//	w = w - lr * m / (1 - Beta1^t) / (sqrt(v) / sqrt(1 - Beta2^t) + Eps)
//
// Decoupled makes it AdamW (Loshchilov and Hutter, 2019): the decay shrinks the
// weight by lr * Decay before the step instead of being added to the gradient.
type Adam struct {
	Beta1, Beta2 float64 // default 0.9, 0.999
	Eps          float64 // default 1e-8
	Decay        Decay
	Decoupled    bool
	AMSGrad      bool // divide by the largest v so far (Reddi et al., 2018)
}

func (o Adam) withDefaults() Adam {
	if o.Beta1 == 0 && o.Beta2 == 0 {
		o.Beta1, o.Beta2 = 0.9, 0.999
	}
	if o.Eps == 0 {
		o.Eps = 1e-8
	}
	return o
}

// Update adds the optimiser's step; its buffers are "optim.exp_avg.",
// "optim.exp_avg_sq." and "optim.max_exp_avg_sq.".
func (o Adam) Update(b *train.Builder, weights []models.Spec, grads []*op.Node) {
	o = o.withDefaults()
	correction := func(name string, beta, power float64) *op.Node {
		return b.Feed(name, op.Dims(), func(s train.Step, data []float32) {
			data[0] = float32(math.Pow(1-math.Pow(beta, float64(s.Index+1)), power))
		})
	}
	first := correction("adam.correction1", o.Beta1, 1)
	second := correction("adam.correction2", o.Beta2, 0.5)
	rate := op.Div(b.Rate(), first)
	m, v, largest := newSlot(b, "exp_avg"), newSlot(b, "exp_avg_sq"), newSlot(b, "max_exp_avg_sq")
	for i, w := range weights {
		g, weight := grads[i], w.Node
		if !o.Decoupled {
			g = o.Decay.addTo(g, w)
		} else if decay := o.Decay.of(w); decay != 0 {
			weight = op.Sub(weight, op.Mul(weight, op.Scale(b.Rate(), decay)))
		}
		mean := m.set(w, average(m.get(w), g, o.Beta1))
		square := v.set(w, average(v.get(w), op.Mul(g, g), o.Beta2))
		if o.AMSGrad {
			square = largest.set(w, op.Maximum(largest.get(w), square))
		}
		denominator := op.AddScalar(op.Div(op.Sqrt(square), second), o.Eps)
		b.Set(w.Name, op.Sub(weight, op.Mul(op.Div(mean, denominator), rate)))
	}
}
