package distance

import (
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// Dots sets dst[i*N+j] to the dot product of row i of a and row j of b, in float32:
// rounding is at most some dim * 6e-8 of the product of their lengths, and differs
// between processors. It runs on the caller's goroutine; a of some 64 rows stays in
// the cache however many b has.
//
//	a: [M, dim], b: [N, dim], dst: [M, N]
func Dots(dst, a, b []float32, dim int) {
	m, n := len(a)/dim, len(b)/dim
	if m == 0 || n == 0 {
		return
	}
	if !haveFMA {
		blas32.Gemm(blas.NoTrans, blas.Trans, 1,
			blas32.General{Rows: m, Cols: dim, Stride: dim, Data: a},
			blas32.General{Rows: n, Cols: dim, Stride: dim, Data: b}, 0,
			blas32.General{Rows: m, Cols: n, Stride: n, Data: dst})
		return
	}
	whole := dim &^ 7
	var rows [tileA + tileB]*float32
	var out [tileA * tileB]float32
	for j := 0; j < n; j += tileB {
		for t := range tileB { // beyond the last row it is taken again
			rows[tileA+t] = &b[min(j+t, n-1)*dim]
		}
		for i := 0; i < m; i += tileA {
			for t := range tileA {
				rows[t] = &a[min(i+t, m-1)*dim]
			}
			dotsFMA(&rows, whole, &out)
			for s := i; s < min(i+tileA, m); s++ {
				to := dst[s*n+j : s*n+min(j+tileB, n)]
				for t := range to {
					to[t] = out[(s-i)*tileB+t]
				}
				for k := whole; k < dim; k++ {
					for t := range to {
						to[t] += a[s*dim+k] * b[(j+t)*dim+k]
					}
				}
			}
		}
	}
}

// A tile of products is computed at once: so many rows of a and of b.
const tileA, tileB = 4, 3
