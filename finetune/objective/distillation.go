package objective

import "github.com/sslrt/sslrt/models/op"

// TripletMargin is the mean of max(0, |a - p| - |a - n| + margin) over rows (Schroff et
// al., 2015): Euclidean distances of anchors, positives and negatives [N, D].
func TripletMargin(anchor, positive, negative *op.Node, margin float64) *op.Node {
	distance := func(b *op.Node) *op.Node { return op.Sqrt(op.Sum(SquaredError(anchor, b), false, 1)) }
	return op.Mean(op.ReLU(op.AddScalar(op.Sub(distance(positive), distance(negative)), margin)), false)
}

// Distillation is the divergence of the student's softened classes from the teacher's,
// times the temperature squared, the mean over rows (Hinton et al., 2015); logits [N,
// K], the teacher without gradient.
func Distillation(student, teacher *op.Node, temperature float64) *op.Node {
	goal := op.StopGradient(op.LogSoftmax(op.Scale(teacher, 1/temperature), 1))
	d := op.Sub(goal, op.LogSoftmax(op.Scale(student, 1/temperature), 1))
	return op.Scale(PerImage(op.Mul(op.Exp(goal), d)), temperature*temperature)
}
