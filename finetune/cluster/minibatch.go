package cluster

import (
	"context"
	"math"
	"math/rand/v2"

	"github.com/sslrt/sslrt/finetune/distance"
)

// patience is the number of mini-batches without improvement that ends a run.
const patience = 10

// miniBatch moves each centroid towards the vectors of small random batches that are
// nearest to it, by the inverse of the number it has seen (Sculley, "Web-Scale K-Means
// Clustering", 2010). It ends when the smoothed inertia of the batches has not fallen
// for a while, or after opt.MaxIterations times as many vectors as there are.
func miniBatch[F distance.Float](ctx context.Context, x []F, dim int, opt KMeansOptions, rng *rand.Rand) (*Means, error) {
	n := len(x) / dim
	draw := func(count int) []F {
		var out []F
		for range count {
			i := rng.IntN(n)
			out = append(out, x[i*dim:(i+1)*dim]...)
		}
		return out
	}
	start, err := plusPlus(ctx, draw(min(n, 3*max(opt.BatchSize, opt.K))), dim, opt.K, rng)
	if err != nil { // the sample has too few different vectors: try all
		if start, err = plusPlus(ctx, x, dim, opt.K, rng); err != nil {
			return nil, err
		}
	}
	m := &Means{K: opt.K, Dim: dim, Centroids: start, Labels: make([]int, n)}
	seen := make([]float64, opt.K)
	labels, own := make([]int, opt.BatchSize), make([]float64, opt.BatchSize)
	smooth, best, waited := math.NaN(), math.Inf(1), 0
	weight := min(1, 2*float64(opt.BatchSize)/float64(n+1))
	steps := opt.MaxIterations * ((n + opt.BatchSize - 1) / opt.BatchSize)
	for m.Iterations < steps && waited < patience {
		batch := draw(opt.BatchSize)
		if err := assignTo(ctx, labels, own, batch, dim, m.Centroids); err != nil {
			return nil, err
		}
		m.Iterations++
		inertia := 0.0
		for i, l := range labels {
			inertia += own[i]
			seen[l]++
			rate := 1 / seen[l]
			for j, v := range batch[i*dim : (i+1)*dim] {
				c := &m.Centroids[l*dim+j]
				*c += rate * (float64(v) - *c)
			}
		}
		if math.IsNaN(smooth) {
			smooth = inertia
		} else {
			smooth += weight * (inertia - smooth)
		}
		if waited++; smooth < best {
			best, waited = smooth, 0
		}
	}
	return m, m.settle(ctx, func(ctx context.Context, own []float64) error {
		return assignTo(ctx, m.Labels, own, x, dim, m.Centroids)
	})
}
