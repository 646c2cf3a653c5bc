package objective

import (
	"github.com/sslrt/sslrt/models/op"
)

// normEps keeps the division by a vector's length finite, as in PyTorch's
// F.normalize.
const normEps = 1e-12

// masked is added to similarities that must not count. The exponential of the
// difference is 0 in float32.
const masked = -1e9

// NTXentRows returns the normalised temperature-scaled cross-entropy of each row
// (Chen et al., 2020, "SimCLR"), [2N]. z: [2N, D] holds the projections of the
// first views, then those of the second; they are normalised here. A row's
// positive is the other view of its image, its negatives are all other rows.
func NTXentRows(z *op.Node, temperature float64) *op.Node {
	if z == nil {
		return nil
	}
	g, rows := z.Graph(), z.Dims[0]
	if len(z.Dims) != 2 || rows%2 != 0 {
		return g.Fail("objective: NTXent: want z: [2N, D], got %v", z.Type)
	}
	if !(temperature > 0) {
		return g.Fail("objective: NTXent: the temperature is %g, want more than 0", temperature)
	}
	n := rows / 2
	self, partner := make([]float32, rows*rows), make([]float32, rows*rows)
	for i := range rows {
		self[i*rows+i] = masked
		partner[i*rows+(i+n)%rows] = -1
	}
	unit := op.L2Normalize(z, 1, normEps)
	similarity := op.Scale(op.MatMul(unit, op.Transpose(unit, 1, 0)), 1/temperature)
	logp := op.LogSoftmax(op.Add(similarity, g.Const(self, rows, rows)), 1)
	return op.Sum(op.Mul(logp, g.Const(partner, rows, rows)), false, 1)
}

// NTXent is the mean of NTXentRows.
func NTXent(z *op.Node, temperature float64) *op.Node {
	return op.Mean(NTXentRows(z, temperature), false)
}

// InfoNCERows returns the one-directional InfoNCE loss (van den Oord et al., 2018,
// "CPC") of each row, [N]: row i of z1: [N, D] must find row i among the rows of
// z2: [N, D]. Both are normalised here.
func InfoNCERows(z1, z2 *op.Node, temperature float64) *op.Node {
	if z1 == nil || z2 == nil {
		return nil
	}
	g := z1.Graph()
	if len(z1.Dims) != 2 || !z1.Shape.Equal(z2.Shape) {
		return g.Fail("objective: InfoNCE: want z1, z2: [N, D], got %v and %v", z1.Type, z2.Type)
	}
	if !(temperature > 0) {
		return g.Fail("objective: InfoNCE: the temperature is %g, want more than 0", temperature)
	}
	n := z1.Dims[0]
	positive := make([]float32, n*n)
	for i := range n {
		positive[i*n+i] = -1
	}
	u1, u2 := op.L2Normalize(z1, 1, normEps), op.L2Normalize(z2, 1, normEps)
	similarity := op.Scale(op.MatMul(u1, op.Transpose(u2, 1, 0)), 1/temperature)
	return op.Sum(op.Mul(op.LogSoftmax(similarity, 1), g.Const(positive, n, n)), false, 1)
}

// InfoNCE is the mean of InfoNCERows.
func InfoNCE(z1, z2 *op.Node, temperature float64) *op.Node {
	return op.Mean(InfoNCERows(z1, z2, temperature), false)
}

// Alignment is the mean squared distance between the two views of an image on the
// unit sphere (Wang and Isola, 2020): 0 when views agree. z: [2N, D], as for
// NTXent.
func Alignment(z *op.Node) *op.Node {
	if z == nil {
		return nil
	}
	n := z.Dims[0] / 2
	u := op.L2Normalize(z, 1, normEps)
	d := op.Sub(op.Slice(u, 0, 0, n), op.Slice(u, 0, n, 2*n))
	return op.Mean(op.Sum(op.Mul(d, d), false, 1), false)
}

// Uniformity is the logarithm of the mean of exp(-2 d^2) over all pairs of
// different rows on the unit sphere (Wang and Isola, 2020): 0 when all are the
// same, about -4 when they spread evenly. x: [N, D].
func Uniformity(x *op.Node) *op.Node {
	if x == nil {
		return nil
	}
	g, n := x.Graph(), x.Dims[0]
	if n < 2 {
		return g.Fail("objective: Uniformity needs two rows or more, got %v", x.Type)
	}
	pairs := make([]float32, n*n)
	for i := range pairs {
		if i/n != i%n {
			pairs[i] = 1 / float32(n*(n-1))
		}
	}
	u := op.L2Normalize(x, 1, normEps)
	// d^2 = 2 - 2 cos, so exp(-2 d^2) = exp(4 cos - 4)
	kernel := op.Exp(op.AddScalar(op.Scale(op.MatMul(u, op.Transpose(u, 1, 0)), 4), -4))
	return op.Log(op.Sum(op.Mul(kernel, g.Const(pairs, n, n)), false))
}
