package cluster

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/sslrt/sslrt/finetune/distance"
)

// KMeansOptions are the settings of k-means. K must be set.
type KMeansOptions struct {
	K             int
	Restarts      int     // runs, of which the best counts; 0 is 10 (3 with BatchSize)
	MaxIterations int     // of a run; 0 is 300
	Tolerance     float64 // end when centres move less: the sum of squares, relative to the mean variance; 0 is 1e-4, negative none
	BatchSize     int     // vectors of a step of mini-batch k-means; 0 uses all in each
	Seed          uint64
	// Progress, if set, is called after each run with its number, from 1, and inertia.
	Progress func(run int, inertia float64)
}

func (o *KMeansOptions) fill() {
	if o.Restarts == 0 {
		o.Restarts = 10
		if o.BatchSize > 0 {
			o.Restarts = 3
		}
	}
	if o.MaxIterations == 0 {
		o.MaxIterations = 300
	}
	if o.Tolerance == 0 {
		o.Tolerance = 1e-4
	}
}

// Means is a clustering around means.
type Means struct {
	K, Dim     int
	Centroids  []float64 // [K, Dim]
	Labels     []int     // [N], the nearest centroid, the first of equals
	Inertia    float64   // sum of squared distances to it
	Iterations int       // of the best run: passes over the data, or mini-batches
}

// KMeans clusters vectors so that the sum of squared distances to the mean of their
// cluster is small: the best of several runs of Lloyd's algorithm from starts by
// k-means++ (Arthur and Vassilvitskii, 2007, with several candidates for each centre),
// or of mini-batch k-means (Sculley, 2010).
//
//	x: [N, dim], with at least K different vectors
func KMeans[F distance.Float](ctx context.Context, x []F, dim int, opt KMeansOptions) (*Means, error) {
	n, err := check("k-means", x, dim, opt.K)
	if err != nil {
		return nil, err
	}
	opt.fill()
	if opt.Restarts < 0 || opt.MaxIterations < 0 || opt.BatchSize < 0 {
		return nil, fmt.Errorf("cluster: k-means: got %d restarts, %d iterations, batches of %d, want none negative", opt.Restarts, opt.MaxIterations, opt.BatchSize)
	}
	var best *Means
	for run := range opt.Restarts {
		rng := rand.New(rand.NewPCG(opt.Seed, uint64(run)))
		var m *Means
		if opt.BatchSize > 0 && opt.BatchSize < n {
			m, err = miniBatch(ctx, x, dim, opt, rng)
		} else {
			var start []float64
			if start, err = plusPlus(ctx, x, dim, opt.K, rng); err == nil {
				m, err = Lloyd(ctx, x, dim, start, opt)
			}
		}
		if err != nil {
			return nil, err
		}
		if opt.Progress != nil {
			opt.Progress(run+1, m.Inertia)
		}
		if best == nil || m.Inertia < best.Inertia {
			best = m
		}
	}
	return best, nil
}

// plusPlus picks k different vectors as centres, each with a chance in proportion to
// its squared distance to those before; of several candidates the one that lowers
// the sum of these most.
func plusPlus[F distance.Float](ctx context.Context, x []F, dim, k int, rng *rand.Rand) ([]float64, error) {
	n := len(x) / dim
	row := func(i int) []F { return x[i*dim : (i+1)*dim] }
	var centres []float64
	add := func(i int) {
		for _, v := range row(i) {
			centres = append(centres, float64(v))
		}
	}
	first := rng.IntN(n)
	add(first)
	near := make([]float64, n) // squared distance to the nearest centre
	sum := 0.0
	for i := range near {
		near[i] = distance.Squared(row(i), row(first))
		sum += near[i]
	}
	trials := 2 + int(math.Log(float64(k)))
	candidates := make([]F, trials*dim)
	picks := make([]int, trials)
	next := make([][]float64, trials)
	for t := range next {
		next[t] = make([]float64, n)
	}
	for c := 1; c < k; c++ {
		if sum == 0 {
			return nil, fmt.Errorf("cluster: k-means: got k %d, but only %d different vectors", k, c)
		}
		for t := range trials {
			at := rng.Float64() * sum
			picks[t] = n - 1
			for i, d := range near {
				if at -= d; at < 0 {
					picks[t] = i
					break
				}
			}
			for near[picks[t]] == 0 { // rounding: step back to one that may be drawn
				picks[t] = (picks[t] + n - 1) % n
			}
			copy(candidates[t*dim:], row(picks[t]))
		}
		err := distance.Between(ctx, x, candidates, dim, distance.SquaredEuclidean, func(i int, d []float64) {
			for t, v := range d {
				if picks[t] == i {
					v = 0
				}
				next[t][i] = min(v, near[i])
			}
		})
		if err != nil {
			return nil, err
		}
		best := 0
		sum = math.Inf(1)
		for t := range trials {
			total := 0.0
			for _, d := range next[t] {
				total += d
			}
			if total < sum {
				best, sum = t, total
			}
		}
		add(picks[best])
		copy(near, next[best])
	}
	return centres, nil
}

