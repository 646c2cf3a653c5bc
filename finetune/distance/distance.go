// Package distance computes how far vectors are from each other, many pairs at a
// time: by matrix products in float64, in blocks, on all processors.
//
// Vectors are rows of flat slices in C order, x: [N, dim], of float32 or float64.
package distance

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
)

// Float is a type of vectors' elements.
type Float interface{ ~float32 | ~float64 }

// Metric is how far two vectors are from each other.
type Metric int

const (
	Euclidean        Metric = iota
	Cosine                  // 1 - cosine of the angle: 0 to 2; of a zero vector 1
	SquaredEuclidean        // saves the root
)

func (m Metric) String() string {
	switch m {
	case Cosine:
		return "cosine"
	case SquaredEuclidean:
		return "squared euclidean"
	}
	return "euclidean"
}

// Rows checks x: [N, dim] and returns N. An element that is not finite is an error
// that names its row.
func Rows[F Float](x []F, dim int) (int, error) {
	if dim < 1 || len(x)%dim != 0 {
		return 0, fmt.Errorf("got %d numbers, want rows of %d", len(x), dim)
	}
	for i, v := range x {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return 0, fmt.Errorf("row %d holds %g, want finite numbers", i/dim, f)
		}
	}
	return len(x) / dim, nil
}

// Squared returns the squared Euclidean distance of two vectors of equal length,
// exactly 0 for equal ones.
func Squared[A, B Float](a []A, b []B) float64 {
	sum := 0.0
	for i, v := range a {
		d := float64(v) - float64(b[i])
		sum += d * d
	}
	return sum
}

// block is the number of rows whose distances are computed together.
const block = 64

// Between calls use for each row i of a with its distances to all rows of b, from
// several goroutines; the slice is valid during the call. Rounding is that of dot
// products of centred float64 vectors: some 1e-16 of their squared length, which may
// be more than the distance of near-equal vectors.
//
//	a: [N, dim], b: [M, dim], finite
func Between[A, B Float](ctx context.Context, a []A, b []B, dim int, metric Metric, use func(i int, distance []float64)) error {
	n, m := len(a)/dim, len(b)/dim
	if m == 0 {
		return nil
	}
	mean := make([]float64, dim)
	if metric != Cosine { // centring keeps digits
		mean = Mean(b, dim)
	}
	to := blas64.General{Rows: m, Cols: dim, Stride: dim, Data: make([]float64, len(b))}
	square := prepare(to.Data, b, mean, metric)
	blocks := make(chan int)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+block-1)/block) {
		wg.Go(func() {
			rows, out := make([]float64, block*dim), make([]float64, block*m)
			for lo := range blocks {
				hi := min(lo+block, n)
				from := blas64.General{Rows: hi - lo, Cols: dim, Stride: dim, Data: rows[:(hi-lo)*dim]}
				own := prepare(from.Data, a[lo*dim:hi*dim], mean, metric)
				blas64.Gemm(blas.NoTrans, blas.Trans, 1, from, to, 0,
					blas64.General{Rows: hi - lo, Cols: m, Stride: m, Data: out[:(hi-lo)*m]})
				for i := lo; i < hi; i++ {
					row := out[(i-lo)*m : (i-lo+1)*m]
					for j, dot := range row {
						switch metric {
						case Cosine:
							row[j] = min(max(1-dot, 0), 2)
						case Euclidean:
							row[j] = math.Sqrt(max(own[i-lo]+square[j]-2*dot, 0))
						default:
							row[j] = max(own[i-lo]+square[j]-2*dot, 0)
						}
					}
					use(i, row)
				}
			}
		})
	}
	var err error
	for lo := 0; lo < n && err == nil; lo += block {
		select {
		case blocks <- lo:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	close(blocks)
	wg.Wait()
	return err
}

// Pairs is Between for x and itself; a vector's distance to itself is 0.
func Pairs[F Float](ctx context.Context, x []F, dim int, metric Metric, use func(i int, distance []float64)) error {
	return Between(ctx, x, x, dim, metric, func(i int, distance []float64) {
		distance[i] = 0
		use(i, distance)
	})
}

// prepare writes rows whose dot products give the distances, centred or of length 1,
// and returns their squared lengths.
func prepare[F Float](dst []float64, x []F, mean []float64, metric Metric) []float64 {
	dim := len(mean)
	square := make([]float64, len(x)/dim)
	for i := range square {
		row := dst[i*dim : (i+1)*dim]
		for k := range row {
			row[k] = float64(x[i*dim+k]) - mean[k]
			square[i] += row[k] * row[k]
		}
		if metric == Cosine && square[i] > 0 {
			scale := 1 / math.Sqrt(square[i])
			for k := range row {
				row[k] *= scale
			}
		}
	}
	return square
}

// Mean returns the mean vector of x: [N, dim].
func Mean[F Float](x []F, dim int) []float64 {
	mean := make([]float64, dim)
	for i, v := range x {
		mean[i%dim] += float64(v)
	}
	for k := range mean {
		mean[k] /= float64(max(len(x)/dim, 1))
	}
	return mean
}

// Unit returns the rows of x scaled to length 1; a row of zeros stays.
func Unit[F Float](x []F, dim int) []float64 {
	out := make([]float64, len(x))
	prepare(out, x, make([]float64, dim), Cosine)
	return out
}

// ParseMetric reads euclidean or cosine.
func ParseMetric(s string) (Metric, error) {
	for _, m := range []Metric{Euclidean, Cosine} {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, fmt.Errorf("got distance %q, want euclidean or cosine", s)
}
