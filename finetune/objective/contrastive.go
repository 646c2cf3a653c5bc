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

// blockSize is the number of similarities that are held at once: a batch that has more
// of them, of more than 724 images, is compared in blocks of rows. Tests cut it short.
var blockSize = 1 << 21

// blocks divides the rows of a matrix with so many columns.
func blocks(rows, columns int) (parts [][2]int) {
	size := min(rows, max(1, blockSize/columns))
	for from := 0; from < rows; from += size {
		parts = append(parts, [2]int{from, min(from+size, rows)})
	}
	return parts
}

// rolled moves the rows of x up by n, the first ones to the end: the rows of a block
// come to lie where the first rows lay, so that all blocks share their constants.
func rolled(x *op.Node, n int) *op.Node {
	if n == 0 {
		return x
	}
	return op.Concat(0, op.Slice(x, 0, n, x.Dims[0]), op.Slice(x, 0, 0, n))
}

// part takes rows from..to-1 of x.
func part(x *op.Node, from, to int) *op.Node {
	if from == 0 && to == x.Dims[0] {
		return x
	}
	return op.Slice(x, 0, from, to)
}

// similarities are those of rows from..to-1 of x: [N, D] with all rows of y: [M, D],
// [to-from, M]. The columns begin with row from of y.
func similarities(x, y *op.Node, from, to int) *op.Node {
	return op.MatMul(part(x, from, to), op.Transpose(rolled(y, from), 1, 0))
}

// join puts blocks of rows together.
func join(parts []*op.Node) *op.Node {
	if len(parts) == 1 {
		return parts[0]
	}
	return op.Concat(0, parts...)
}

// meanTerms returns terms whose sum is the mean of the rows of all blocks.
func meanTerms(parts []*op.Node) []*op.Node {
	rows := 0
	for _, p := range parts {
		if p == nil {
			return nil // the cause is recorded in the graph
		}
		rows += p.Dims[0]
	}
	terms := make([]*op.Node, len(parts))
	for i, p := range parts {
		terms[i] = op.Scale(op.Sum(p, false), 1/float64(rows))
	}
	return terms
}

// NTXentRows returns the normalised temperature-scaled cross-entropy of each row
// (Chen et al., 2020, "SimCLR"), [2N]. z: [2N, D] holds the projections of the
// first views, then those of the second; they are normalised here. A row's
// positive is the other view of its image, its negatives are all other rows.
func NTXentRows(z *op.Node, temperature float64) *op.Node {
	return join(ntxentBlocks(z, temperature))
}

// ntxentBlocks is NTXentRows in blocks of rows.
func ntxentBlocks(z *op.Node, temperature float64) []*op.Node {
	if z == nil {
		return []*op.Node{nil}
	}
	g, rows := z.Graph(), z.Dims[0]
	if len(z.Dims) != 2 || rows%2 != 0 {
		return []*op.Node{g.Fail("objective: NTXent: want z: [2N, D], got %v", z.Type)}
	}
	if !(temperature > 0) {
		return []*op.Node{g.Fail("objective: NTXent: the temperature is %g, want more than 0", temperature)}
	}
	n, parts := rows/2, blocks(rows, rows)
	size := parts[0][1]
	self, partner := make([]float32, size*rows), make([]float32, size*rows)
	for i := range size {
		self[i*rows+i] = masked
		partner[i*rows+(i+n)%rows] = -1
	}
	hide, pick := g.Const(self, size, rows), g.Const(partner, size, rows)
	unit := op.L2Normalize(z, 1, normEps)
	out := make([]*op.Node, len(parts))
	for i, p := range parts {
		similarity := op.Scale(similarities(unit, unit, p[0], p[1]), 1/temperature)
		logp := op.LogSoftmax(op.Add(similarity, part(hide, 0, p[1]-p[0])), 1)
		out[i] = op.Sum(op.Mul(logp, part(pick, 0, p[1]-p[0])), false, 1)
	}
	return out
}

// NTXent is the mean of NTXentRows.
func NTXent(z *op.Node, temperature float64) *op.Node {
	return op.Mean(NTXentRows(z, temperature), false)
}

// InfoNCERows returns the one-directional InfoNCE loss (van den Oord et al., 2018,
// "CPC") of each row, [N]: row i of z1: [N, D] must find row i among the rows of
// z2: [N, D]. Both are normalised here.
func InfoNCERows(z1, z2 *op.Node, temperature float64) *op.Node {
	return join(infoNCEBlocks(z1, z2, temperature))
}

// infoNCEBlocks is InfoNCERows in blocks of rows.
func infoNCEBlocks(z1, z2 *op.Node, temperature float64) []*op.Node {
	if z1 == nil || z2 == nil {
		return []*op.Node{nil}
	}
	g := z1.Graph()
	if len(z1.Dims) != 2 || !z1.Shape.Equal(z2.Shape) {
		return []*op.Node{g.Fail("objective: InfoNCE: want z1, z2: [N, D], got %v and %v", z1.Type, z2.Type)}
	}
	if !(temperature > 0) {
		return []*op.Node{g.Fail("objective: InfoNCE: the temperature is %g, want more than 0", temperature)}
	}
	n := z1.Dims[0]
	parts := blocks(n, n)
	size := parts[0][1]
	positive := make([]float32, size*n)
	for i := range size {
		positive[i*n+i] = -1
	}
	pick := g.Const(positive, size, n)
	u1, u2 := op.L2Normalize(z1, 1, normEps), op.L2Normalize(z2, 1, normEps)
	out := make([]*op.Node, len(parts))
	for i, p := range parts {
		similarity := op.Scale(similarities(u1, u2, p[0], p[1]), 1/temperature)
		out[i] = op.Sum(op.Mul(op.LogSoftmax(similarity, 1), part(pick, 0, p[1]-p[0])), false, 1)
	}
	return out
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
	parts := blocks(n, n)
	size := parts[0][1]
	others := make([]float32, size*n)
	for i := range others {
		if i/n != i%n {
			others[i] = 1 / float32(n*(n-1))
		}
	}
	pairs := g.Const(others, size, n)
	u := op.L2Normalize(x, 1, normEps)
	var mean *op.Node
	for _, p := range parts {
		// d^2 = 2 - 2 cos, so exp(-2 d^2) = exp(4 cos - 4)
		kernel := op.Exp(op.AddScalar(op.Scale(similarities(u, u, p[0], p[1]), 4), -4))
		sum := op.Sum(op.Mul(kernel, part(pairs, 0, p[1]-p[0])), false)
		if mean != nil {
			sum = op.Add(mean, sum)
		}
		mean = sum
	}
	return op.Log(mean)
}
