package objective

import "github.com/sslrt/sslrt/models/op"

// DINO compares what student and teacher make of views (Caron et al., 2021).
type DINO struct {
	StudentTemperature, TeacherTemperature float64 // 0.1 and 0.04 in the paper
}

// Loss is the mean, over pairs of a teacher's view i and another view v of the student,
// of the cross-entropy of Softmax((teacher_i - center) / its temperature) and the
// student's. student: views of [N, K], the teacher's first; teacher: views of [N, K],
// without gradient; center: [1, K].
func (o DINO) Loss(student, teacher []*op.Node, center *op.Node) *op.Node {
	var sum *op.Node
	pairs := 0
	for i, t := range teacher {
		goal := op.StopGradient(op.Softmax(op.Scale(op.Sub(t, center), 1/o.TeacherTemperature), 1))
		for v, s := range student {
			if v == i {
				continue
			}
			loss := SoftCrossEntropy(op.Scale(s, 1/o.StudentTemperature), goal)
			if pairs++; sum == nil {
				sum = loss
			} else {
				sum = op.Add(sum, loss)
			}
		}
	}
	return op.Scale(sum, 1/float64(pairs))
}

// Center moves the center: [1, K] towards the teacher's mean.
func (DINO) Center(center *op.Node, teacher []*op.Node, momentum float64) *op.Node {
	mean := op.Mean(op.Concat(0, teacher...), true, 0)
	return op.Add(op.Scale(center, momentum), op.Scale(mean, 1-momentum))
}

// Sinkhorn spreads scores: [B, K] evenly over the prototypes (Cuturi, 2013, as in Caron
// et al., 2020, "SwAV"): exp(scores/epsilon) with columns and rows normalised in turns.
// After an iteration rows sum to 1.
func Sinkhorn(scores *op.Node, epsilon float64, iterations int) *op.Node {
	if scores == nil {
		return nil
	}
	b, k := float64(scores.Dims[0]), float64(scores.Dims[1])
	q := op.Exp(op.Scale(op.Sub(scores, op.Max(scores, true)), 1/epsilon))
	q = op.Div(q, op.Sum(q, true))
	for range iterations {
		q = op.Scale(op.Div(q, op.Sum(q, true, 0)), 1/k)
		q = op.Scale(op.Div(q, op.Sum(q, true, 1)), 1/b)
	}
	return op.Scale(q, b)
}

// SwAV predicts the assignment of one view to prototypes from the other.
type SwAV struct {
	Temperature float64 // 0.1 in the paper
	Epsilon     float64 // of Sinkhorn; 0.05 in the paper
	Iterations  int     // of Sinkhorn; 3 in the paper
}

// Scores are the cosines of z: [N, D] and prototypes: [K, D]: [N, K].
func (SwAV) Scores(z, prototypes *op.Node) *op.Node {
	return op.Gemm(op.L2Normalize(z, 1, normEps), op.L2Normalize(prototypes, 1, normEps), false, true)
}

// Codes are the assignments of scores, without gradient.
func (o SwAV) Codes(scores *op.Node) *op.Node {
	return Sinkhorn(op.StopGradient(scores), o.Epsilon, o.Iterations)
}

// Loss is the mean of both directions, given the scores of both views.
func (o SwAV) Loss(s1, s2 *op.Node) *op.Node {
	swapped := func(codes, s *op.Node) *op.Node { return SoftCrossEntropy(op.Scale(s, 1/o.Temperature), codes) }
	return op.Scale(op.Add(swapped(o.Codes(s1), s2), swapped(o.Codes(s2), s1)), 0.5)
}
