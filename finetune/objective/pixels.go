package objective

import (
	"math"

	"github.com/sslrt/sslrt/models/op"
)

// Errors of a reconstruction, element by element: pred and target have one shape, and
// so has the result. op.Mean makes a loss of them, or PerImage.

// PerImage sums errors: [N, ...] over all axes but the first and averages over that.
func PerImage(errors *op.Node) *op.Node {
	if errors == nil {
		return nil
	}
	return op.Scale(op.Mean(errors, false), float64(errors.Size()/errors.Dims[0]))
}

// SquaredError is (pred - target)^2.
func SquaredError(pred, target *op.Node) *op.Node {
	d := op.Sub(pred, target)
	return op.Mul(d, d)
}

// AbsoluteError is |pred - target|.
func AbsoluteError(pred, target *op.Node) *op.Node { return op.Abs(op.Sub(pred, target)) }

// SmoothL1 is d^2/(2 beta) where d = |pred - target| is below beta and d - beta/2
// beyond (Girshick, 2015). beta times it is Huber's loss with delta = beta.
func SmoothL1(pred, target *op.Node, beta float64) *op.Node {
	d := AbsoluteError(pred, target)
	near := op.Clip(d, 0, beta)
	return op.Add(op.Scale(op.Mul(near, near), 0.5/beta), op.Sub(d, near))
}

// Charbonnier is sqrt(d^2 + eps), a smooth absolute error (Charbonnier et al., 1994).
func Charbonnier(pred, target *op.Node, eps float64) *op.Node {
	return op.Sqrt(op.AddScalar(SquaredError(pred, target), eps))
}

// BinaryCrossEntropy is -t log p - (1-t) log(1-p) for probabilities p and targets t
// in 0..1. A logarithm is -100 at least, as in PyTorch.
func BinaryCrossEntropy(pred, target *op.Node) *op.Node {
	if pred == nil {
		return nil
	}
	one := pred.Graph().Scalar(1)
	log := func(p *op.Node) *op.Node {
		const smallest = 1.2e-38 // below are 0 and what some processors take for 0
		return op.Where(op.Greater(p, 0), op.Log(op.Clip(p, smallest, math.Inf(1))), p.Graph().Scalar(-100))
	}
	hit, miss := op.Mul(target, log(pred)), op.Mul(op.Sub(one, target), log(op.Sub(one, pred)))
	return op.Neg(op.Add(hit, miss))
}

// BinaryCrossEntropyLogits is BinaryCrossEntropy of Sigmoid(logits), finite for all
// logits.
func BinaryCrossEntropyLogits(logits, target *op.Node) *op.Node {
	return op.Sub(op.Softplus(logits, 1), op.Mul(logits, target))
}