// Lloyd runs k-means from given centroids until no vector changes its cluster, the
// centres move less than opt.Tolerance, or opt.MaxIterations passes are done. A
// cluster that runs empty takes the vector farthest from its centre. Of opt only these
// two are used.
//
//	x: [N, dim]
//	start: [K, dim]
func Lloyd[F distance.Float](ctx context.Context, x []F, dim int, start []float64, opt KMeansOptions) (*Means, error) {
	if _, err := distance.Rows(start, dim); err != nil {
		return nil, fmt.Errorf("cluster: k-means: centroids: %w", err)
	}
	k := len(start) / dim
	n, err := check("k-means", x, dim, k)
	if err != nil {
		return nil, err
	}
	opt.fill()
	limit := max(opt.Tolerance, 0) * meanVariance(x, dim)
	m := &Means{K: k, Dim: dim, Centroids: slices.Clone(start), Labels: make([]int, n)}
	before := make([]int, n)
	for i := range before {
		before[i] = -1
	}
	for m.Iterations < opt.MaxIterations {
		if err := assignTo(ctx, m.Labels, nil, x, dim, m.Centroids); err != nil {
			return nil, err
		}
		m.Iterations++
		next := means(x, m)
		moved := distance.Squared(next, m.Centroids)
		m.Centroids = next
		if slices.Equal(m.Labels, before) {
			break
		}
		if moved <= limit {
			break
		}
		copy(before, m.Labels)
	}
	return m, m.settle(ctx, func(ctx context.Context, own []float64) error {
		return assignTo(ctx, m.Labels, own, x, dim, m.Centroids)
	})
}

// settle makes labels and inertia those of the final centroids.
func (m *Means) settle(ctx context.Context, assign func(context.Context, []float64) error) error {
	own := make([]float64, len(m.Labels))
	if err := assign(ctx, own); err != nil {
		return err
	}
	m.Inertia = 0
	for _, d := range own {
		m.Inertia += d
	}
	return nil
}

// assignTo writes the nearest centroid of each vector, the first of equals, and, if
// own is not nil, the squared distance to it.
func assignTo[F distance.Float](ctx context.Context, labels []int, own []float64, x []F, dim int, centroids []float64) error {
	return distance.Between(ctx, x, centroids, dim, distance.SquaredEuclidean, func(i int, d []float64) {
		best := 0
		for j, v := range d {
			if v < d[best] {
				best = j
			}
		}
		labels[i] = best
		if own != nil {
			own[i] = distance.Squared(x[i*dim:(i+1)*dim], centroids[best*dim:(best+1)*dim])
		}
	})
}

// Assign returns the nearest centroid of each vector.
//
//	x: [M, Dim]
func Assign[F distance.Float](ctx context.Context, m *Means, x []F) ([]int, error) {
	n, err := distance.Rows(x, m.Dim)
	if err != nil {
		return nil, fmt.Errorf("cluster: assign: %w", err)
	}
	labels := make([]int, n)
	return labels, assignTo(ctx, labels, nil, x, m.Dim, m.Centroids)
}

// means returns the mean of each cluster. Empty ones take over the vectors that lie
// farthest from their centres, as scikit-learn does.
func means[F distance.Float](x []F, m *Means) []float64 {
	sums, sizes := make([]float64, m.K*m.Dim), make([]float64, m.K)
	move := func(i, cluster int, sign float64) {
		for j, v := range x[i*m.Dim : (i+1)*m.Dim] {
			sums[cluster*m.Dim+j] += sign * float64(v)
		}
		sizes[cluster] += sign
	}
	for i, l := range m.Labels {
		move(i, l, 1)
	}
	var empty []int
	for k, s := range sizes {
		if s == 0 {
			empty = append(empty, k)
		}
	}
	if len(empty) > 0 {
		far := farthest(x, m, len(empty))
		for e, i := range far {
			move(i, m.Labels[i], -1)
			move(i, empty[e], 1)
		}
	}
	for k, s := range sizes {
		for j := range m.Dim {
			if s > 0 {
				sums[k*m.Dim+j] /= s
			} else {
				sums[k*m.Dim+j] = m.Centroids[k*m.Dim+j]
			}
		}
	}
	return sums
}

// farthest returns the count vectors farthest from their centroids, the farthest first.
func farthest[F distance.Float](x []F, m *Means, count int) []int {
	apart, order := make([]float64, len(m.Labels)), make([]int, len(m.Labels))
	for i, l := range m.Labels {
		apart[i] = distance.Squared(x[i*m.Dim:(i+1)*m.Dim], m.Centroids[l*m.Dim:(l+1)*m.Dim])
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(apart[b], apart[a]) })
	return order[:count]
}

// meanVariance is the mean over the elements of their variance.
func meanVariance[F distance.Float](x []F, dim int) float64 {
	mean, sum := distance.Mean(x, dim), 0.0
	for i, v := range x {
		d := float64(v) - mean[i%dim]
		sum += d * d
	}
	return sum / float64(len(x))
}
