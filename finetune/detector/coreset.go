package detector

import (
	"context"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// coreset picks k of the n rows of x, [n, d], so that every row has a picked one
// near: greedy k-centre, which takes the row furthest from those picked so far, the
// lowest on ties, beginning with start (Roth et al., 2022; Gonzalez, 1985). It
// returns them in the order of the picks, and the distance of each but the first.
// progress, unless nil, is told how many are picked.
//
// Rows that the triangle inequality keeps with their centre are not looked at
// again: a new centre further from a centre than twice the radius of its rows takes
// none of them. The picks are those of the plain algorithm.
func coreset(ctx context.Context, x []float32, n, d, k, start int, progress func(picked int)) ([]int, []float64, error) {
	row := func(i int) []float32 { return x[i*d : (i+1)*d] }
	type centre struct {
		at      int
		rows    []int32
		radius  float32 // distance of its furthest row
		further int     // that row
	}
	dist := make([]float32, n)
	all := make([]int32, n)
	for i := range all {
		all[i] = int32(i)
	}
	first := centre{at: start, rows: all}
	parallel(n, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			dist[i] = distance(row(i), row(start))
		}
	})
	measure := func(c *centre) {
		c.radius, c.further = -1, c.at
		for _, i := range c.rows {
			if dist[i] > c.radius || dist[i] == c.radius && int(i) < c.further {
				c.radius, c.further = dist[i], int(i)
			}
		}
	}
	measure(&first)
	centres := []centre{first}
	picks, distances := []int{start}, []float64(nil)
	for len(picks) < min(k, n) {
		if len(picks)%64 == 0 {
			if err := ctx.Err(); err != nil {
				return nil, nil, err
			}
			if progress != nil {
				progress(len(picks))
			}
		}
		far := 0
		for i := range centres {
			c, best := &centres[i], &centres[far]
			if c.radius > best.radius || c.radius == best.radius && c.further < best.further {
				far = i
			}
		}
		next := centre{at: centres[far].further}
		picks = append(picks, next.at)
		distances = append(distances, float64(centres[far].radius))
		target := row(next.at)
		moved := make([][]int32, len(centres))
		parallel(len(centres), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				c := &centres[i]
				between := distance(row(c.at), target)
				if between > 2*c.radius {
					continue
				}
				left := c.rows[:0]
				for _, r := range c.rows {
					// Its own centre is nearer than half the way: the new one is no nearer.
					if 2*dist[r] >= between {
						if to := distance(row(int(r)), target); to < dist[r] {
							dist[r] = to
							moved[i] = append(moved[i], r)
							continue
						}
					}
					left = append(left, r)
				}
				if len(left) < len(c.rows) {
					c.rows = left
					measure(c)
				}
			}
		})
		for _, rows := range moved {
			next.rows = append(next.rows, rows...)
		}
		dist[next.at] = 0
		measure(&next)
		centres = append(centres, next)
	}
	return picks, distances, nil
}

// distance is the Euclidean distance of a and b.
func distance(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a) && i+4 <= len(b); i += 4 {
		d0, d1, d2, d3 := a[i]-b[i], a[i+1]-b[i+1], a[i+2]-b[i+2], a[i+3]-b[i+3]
		s0 += d0 * d0
		s1 += d1 * d1
		s2 += d2 * d2
		s3 += d3 * d3
	}
	for ; i < len(a); i++ {
		s0 += (a[i] - b[i]) * (a[i] - b[i])
	}
	return float32(math.Sqrt(float64(s0 + s1 + s2 + s3)))
}

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
