package project

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"

	"github.com/sslrt/sslrt/finetune/distance"
)

// MaxTSNE is the largest number of vectors that TSNE takes: its search for neighbours
// compares all pairs.
const MaxTSNE = 100_000

// TSNEOptions are the settings of t-SNE; the zero value has scikit-learn's defaults.
type TSNEOptions struct {
	Perplexity   float64 // number of neighbours that count, about; 0 is 30
	Iterations   int     // 0 is 1000, of which the first quarter, 250 at most, exaggerate
	Exaggeration float64 // of attraction at first, so that groups find together; 0 is 12
	LearningRate float64 // 0 is N / Exaggeration / 4, at least 50
	Theta        float64 // accuracy of the repulsion, 0.05 to 0.65; 0 is 0.5
	Seed         uint64
	// Random starts from random places instead of the first two principal components.
	Random bool
	// Progress, if set, is called every 50 iterations with the divergence, which the
	// exaggeration raises at first.
	Progress func(iteration int, divergence float64)
}

func (o *TSNEOptions) fill(n int) error {
	set := func(v *float64, usual float64) {
		if *v == 0 {
			*v = usual
		}
	}
	set(&o.Perplexity, 30)
	set(&o.Exaggeration, 12)
	set(&o.LearningRate, max(float64(n)/o.Exaggeration/4, 50))
	set(&o.Theta, 0.5)
	if o.Iterations == 0 {
		o.Iterations = 1000
	}
	if !(o.Exaggeration >= 1) || !(o.LearningRate > 0) || !(o.Theta >= 0.05 && o.Theta <= 0.65) || o.Iterations < 1 {
		return fmt.Errorf("project: t-sne: got exaggeration %g, learning rate %g, theta %g, %d iterations, want 1 or more, more than 0, 0.05 to 0.65, 1 or more",
			o.Exaggeration, o.LearningRate, o.Theta, o.Iterations)
	}
	return checkPerplexity(o.Perplexity, n)
}

// Settings of the descent that scikit-learn has too.
const (
	exploration   = 250  // iterations that exaggerate
	firstMomentum = 0.5  // while they do
	momentum      = 0.8  // after
	startSpread   = 1e-4 // deviation of the start
	minGain       = 0.01
	minGradient   = 1e-7
	checkEvery    = 50
	without       = 300 // iterations without progress that end it
)

// TSNE maps vectors to the plane so that neighbours stay neighbours (van der Maaten and
// Hinton, JMLR 2008), with the approximation of Barnes and Hut (van der Maaten, JMLR
// 2014). Distances between groups on the map mean little.
//
//	x: [N, dim], up to MaxTSNE, not all equal
//	result: [N, 2], and its divergence, approximated the same way
func TSNE[F distance.Float](ctx context.Context, x []F, dim int, opt TSNEOptions) (y []float64, divergence float64, err error) {
	n, err := rows("t-sne", x, dim)
	if err != nil {
		return nil, 0, err
	}
	if n > MaxTSNE {
		return nil, 0, fmt.Errorf("project: t-sne: got %d vectors; it compares all pairs and takes %d at most: take PCA or a sample", n, MaxTSNE)
	}
	if err := opt.fill(n); err != nil {
		return nil, 0, err
	}
	y, err = start(ctx, x, dim, n, opt)
	if err != nil {
		return nil, 0, err
	}
	p, err := sparseAffinities(ctx, x, dim, opt.Perplexity)
	if err != nil {
		return nil, 0, err
	}
	d := &descent{p: p, y: y, theta: opt.Theta, force: make([]float64, 2*n), z: make([]float64, n), loss: make([]float64, n)}
	return y, d.run(ctx, opt), context.Cause(ctx)
}

