package distance

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

func Example() {
	x := []float32{0, 0, 3, 4} // [2, 2]
	Pairs(context.Background(), x, 2, Euclidean, func(i int, distance []float64) {
		if i == 0 {
			fmt.Println(distance)
		}
	})
	// Output: [0 5]
}

// Sizes around the block size agree with the definition.
func TestBetween(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const dim = 5
	for _, n := range []int{1, block, block + 1} {
		a, b := make([]float32, n*dim), make([]float32, 3*dim)
		for i := range a {
			a[i] = float32(rng.NormFloat64() + 100) // far from 0
		}
		for i := range b {
			b[i] = float32(rng.NormFloat64() + 100)
		}
		for _, m := range []Metric{Euclidean, SquaredEuclidean, Cosine} {
			var mu sync.Mutex
			seen := 0
			err := Between(context.Background(), a, b, dim, m, func(i int, got []float64) {
				mu.Lock()
				defer mu.Unlock()
				seen++
				for j, d := range got {
					if want := plain(m, a[i*dim:(i+1)*dim], b[j*dim:(j+1)*dim]); math.Abs(d-want) > 1e-10 {
						t.Errorf("%v: distance of %d and %d: got %v, want %v", m, i, j, d, want)
					}
				}
			})
			if err != nil || seen != n {
				t.Errorf("got %v, %d rows, want %d", err, seen, n)
			}
		}
	}
}

func plain(m Metric, a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	switch m {
	case Cosine:
		return 1 - ab/math.Sqrt(aa*bb)
	case Euclidean:
		return math.Sqrt(Squared(a, b))
	}
	return Squared(a, b)
}

func TestCancelled(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	if err := Pairs(ctx, make([]float32, 1000*block), 1, Euclidean, func(int, []float64) {}); !errors.Is(err, why) {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestRows(t *testing.T) {
	if n, err := Rows([]float32{1, 2, 3, 4}, 2); n != 2 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	for _, c := range []struct {
		x    []float64
		dim  int
		want string
	}{
		{[]float64{1, 2, 3}, 2, "rows of 2"},
		{[]float64{1}, 0, "rows of 0"},
		{[]float64{1, 2, 3, math.NaN()}, 2, "row 1 holds NaN"},
		{[]float64{math.Inf(-1)}, 1, "row 0 holds -Inf"},
	} {
		if _, err := Rows(c.x, c.dim); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want an error with %q", err, c.want)
		}
	}
}
