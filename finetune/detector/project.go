package detector

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// projectedSize is the width in which the distances of a coreset are taken, as in
// PatchCore's own code.
const projectedSize = 128

// project maps the rows of x, [n, d], to projectedSize values by a random matrix,
// which nearly keeps their distances (Johnson and Lindenstrauss, 1984). Rows that
// are no wider are returned as they are.
func project(x []float32, n, d int, seed uint64) ([]float32, int) {
	if d <= projectedSize {
		return x, d
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	matrix := make([]float32, d*projectedSize)
	for i := range matrix {
		matrix[i] = float32(rng.NormFloat64() / math.Sqrt(projectedSize))
	}
	out := make([]float32, n*projectedSize)
	const piece = 4096
	parallel((n+piece-1)/piece, func(lo, hi int) {
		for p := lo; p < hi; p++ {
			from, to := p*piece, min(n, (p+1)*piece)
			blas32.Gemm(blas.NoTrans, blas.NoTrans, 1,
				blas32.General{Rows: to - from, Cols: d, Stride: d, Data: x[from*d : to*d]},
				blas32.General{Rows: d, Cols: projectedSize, Stride: projectedSize, Data: matrix}, 0,
				blas32.General{Rows: to - from, Cols: projectedSize, Stride: projectedSize, Data: out[from*projectedSize : to*projectedSize]})
		}
	})
	return out, projectedSize
}
