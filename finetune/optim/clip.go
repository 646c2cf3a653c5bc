package optim

import (
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// Clip shrinks all gradients by one factor so that their common norm is at most
// Norm, as PyTorch's clip_grad_norm_ does, and hands them on:
//
//	grad = grad * min(1, Norm / (norm + 1e-6))
type Clip struct {
	Norm float64
	Next train.Optimizer
}

// Update adds the factor and the next optimiser's step.
func (o Clip) Update(b *train.Builder, weights []models.Spec, grads []*op.Node) {
	total := b.GradNorm(grads)
	factor := op.Minimum(b.Graph.Scalar(1), op.Div(b.Graph.Scalar(o.Norm), op.AddScalar(total, 1e-6)))
	clipped := make([]*op.Node, len(grads))
	for i, g := range grads {
		clipped[i] = op.Mul(g, factor)
	}
	o.Next.Update(b, weights, clipped)
}
