package metrics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"gonum.org/v1/gonum/mat"

	"github.com/sslrt/sslrt/finetune/distance"
)

// rankEps is added to each share of a singular value, as the authors of RankMe do.
const rankEps = 1e-7

// RankMe tells how many directions embeddings really use (Garrido et al., "RankMe",
// ICML 2023): exp of the entropy of p = sigma/sum(sigma) + 1e-7, sigma the singular
// values of the matrix as it is, not centred. It is 1 when all point the same way and
// at most min(N, dim).
//
//	x: [N, dim]
func RankMe[F Float](x []F, dim int) (float64, error) {
	sigma, err := SingularValues(x, dim)
	if err != nil {
		return 0, err
	}
	return entropyRank(sigma, rankEps)
}

// SingularValues returns those of x: [N, dim], the largest first: [min(N, dim)].
func SingularValues[F Float](x []F, dim int) ([]float64, error) {
	n, err := rows("singular values", x, dim)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errors.New("metrics: singular values: there are no vectors")
	}
	values := make([]float64, len(x))
	for i, v := range x {
		values[i] = float64(v)
	}
	var svd mat.SVD
	if !svd.Factorize(mat.NewDense(n, dim, values), mat.SVDNone) {
		return nil, errors.New("metrics: singular values: the decomposition did not converge")
	}
	return svd.Values(nil), nil
}

// EntropyRank is the exponential of the entropy of weights that are made to sum to
// 1, such as the eigenvalues of a covariance (Roy and Vetterli, 2007). At least one
// must be positive, none negative beyond rounding.
func EntropyRank(weights []float64) (float64, error) { return entropyRank(weights, 0) }

func entropyRank(weights []float64, eps float64) (float64, error) {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	if !(sum > 0) {
		return 0, errors.New("metrics: rank: all vectors are zero")
	}
	entropy := 0.0
	for _, w := range weights {
		if p := w/sum + eps; p > 0 {
			entropy -= p * math.Log(p)
		}
	}
	return math.Exp(entropy), nil
}

// CovarianceSpectrum returns the eigenvalues of the covariance, with 1/(N-1), of x:
// [N, dim], the largest first: [dim]. The sum squared over the sum of squares is the
// participation ratio, EntropyRank the effective rank.
func CovarianceSpectrum[F Float](x []F, dim int) ([]float64, error) {
	n, err := rows("covariance", x, dim)
	if err != nil {
		return nil, err
	}
	if n < 2 {
		return nil, fmt.Errorf("metrics: covariance: got %d vectors, want 2 or more", n)
	}
	centred, mean := make([]float64, len(x)), distance.Mean(x, dim)
	for i, v := range x {
		centred[i] = float64(v) - mean[i%dim]
	}
	sigma, err := SingularValues(centred, dim)
	if err != nil {
		return nil, err
	}
	out := make([]float64, dim)
	for i, s := range sigma {
		out[i] = s * s / float64(n-1)
	}
	return out, nil
}

// ParticipationRatio is the square of the sum of eigenvalues over the sum of their
// squares: how many directions share the variance.
func ParticipationRatio(spectrum []float64) float64 {
	sum, squares := 0.0, 0.0
	for _, v := range spectrum {
		sum += v
		squares += v * v
	}
	return sum * sum / squares
}

// Alignment is the mean over pairs of ||x-y||^alpha on the unit sphere (Wang and
// Isola, ICML 2020); alpha is 2 usually, smaller is better.
//
//	x, y: [N, dim], row i of both are views of one image
func Alignment[F Float](x, y []F, dim int, alpha float64) (float64, error) {
	n, err := rows("alignment", x, dim)
	if err == nil {
		_, err = rows("alignment", y, dim)
	}
	if err != nil {
		return 0, err
	}
	if len(x) != len(y) || n == 0 {
		return 0, fmt.Errorf("metrics: alignment: got %d and %d vectors, want as many of both and some", n, len(y)/dim)
	}
	a, b := distance.Unit(x, dim), distance.Unit(y, dim)
	sum := 0.0
	for i := range n {
		sum += math.Pow(distance.Squared(a[i*dim:(i+1)*dim], b[i*dim:(i+1)*dim]), alpha/2)
	}
	return sum / float64(n), nil
}

