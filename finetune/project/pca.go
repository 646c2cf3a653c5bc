package project

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"
	"gonum.org/v1/gonum/mat"

	"github.com/sslrt/sslrt/finetune/distance"
)

// PCA are the principal components of vectors (Pearson, 1901).
type PCA struct {
	Dim, K     int
	Mean       []float64 // [Dim]
	Components []float64 // [K, Dim], of length 1, the entry of largest magnitude positive
	Variance   []float64 // [K], with 1/(N-1), falling
	Share      []float64 // [K], of the whole variance
	Singular   []float64 // [K], singular values of the centred vectors
}

// largeSpectrum is the size of the smaller side of x above which few components are
// found by random projection, as a whole spectrum would take minutes.
const largeSpectrum = 1000

// FitPCA finds k components, 1 to min(N, dim): exactly, or, of large data and k up to a
// tenth of that, by randomised subspace iteration (Halko, Martinsson and Tropp, 2011)
// with a fixed seed.
//
//	x: [N, dim], N at least 2, not all equal
func FitPCA[F distance.Float](ctx context.Context, x []F, dim, k int) (*PCA, error) {
	n, err := rows("pca", x, dim)
	if err != nil {
		return nil, err
	}
	small := min(n, dim)
	if k < 1 || k > small {
		return nil, fmt.Errorf("project: pca: got %d components of %d vectors of size %d, want 1 to %d", k, n, dim, small)
	}
	p := &PCA{Dim: dim, K: k, Mean: distance.Mean(x, dim)}
	c := general(n, dim)
	total := 0.0
	for i, v := range x {
		c.Data[i] = float64(v) - p.Mean[i%dim]
		total += c.Data[i] * c.Data[i]
	}
	if total == 0 {
		return nil, errors.New("project: pca: all vectors are equal")
	}
	if small > largeSpectrum && k <= small/10 {
		c, err = compress(ctx, c, k)
	}
	if err != nil {
		return nil, err
	}
	var values []float64
	p.Components, values, err = rightVectors(ctx, c, k)
	if err != nil {
		return nil, err
	}
	for i, v := range values {
		v = max(v, 0)
		p.Variance = append(p.Variance, v/float64(n-1))
		p.Share = append(p.Share, v/total)
		p.Singular = append(p.Singular, math.Sqrt(v))
		fixSign(p.Components[i*dim : (i+1)*dim])
	}
	return p, nil
}

func general(rows, cols int) blas64.General {
	return blas64.General{Rows: rows, Cols: cols, Stride: cols, Data: make([]float64, rows*cols)}
}

// rightVectors returns the first k right singular vectors of c and the squares of their
// singular values, from the eigenvectors of the smaller of C^T C and C C^T.
func rightVectors(ctx context.Context, c blas64.General, k int) (vectors, values []float64, err error) {
	small, trans := min(c.Rows, c.Cols), blas.Trans
	if c.Rows < c.Cols {
		trans = blas.NoTrans
	}
	gram := mat.NewSymDense(small, nil)
	blas64.Syrk(trans, 1, c, 0, gram.RawSymmetric())
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(gram, true) {
		return nil, nil, errors.New("project: pca: the eigenvalues did not converge")
	}
	all := eigen.Values(nil)
	var basis mat.Dense
	eigen.VectorsTo(&basis)
	vectors = make([]float64, k*c.Cols)
	for i := range k {
		from := small - 1 - i // they rise
		values = append(values, all[from])
		row := vectors[i*c.Cols : (i+1)*c.Cols]
		column := mat.Col(nil, from, &basis)
		if trans == blas.Trans {
			copy(row, column)
			continue
		}
		blas64.Gemv(blas.Trans, 1, c, blas64.Vector{N: small, Inc: 1, Data: column}, 0, blas64.Vector{N: c.Cols, Inc: 1, Data: row})
		if length := blas64.Nrm2(blas64.Vector{N: c.Cols, Inc: 1, Data: row}); length > 0 {
			blas64.Scal(1/length, blas64.Vector{N: c.Cols, Inc: 1, Data: row})
		}
	}
	return vectors, values, nil
}

// Settings of the random projection: more directions than asked for, and passes that
// turn them towards the components.
const (
	oversample = 10
	passes     = 7
)

// compress returns Q^T C, whose right singular vectors are those of C nearly, with Q an
// orthonormal basis of what C reaches most.
func compress(ctx context.Context, c blas64.General, k int) (blas64.General, error) {
	width := k + oversample
	rng := rand.New(rand.NewPCG(0, 0))
	start := general(c.Cols, width)
	for i := range start.Data {
		start.Data[i] = rng.NormFloat64()
	}
	q := general(c.Rows, width)
	for pass := range passes {
		if ctx.Err() != nil {
			return q, context.Cause(ctx)
		}
		blas64.Gemm(blas.NoTrans, blas.NoTrans, 1, c, start, 0, q)
		orthonormal(q)
		if pass < passes-1 {
			blas64.Gemm(blas.Trans, blas.NoTrans, 1, c, q, 0, start)
			orthonormal(start)
		}
	}
	small := general(width, c.Cols)
	blas64.Gemm(blas.Trans, blas.NoTrans, 1, q, c, 0, small)
	return small, nil
}

// orthonormal replaces the columns of a, fewer than rows, by an orthonormal basis.
func orthonormal(a blas64.General) {
	tau, work := make([]float64, a.Cols), []float64{0}
	lapack64.Geqrf(a, tau, work, -1)
	work = make([]float64, max(int(work[0]), a.Cols))
	lapack64.Geqrf(a, tau, work, len(work))
	lapack64.Orgqr(a, tau, work, len(work))
}

// fixSign makes the entry of largest magnitude positive.
func fixSign(v []float64) {
	top := 0.0
	for _, x := range v {
		if math.Abs(x) > math.Abs(top) {
			top = x
		}
	}
	if top < 0 {
		for i := range v {
			v[i] = -v[i]
		}
	}
}

// Transform returns the coordinates of vectors along the components: [N, K].
func Transform[F distance.Float](p *PCA, x []F) ([]float64, error) {
	n, err := distance.Rows(x, p.Dim)
	if err != nil {
		return nil, fmt.Errorf("project: pca: %w", err)
	}
	out, row := make([]float64, n*p.K), make([]float64, p.Dim)
	for i := range n {
		for j := range row {
			row[j] = float64(x[i*p.Dim+j]) - p.Mean[j]
		}
		for c := range p.K {
			out[i*p.K+c] = blas64.Dot(blas64.Vector{N: p.Dim, Inc: 1, Data: row},
				blas64.Vector{N: p.Dim, Inc: 1, Data: p.Components[c*p.Dim : (c+1)*p.Dim]})
		}
	}
	return out, nil
}

// Whiten divides coordinates of Transform by their deviation, in place; a component
// without variance stays.
func (p *PCA) Whiten(y []float64) {
	for i := range y {
		if v := p.Variance[i%p.K]; v > 0 {
			y[i] /= math.Sqrt(v)
		}
	}
}
