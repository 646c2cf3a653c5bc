package objective

import "github.com/sslrt/sslrt/models/op"

// Losses of pairs in which one side is a goal without gradient: p: [N, D] predicts z:
// [N, D]. Both are normalised here.

// NegativeCosine is minus the mean cosine of p and z.
func NegativeCosine(p, z *op.Node) *op.Node {
	goal := op.StopGradient(op.L2Normalize(z, 1, normEps))
	return op.Neg(op.Mean(op.Sum(op.Mul(op.L2Normalize(p, 1, normEps), goal), false, 1), false))
}

// SimSiamLoss is half the sum of both directions (Chen and He, 2021): p1 and p2 predict
// the other view's projection.
func SimSiamLoss(p1, p2, z1, z2 *op.Node) *op.Node {
	return op.Scale(op.Add(NegativeCosine(p1, z2), NegativeCosine(p2, z1)), 0.5)
}

// BYOLRegression is the mean squared distance of p and z on the unit sphere: 2 - 2 cos
// (Grill et al., 2020).
func BYOLRegression(p, z *op.Node) *op.Node {
	return op.AddScalar(op.Scale(NegativeCosine(p, z), 2), 2)
}

// BYOLLoss is the sum of both directions.
func BYOLLoss(p1, p2, z1, z2 *op.Node) *op.Node {
	return op.Add(BYOLRegression(p1, z2), BYOLRegression(p2, z1))
}
