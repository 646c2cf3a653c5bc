package cluster

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/sslrt/sslrt/finetune/distance"
)

// Cover is a spread-out subset.
type Cover struct {
	Indices []int // in the order they were picked, all different
	// Apart[i] is the distance of pick i to the nearest of those before it, +Inf for
	// the first: it never rises.
	Apart  []float64
	Radius float64 // the largest distance of a vector to the nearest pick
}

// KCentre picks k vectors, each the one farthest from those before it (Euclidean; the
// lowest index of equals), from a first one: at most twice as far from any vector as
// the best possible subset (Gonzalez, 1985). Sener and Savarese (ICLR 2018) label such
// a subset first; PatchCore keeps it as its coreset. It takes at most O(k N dim) time,
// and 16 bytes for each vector beside x. done, if not nil, is called after each pick.
//
//	x: [N, dim]
func KCentre[F distance.Float](ctx context.Context, x []F, dim, k, first int, done func(picked int)) (*Cover, error) {
	n, err := check("k-centre", x, dim, k)
	if err != nil {
		return nil, err
	}
	if first < 0 || first >= n {
		return nil, fmt.Errorf("cluster: k-centre: got first pick %d of %d vectors, want 0 to %d", first, n, n-1)
	}
	c := &centres[F]{x: x, dim: dim, near: make([]float64, n), owner: make([]int32, n)}
	for i := range c.near {
		c.near[i] = math.Inf(1)
	}
	cover := &Cover{}
	next := first
	for len(cover.Indices) < k {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		cover.Indices = append(cover.Indices, next)
		cover.Apart = append(cover.Apart, math.Sqrt(c.near[next]))
		next = c.add(cover.Indices)
		if done != nil {
			done(len(cover.Indices))
		}
	}
	cover.Radius = math.Sqrt(max(c.near[next], 0))
	return cover, nil
}

// centres is the work of KCentre.
type centres[F distance.Float] struct {
	x     []F
	dim   int
	near  []float64 // squared distance to the nearest pick; -1 for a pick
	owner []int32   // that pick's place among the picks
	apart []float64 // squared distances of the newest pick to all picks
}

// add takes in the last of the picks and returns the vector that is now the farthest.
func (c *centres[F]) add(picks []int) int {
	newest := c.row(picks[len(picks)-1])
	c.apart = c.apart[:0]
	for _, p := range picks {
		c.apart = append(c.apart, distance.Squared(newest, c.row(p)))
	}
	c.near[picks[len(picks)-1]] = -1
	n := len(c.near)
	parts := min(runtime.GOMAXPROCS(0), n)
	best := make([]int, parts)
	var wg sync.WaitGroup
	for p := range parts {
		wg.Go(func() { best[p] = c.update(newest, int32(len(picks)-1), p*n/parts, (p+1)*n/parts) })
	}
	wg.Wait()
	farthest := best[0]
	for _, i := range best {
		if c.near[i] > c.near[farthest] {
			farthest = i
		}
	}
	return farthest
}

func (c *centres[F]) row(i int) []F { return c.x[i*c.dim : (i+1)*c.dim] }

// clearly is the factor beyond which the triangle inequality leaves no doubt: a vector
// whose pick is at least twice as far from the newest pick as from the vector is not
// nearer to the newest. Squared, and with room for rounding.
const clearly = 4 * (1 + 1e-9)

// update lowers the distances of vectors lo to hi and returns the farthest of them.
func (c *centres[F]) update(newest []F, place int32, lo, hi int) int {
	farthest := lo
	for i := lo; i < hi; i++ {
		near := c.near[i]
		if near > 0 && c.apart[c.owner[i]] < clearly*near || math.IsInf(near, 1) {
			if d := squaredBelow(c.row(i), newest, near); d < near {
				c.near[i], c.owner[i] = d, place
			}
		}
		if c.near[i] > c.near[farthest] {
			farthest = i
		}
	}
	return farthest
}

// squaredBelow is the squared distance, or some number of at least limit if it is not
// below: most sums need not be finished.
func squaredBelow[F distance.Float](a, b []F, limit float64) float64 {
	const piece = 16
	sum := 0.0
	for len(a) > piece {
		sum += distance.Squared(a[:piece], b[:piece])
		if sum >= limit {
			return sum
		}
		a, b = a[piece:], b[piece:]
	}
	return sum + distance.Squared(a, b)
}