// start returns the first map: principal components, made small.
func start[F distance.Float](ctx context.Context, x []F, dim, n int, opt TSNEOptions) ([]float64, error) {
	y := make([]float64, 2*n)
	rng := rand.New(rand.NewPCG(opt.Seed, 0))
	for i := range y {
		y[i] = startSpread * rng.NormFloat64()
	}
	p, err := FitPCA(ctx, x, dim, min(2, dim))
	if err != nil || opt.Random {
		return y, err // equal vectors have no map, however it starts
	}
	places, err := Transform(p, x)
	if err != nil {
		return nil, err
	}
	// The deviation of the first coordinate, with 1/N.
	scale := startSpread / math.Sqrt(p.Variance[0]*float64(n-1)/float64(n))
	for i := range n {
		for k := range p.K {
			y[2*i+k] = places[i*p.K+k] * scale
		}
	}
	return y, nil
}

// descent is the state of the optimisation.
type descent struct {
	p     *neighbourhood
	y     []float64
	theta float64
	tree  quadtree

	force   []float64 // gradient, [N, 2]
	z, loss []float64 // by point, so that the order of additions is fixed
}

func (d *descent) run(ctx context.Context, opt TSNEOptions) (divergence float64) {
	gains, update := make([]float64, len(d.y)), make([]float64, len(d.y))
	for i := range gains {
		gains[i] = 1
	}
	early := min(exploration, opt.Iterations/4)
	best, bestAt := math.Inf(1), 0
	for it := range opt.Iterations {
		exaggeration, m := 1.0, momentum
		if it < early {
			exaggeration, m = opt.Exaggeration, firstMomentum
		}
		if it == early {
			clear(update)
			for i := range gains {
				gains[i] = 1
			}
			best = math.Inf(1)
		}
		last := it == opt.Iterations-1
		check := (it+1)%checkEvery == 0 || last
		divergence = d.gradient(exaggeration, check)
		if ctx.Err() != nil {
			return divergence
		}
		norm := 0.0
		for i, g := range d.force {
			norm += g * g
			if update[i]*g < 0 {
				gains[i] += 0.2
			} else {
				gains[i] *= 0.8
			}
			gains[i] = max(gains[i], minGain)
			update[i] = m*update[i] - opt.LearningRate*gains[i]*g
			d.y[i] += update[i]
		}
		if !check {
			continue
		}
		if opt.Progress != nil {
			opt.Progress(it+1, divergence)
		}
		if divergence < best {
			best, bestAt = divergence, it
		}
		if it >= early && (it-bestAt > without || math.Sqrt(norm) <= minGradient) {
			break
		}
	}
	return d.gradient(1, true)
}

// chunk is the number of points that a worker takes at a time.
const chunk = 256

// each calls do for every point, in several goroutines; points that lie together on the
// map follow each other.
func (d *descent) each(do func(i int)) {
	n := len(d.z)
	todo := make(chan int)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+chunk-1)/chunk) {
		wg.Go(func() {
			for lo := range todo {
				for _, i := range d.tree.order[lo:min(lo+chunk, n)] {
					do(int(i))
				}
			}
		})
	}
	for lo := 0; lo < n; lo += chunk {
		todo <- lo
	}
	close(todo)
	wg.Wait()
}

// gradient fills force with the gradient of the divergence, attraction being
// exaggerated, and returns the divergence if it is wanted.
func (d *descent) gradient(exaggeration float64, wanted bool) float64 {
	d.tree.build(d.y)
	d.each(func(i int) { d.z[i], d.force[2*i], d.force[2*i+1] = d.tree.repulsion(d.y, i, d.theta) })
	z := 0.0
	for _, v := range d.z {
		z += v
	}
	d.each(func(i int) {
		yx, yy := d.y[2*i], d.y[2*i+1]
		ax, ay, loss := 0.0, 0.0, 0.0
		for e := d.p.start[i]; e < d.p.start[i+1]; e++ {
			j := d.p.to[e]
			dx, dy := yx-d.y[2*j], yy-d.y[2*j+1]
			w := 1 / (1 + dx*dx + dy*dy)
			p := exaggeration * d.p.weight[e]
			ax += p * w * dx
			ay += p * w * dy
			if wanted && p > 0 {
				loss += p * math.Log(p*z/w)
			}
		}
		d.force[2*i] = 4 * (ax - d.force[2*i]/z)
		d.force[2*i+1] = 4 * (ay - d.force[2*i+1]/z)
		d.loss[i] = loss
	})
	total := 0.0
	for _, v := range d.loss {
		total += v
	}
	return total
}
