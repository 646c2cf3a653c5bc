package cluster

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

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
// a subset first; PatchCore keeps it as its coreset. It takes O(k N dim) time, most of
// it in products of float32 matrices, whose rounding decides nothing, and 4 dim + 16
// bytes for each vector beside x. done, if not nil, is called after each pick.
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
	if done == nil {
		done = func(int) {}
	}
	c := newCentres(x, dim)
	cover := &Cover{}
	pick := func(i int, squared float64) {
		cover.Indices = append(cover.Indices, i)
		cover.Apart = append(cover.Apart, math.Sqrt(squared))
		c.near[i] = -1
		done(len(cover.Indices))
	}
	pick(first, math.Inf(1))
	for seen := 0; ; {
		if err := c.update(ctx, cover.Indices[seen:]); err != nil {
			return nil, err
		}
		if seen = len(cover.Indices); seen == k {
			break
		}
		if err := c.pickAmongFarthest(ctx, min(k-seen, maxBatch), pick); err != nil {
			return nil, err
		}
	}
	cover.Radius = math.Sqrt(max(slices.Max(c.near), 0))
	return cover, nil
}

// centres is the work of KCentre. The next picks are made among the vectors that are
// farthest from the picks so far, as long as no other can be farther; then all vectors
// learn of these picks at once, by one product of matrices.
type centres[F distance.Float] struct {
	x    []F
	dim  int
	near []float64 // squared distance to the nearest pick; -1 for a pick

	// Bounds: bound[i] + bound[j] - 2 flat[i] flat[j] is at most square times the squared
	// distance of i and j. flat are the vectors less their mean, which keeps digits, and
	// scaled by a power of two to at most 1, so that no product overflows.
	flat   []float32
	bound  []float64
	square float64 // of that scale
}

const (
	candidates = 4096 // about so many vectors are looked at for the next picks
	maxBatch   = 1024 // picks before all vectors learn of them
	tileRows   = 64   // vectors that learn together
)

func newCentres[F distance.Float](x []F, dim int) *centres[F] {
	n := len(x) / dim
	c := &centres[F]{x: x, dim: dim, near: make([]float64, n), flat: make([]float32, len(x)), bound: make([]float64, n)}
	mean := distance.Mean(x, dim)
	largest := 0.0
	for i, v := range x {
		largest = max(largest, math.Abs(float64(v)-mean[i%dim]))
	}
	scale := 0.0 // bounds nothing; where float64 cannot hold squares
	if largest > 0x1p-500 && largest < 0x1p500 {
		_, exponent := math.Frexp(largest)
		scale = math.Ldexp(1, -exponent)
	}
	c.square = scale * scale
	// Rounding, twice what it can be: of sums, by (dim+4) 2^-24 of the two squared
	// lengths; of numbers near the smallest, by much less than 2^-140 each.
	relative, absolute := float64(dim+4)*0x1p-23, float64(dim)*0x1p-140
	for i := range n {
		c.near[i] = math.Inf(1)
		sum, row := 0.0, c.flat[i*dim:(i+1)*dim]
		for k, v := range c.row(i) {
			row[k] = float32((float64(v) - mean[k]) * scale)
			sum += float64(row[k]) * float64(row[k])
		}
		c.bound[i] = sum*(1-relative) - absolute
	}
	return c
}

func (c *centres[F]) row(i int) []F { return c.x[i*c.dim : (i+1)*c.dim] }

// update lowers the distances of all vectors by those to new picks.
func (c *centres[F]) update(ctx context.Context, picks []int) error {
	flat, bound := make([]float32, 0, len(picks)*c.dim), make([]float64, len(picks))
	for j, p := range picks {
		flat = append(flat, c.flat[p*c.dim:(p+1)*c.dim]...)
		bound[j] = c.bound[p]
	}
	n := len(c.near)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			dots := make([]float32, tileRows*len(picks))
			for ctx.Err() == nil {
				lo := int(next.Add(tileRows)) - tileRows
				if lo >= n {
					return
				}
				hi := min(lo+tileRows, n)
				distance.Dots(dots, c.flat[lo*c.dim:hi*c.dim], flat, c.dim)
				for i := lo; i < hi; i++ {
					c.near[i] = c.lower(c.near[i], i, picks, bound, dots[(i-lo)*len(picks):(i-lo+1)*len(picks)])
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// lower returns near, vector i's squared distance to the nearest pick, as it is with
// more picks, of which bound are the bounds and dots the products with i. What the
// bounds leave open is computed; what no number can bound (NaN) is, too.
func (c *centres[F]) lower(near float64, i int, picks []int, bound []float64, dots []float32) float64 {
	if near <= 0 {
		return near
	}
	least := near*c.square - c.bound[i]
	bound = bound[:len(dots)]
	for j, dot := range dots {
		if !(bound[j]-2*float64(dot) >= least) {
			near = min(near, distance.Squared(c.row(i), c.row(picks[j])))
			least = near*c.square - c.bound[i]
		}
	}
	return near
}

// pickAmongFarthest makes at least one pick and at most k.
func (c *centres[F]) pickAmongFarthest(ctx context.Context, k int, pick func(i int, squared float64)) error {
	limit := c.limit()
	var index []int
	var near []float64
	var flat []float32
	left := len(c.near) // the first of those that have the limit and are no candidates
	for i, d := range c.near {
		switch {
		case d == limit && len(index) >= 2*candidates:
			left = min(left, i)
		case d >= limit:
			index, near = append(index, i), append(near, d)
			flat = append(flat, c.flat[i*c.dim:(i+1)*c.dim]...)
		}
	}
	dots := make([]float32, len(index))
	for range k {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		best := 0
		for i, d := range near {
			if d > near[best] {
				best = i
			}
		}
		p := index[best]
		if near[best] < limit || near[best] == limit && p > left {
			return nil // another vector may come first
		}
		pick(p, near[best])
		near[best] = -1
		distance.Dots(dots, flat, flat[best*c.dim:(best+1)*c.dim], c.dim)
		for i := range dots {
			near[i] = c.lower(near[i], index[i], index[best:best+1], c.bound[p:p+1], dots[i:i+1])
		}
	}
	return nil
}

// limit returns a squared distance that about as many vectors reach as there shall be
// candidates, by a sample, and at least one does.
func (c *centres[F]) limit() float64 {
	n := len(c.near)
	if n <= candidates {
		return 0
	}
	var sample []float64
	for i := 0; i < n; i += n/candidates + 1 {
		sample = append(sample, c.near[i])
	}
	slices.Sort(sample)
	return max(sample[len(sample)-1-len(sample)*candidates/n], 0)
}
