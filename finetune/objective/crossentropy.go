package objective

import (
	"github.com/sslrt/sslrt/models/op"
)

// CrossEntropy is the mean of -log Softmax(logits) at the labels: logits [N, K],
// labels int64 [N].
func CrossEntropy(logits, labels *op.Node) *op.Node {
	return CrossEntropyOptions{}.Mean(logits, labels)
}

// CrossEntropyOptions are variants of CrossEntropy. A label outside 0..K-1, such as
// PyTorch's -100, is left out of the mean.
type CrossEntropyOptions struct {
	// Smoothing, 0 to 1, is the share of each label that goes to all classes evenly
	// (Szegedy et al., 2016).
	Smoothing float64

	// Weights: [K] weighs the classes; nil weighs them alike.
	Weights *op.Node
}

// Rows returns the loss of each row, [N], and the weight of its label, [N].
func (o CrossEntropyOptions) Rows(logits, labels *op.Node) (losses, weights *op.Node) {
	if logits == nil || labels == nil {
		return nil, nil
	}
	g := logits.Graph()
	if len(logits.Dims) != 2 {
		return g.Fail("objective: CrossEntropy: want logits: [N, K], got %v", logits.Type), nil
	}
	if !(o.Smoothing >= 0 && o.Smoothing <= 1) {
		return g.Fail("objective: CrossEntropy: the label smoothing is %g, want 0 to 1", o.Smoothing), nil
	}
	classes := logits.Dims[1]
	hot := op.OneHot(labels, classes)
	target, weighed := hot, hot
	if o.Smoothing > 0 {
		counted := op.Sum(hot, true, 1) // 0 for a label that is left out
		target = op.Add(op.Scale(hot, 1-o.Smoothing), op.Scale(counted, o.Smoothing/float64(classes)))
	}
	if o.Weights != nil {
		target, weighed = op.Mul(target, o.Weights), op.Mul(hot, o.Weights)
	}
	losses = op.Neg(op.Sum(op.Mul(op.LogSoftmax(logits, 1), target), false, 1))
	return losses, op.Sum(weighed, false, 1)
}

// Mean returns the sum of the losses over the sum of the labels' weights.
func (o CrossEntropyOptions) Mean(logits, labels *op.Node) *op.Node {
	losses, weights := o.Rows(logits, labels)
	return op.Div(op.Sum(losses, false), op.Sum(weights, false))
}

// SoftCrossEntropy is the mean over the rows of -sum(targets * log Softmax(logits)):
// both [N, K].
func SoftCrossEntropy(logits, targets *op.Node) *op.Node {
	return op.Neg(op.Mean(op.Sum(op.Mul(op.LogSoftmax(logits, 1), targets), false, 1), false))
}