// Uniformity is the logarithm of the mean over pairs of exp(-t ||xi-xj||^2) on the
// unit sphere (Wang and Isola, ICML 2020); t is 2 usually, smaller is better, 0 is a
// point.
//
//	x: [N, dim], two or more
func Uniformity[F Float](x []F, dim int, t float64) (float64, error) {
	n, err := rows("uniformity", x, dim)
	if err != nil {
		return 0, err
	}
	if n < 2 {
		return 0, fmt.Errorf("metrics: uniformity: got %d vectors, want 2 or more", n)
	}
	sums := make([]float64, n) // by row, so that the order of the additions is fixed
	err = distance.Pairs(context.Background(), distance.Unit(x, dim), dim, distance.SquaredEuclidean, func(i int, d []float64) {
		for j := range i {
			sums[i] += math.Exp(-t * d[j])
		}
	})
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, s := range sums {
		total += s
	}
	return math.Log(total / (float64(n) * float64(n-1) / 2)), nil
}

// Trustworthiness tells how far neighbours on a map are neighbours in truth (Venna
// and Kaski, 2001): 1 minus a penalty for each of the k nearest on the map by how far
// down it stands among the real neighbours; Euclidean in both. 1 is perfect. It
// compares all pairs.
//
//	x: [N, dim]; y: [N, mapDim]; 1 <= k < N/2
func Trustworthiness[A, B Float](ctx context.Context, x []A, dim int, y []B, mapDim, k int) (float64, error) {
	n, err := rows("trustworthiness", x, dim)
	if err != nil {
		return 0, err
	}
	m, err := rows("trustworthiness", y, mapDim)
	if err != nil {
		return 0, err
	}
	if m != n {
		return 0, fmt.Errorf("metrics: trustworthiness: got %d vectors and %d places on the map", n, m)
	}
	if k < 1 || 2*k >= n {
		return 0, fmt.Errorf("metrics: trustworthiness: got k %d of %d vectors, want 1 or more and less than half of them", k, n)
	}
	near := make([][]int, n)
	err = distance.Pairs(ctx, y, mapDim, distance.SquaredEuclidean, func(i int, row []float64) { near[i] = nearest(row, i, k) })
	if err != nil {
		return 0, err
	}
	var mu sync.Mutex
	penalty := 0
	err = distance.Pairs(ctx, x, dim, distance.SquaredEuclidean, func(i int, row []float64) {
		own := 0
		for _, j := range near[i] {
			rank := 1
			for l, d := range row {
				if l != i && (d < row[j] || d == row[j] && l < j) {
					rank++
				}
			}
			own += max(rank-k, 0)
		}
		mu.Lock()
		penalty += own
		mu.Unlock()
	})
	if err != nil {
		return 0, err
	}
	scale := 2 / (float64(n) * float64(k) * (2*float64(n) - 3*float64(k) - 1))
	return 1 - scale*float64(penalty), nil
}

// nearest returns the k nearest of all but i, ties by index.
func nearest(distance []float64, i, k int) []int {
	best := make([]int, 0, k+1)
	for j, d := range distance {
		if j == i || len(best) == k && d >= distance[best[k-1]] {
			continue
		}
		at := len(best)
		for at > 0 && d < distance[best[at-1]] {
			at--
		}
		best = slices.Insert(best, at, j)
		best = best[:min(len(best), k)]
	}
	return best
}

// PSNR is the peak signal-to-noise ratio in decibels: 10 log10(peak^2 / mean squared
// difference), infinite for equal pictures. peak is the largest value a sample can
// have: 1 or 255.
func PSNR[F Float](a, b []F, peak float64) (db, mse float64, err error) {
	if len(a) != len(b) || len(a) == 0 {
		return 0, 0, fmt.Errorf("metrics: PSNR: got %d and %d samples, want as many of both and some", len(a), len(b))
	}
	mse = distance.Squared(a, b) / float64(len(a))
	return 10 * math.Log10(peak*peak/mse), mse, nil
}
