package distance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// Both paths against sums in float64, at sizes around those of a tile.
func TestDots(t *testing.T) {
	defer func(have bool) { haveFMA = have }(haveFMA)
	paths := []bool{false}
	if haveFMA {
		paths = append(paths, true)
	}
	dims := []int{64, 127, 128, 384, 1000}
	for dim := 1; dim <= 33; dim++ {
		dims = append(dims, dim)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for _, haveFMA = range paths {
		for _, dim := range dims {
			for _, m := range []int{0, 1, 3, 4, 5, 9} {
				for _, n := range []int{0, 1, 2, 3, 4, 7} {
					checkDots(t, rng, m, n, dim)
				}
			}
		}
		checkDots(t, rng, 150, 77, 65)
	}
}

func checkDots(t *testing.T, rng *rand.Rand, m, n, dim int) {
	t.Helper()
	random := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		return x
	}
	a, b := random(m*dim), random(n*dim)
	const beyond = 12345
	dst := random(m*n + 1) // what was there has no part in it
	dst[m*n] = beyond
	Dots(dst, a, b, dim)
	for i := range m {
		for j := range n {
			sum, size := 0.0, 0.0
			for k := range dim {
				v := float64(a[i*dim+k]) * float64(b[j*dim+k])
				sum, size = sum+v, size+math.Abs(v)
			}
			if got := float64(dst[i*n+j]); !(math.Abs(got-sum) <= float64(dim)*0x1p-24*size) {
				t.Fatalf("FMA %v, %d and %d rows of %d: product %d, %d: got %v, want %v", haveFMA, m, n, dim, i, j, got, sum)
			}
		}
	}
	if dst[m*n] != beyond {
		t.Fatalf("FMA %v, %d and %d rows of %d: wrote beyond the end", haveFMA, m, n, dim)
	}
}

func BenchmarkDots(b *testing.B) {
	const m, n, dim = 64, 1024, 128
	a, c, dst := make([]float32, m*dim), make([]float32, n*dim), make([]float32, m*n)
	for _, fma := range []bool{haveFMA, false} {
		b.Run(fmt.Sprintf("fma=%v", fma), func(b *testing.B) {
			defer func(have bool) { haveFMA = have }(haveFMA)
			haveFMA = fma
			for b.Loop() {
				Dots(dst, a, c, dim)
			}
		})
	}
}
