package objective

import "github.com/sslrt/sslrt/models/op"

// BarlowTwins asks the correlation of two views' embeddings, feature by feature, to be
// the identity (Zbontar et al., 2021).
type BarlowTwins struct {
	Lambda   float64 // weight of the other correlations; 0.0051 in the paper
	Eps      float64 // is added to the variance, 1e-5 in the authors' code
	Unbiased bool    // divide the variance by N-1
}

// Terms returns the sums of (c_ii - 1)^2 and of c_ij^2, and the correlations c: [D, D],
// of z1, z2: [N, D].
func (o BarlowTwins) Terms(z1, z2 *op.Node) (on, off, c *op.Node) {
	if z1 == nil || z2 == nil {
		return nil, nil, nil
	}
	n, d := z1.Dims[0], z1.Dims[1]
	c = op.Scale(op.MatMul(op.Transpose(o.standardise(z1), 1, 0), o.standardise(z2)), 1/float64(n))
	g := z1.Graph()
	eye := g.Const(identityMatrix(d), d, d)
	diagonal := op.Sum(op.Mul(c, eye), false, 1)
	on = op.Sum(SquaredError(diagonal, g.Scalar(1)), false)
	rest := op.Mul(c, op.Sub(g.Scalar(1), eye))
	return on, op.Sum(op.Mul(rest, rest), false), c
}

// Loss is the first term plus Lambda times the second.
func (o BarlowTwins) Loss(z1, z2 *op.Node) *op.Node {
	on, off, _ := o.Terms(z1, z2)
	return op.Add(on, op.Scale(off, o.Lambda))
}

func (o BarlowTwins) standardise(z *op.Node) *op.Node {
	d := op.Sub(z, op.Mean(z, true, 0))
	return op.Div(d, op.Sqrt(op.AddScalar(variance(d, o.Unbiased), o.Eps)))
}

// variance is that of each column of centred values d: [N, D], as [1, D].
func variance(d *op.Node, unbiased bool) *op.Node {
	v := op.Mean(op.Mul(d, d), true, 0)
	if v == nil || !unbiased {
		return v
	}
	n := float64(d.Dims[0])
	return op.Scale(v, n/(n-1))
}

func identityMatrix(n int) []float32 {
	out := make([]float32, n*n)
	for i := range n {
		out[i*n+i] = 1
	}
	return out
}

// VICReg keeps views together, every feature's deviation above Gamma and features
// uncorrelated (Bardes et al., 2022).
type VICReg struct {
	Invariance, Variance, Covariance float64 // weights; 25, 25 and 1 in the paper
	Gamma                            float64 // 1 in the paper
	Eps                              float64 // is added to the variance; 1e-4 in the paper
}

// Terms returns the mean squared distance of z1, z2: [N, D], the mean over both of what
// deviations lack, and the sum over both of the squared covariances over D.
func (o VICReg) Terms(z1, z2 *op.Node) (invariance, lacking, covariance *op.Node) {
	if z1 == nil || z2 == nil {
		return nil, nil, nil
	}
	n, d := float64(z1.Dims[0]), z1.Dims[1]
	g := z1.Graph()
	off := identityMatrix(d)
	for i := range off {
		off[i] = 1 - off[i]
	}
	mask := g.Const(off, d, d)
	invariance = op.Mean(SquaredError(z1, z2), false)
	term := func(z *op.Node) (hinge, squares *op.Node) {
		c := op.Sub(z, op.Mean(z, true, 0))
		deviation := op.Sqrt(op.AddScalar(variance(c, true), o.Eps))
		hinge = op.Mean(op.ReLU(op.Sub(g.Scalar(o.Gamma), deviation)), false)
		cov := op.Scale(op.MatMul(op.Transpose(c, 1, 0), c), 1/(n-1))
		return hinge, op.Scale(op.Sum(op.Mul(op.Mul(cov, cov), mask), false), 1/float64(d))
	}
	h1, c1 := term(z1)
	h2, c2 := term(z2)
	return invariance, op.Scale(op.Add(h1, h2), 0.5), op.Add(c1, c2)
}

// Loss is the weighted sum of the terms.
func (o VICReg) Loss(z1, z2 *op.Node) *op.Node {
	i, v, c := o.Terms(z1, z2)
	return op.Add(op.Add(op.Scale(i, o.Invariance), op.Scale(v, o.Variance)), op.Scale(c, o.Covariance))
}
