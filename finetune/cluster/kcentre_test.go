package cluster

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sslrt/sslrt/finetune/distance"
)

// plainKCentre is KCentre by its definition.
func plainKCentre[F distance.Float](x []F, dim, k, first int) *Cover {
	row := func(i int) []F { return x[i*dim : (i+1)*dim] }
	near := slices.Repeat([]float64{math.Inf(1)}, len(x)/dim)
	c := &Cover{}
	for next := first; ; {
		c.Indices, c.Apart = append(c.Indices, next), append(c.Apart, math.Sqrt(near[next]))
		p := next
		near[p] = -1
		for i := range near {
			near[i] = min(near[i], distance.Squared(row(i), row(p)))
			if near[i] > near[next] {
				next = i
			}
		}
		if len(c.Indices) == k {
			c.Radius = math.Sqrt(max(near[next], 0))
			return c
		}
	}
}

// checkKCentre compares in both types, index by index and bit by bit.
func checkKCentre(t *testing.T, x []float64, dim, k, first int) {
	t.Helper()
	small := make([]float32, len(x))
	for i, v := range x {
		small[i] = float32(v)
	}
	compareKCentre(t, x, dim, k, first)
	if !slices.ContainsFunc(small, func(v float32) bool { return math.IsInf(float64(v), 0) }) {
		compareKCentre(t, small, dim, k, first)
	}
}

func compareKCentre[F distance.Float](t *testing.T, x []F, dim, k, first int) {
	t.Helper()
	picked := 0
	got, err := KCentre(context.Background(), x, dim, k, first, func(n int) {
		if picked++; n != picked {
			t.Errorf("%T: told of pick %d, want %d", x, n, picked)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := plainKCentre(x, dim, k, first)
	for p := range k {
		if got.Indices[p] != want.Indices[p] || got.Apart[p] != want.Apart[p] {
			t.Fatalf("%T: pick %d: got %d at %v, want %d at %v", x, p, got.Indices[p], got.Apart[p], want.Indices[p], want.Apart[p])
		}
	}
	if got.Radius != want.Radius || picked != k {
		t.Errorf("%T: got radius %v and %d picks, want %v and %d", x, got.Radius, picked, want.Radius, k)
	}
}

// Bounds, batches and several processors change nothing, at any scale.
func TestKCentreByDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 9))
	normal := func(scale, offset float64) func() float64 {
		return func() float64 { return rng.NormFloat64()*scale + offset }
	}
	for _, c := range []struct {
		name  string
		value func() float64
		dims  []int
	}{
		{"random", normal(1, 0), []int{1, 3, 40, 131}},
		{"far from 0", normal(1, 1e4), []int{2, 17}},
		{"integers: ties and duplicates", func() float64 { return math.Round(rng.NormFloat64() * 3) }, []int{1, 3, 8, 40}},
		{"binary: all tie", func() float64 { return float64(rng.IntN(2)) }, []int{1, 4, 9, 33}},
		{"apart by the last digits", func() float64 { return 1 + float64(rng.IntN(9))*0x1p-23 }, []int{5, 24}},
		{"squares under float32's smallest", normal(1e-30, 0), []int{7, 16}},
		{"squares over float32's largest", normal(1e30, 0), []int{7, 16}},
		{"large and tiny together", func() float64 { return math.Exp(rng.NormFloat64() * 25) }, []int{2, 9}},
		{"squares over float64's largest", normal(1e160, 0), []int{3}},
		{"squares under float64's smallest", normal(1e-170, 0), []int{3}},
		{"float64's smallest", normal(1e-310, 0), []int{3}},
		{"equal", func() float64 { return 0.1 }, []int{1, 9}},
	} {
		for _, dim := range c.dims {
			t.Run(fmt.Sprintf("%s/%d", c.name, dim), func(t *testing.T) {
				const n = 301
				x := make([]float64, n*dim)
				for i := range x {
					x[i] = c.value()
				}
				checkKCentre(t, x, dim, n, 5)
				checkKCentre(t, x, dim, 1, n-1)
			})
		}
	}
}

// More vectors than candidates and more picks than a batch, with ties across both.
func TestKCentreInBatches(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	const n, dim, k = 4*candidates + 3, 4, maxBatch + 500
	spread, ties, equal := make([]float64, n*dim), make([]float64, n*dim), make([]float64, n*dim)
	for i := range spread {
		spread[i] = rng.ExpFloat64()
		ties[i] = float64(rng.IntN(6))
	}
	for i := range dim { // the farthest, then n-1 equal ones
		equal[n/2*dim+i] = 1
	}
	for _, x := range [][]float64{spread, ties, equal} {
		checkKCentre(t, x, dim, k, 7)
	}
}

// Between two large vectors, those whose products float32 takes for 0.
func TestKCentreOfTinyVectors(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	const n, dim = 200, 8
	x := make([]float64, n*dim)
	for i := range x {
		x[i] = rng.NormFloat64() * 1e-25
	}
	for i := range dim {
		x[i], x[dim+i] = 1, -1
	}
	checkKCentre(t, x, dim, n, 0)
}

// A candidate comes down to the distance of vectors that are none, of lower index.
func TestKCentreTiesBeyondCandidates(t *testing.T) {
	var x []float64
	add := func(times int, a, b float64) { x = append(x, slices.Repeat([]float64{a, b}, times)...) }
	add(2*candidates, 2, 0)
	add(candidates, -2, 0) // as far from the first pick
	add(1, 0, 14)
	add(1, 0, 12) // 2 from the one before
	add(candidates, -2, 0)
	add(1, 0, 0)
	checkKCentre(t, x, 2, 6, len(x)/2-1)
}

func BenchmarkKCentre(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	const n, dim = 20000, 128
	x := make([]float32, n*dim)
	for i := range x {
		x[i] = float32(rng.ExpFloat64())
	}
	for b.Loop() {
		if _, err := KCentre(context.Background(), x, dim, n/10, 0, nil); err != nil {
			b.Fatal(err)
		}
	}
}
