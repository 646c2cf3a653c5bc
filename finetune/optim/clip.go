package optim

import (
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// MetricGradNorm is the name under which Clip reports the norm of all gradients
// together, before it is cut.
const MetricGradNorm = "grad_norm"

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
	var sum *op.Node
	for _, g := range grads {
		square := op.Sum(op.Mul(g, g), false)
		if sum != nil {
			square = op.Add(sum, square)
		}
		sum = square
	}
	total := op.Sqrt(sum)
	b.Metric(MetricGradNorm, total)
	factor := op.Minimum(b.Graph.Scalar(1), op.Div(b.Graph.Scalar(o.Norm), op.AddScalar(total, 1e-6)))
	clipped := make([]*op.Node, len(grads))
	for i, g := range grads {
		clipped[i] = op.Mul(g, factor)
	}
	o.Next.Update(b, weights, clipped)
}
