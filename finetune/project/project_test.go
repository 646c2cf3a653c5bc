package project

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/diff/fd"

	"github.com/sslrt/sslrt/finetune/distance"
	"github.com/sslrt/sslrt/finetune/metrics"
)

func ExampleFitPCA() {
	x := []float32{1, 1, 2, 2, 3, 3, 4, 4} // [4, 2], on a line
	p, err := FitPCA(context.Background(), x, 2, 1)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%.3f %.3f, all of the variance: %.2f\n", p.Components[0], p.Components[1], p.Share[0])
	// Output: 0.707 0.707, all of the variance: 1.00
}

func ExampleTSNE() {
	x := make([]float32, 0, 60*3)
	for i := range 60 { // two groups
		x = append(x, float32(i%2*50), float32(i%7), float32(i%5))
	}
	y, _, err := TSNE(context.Background(), x, 3, TSNEOptions{Perplexity: 10, Iterations: 300})
	if err != nil {
		panic(err)
	}
	near := distance.Squared(y[0:2], y[4:6])
	far := distance.Squared(y[0:2], y[2:4])
	fmt.Println(len(y), near < far)
	// Output: 120 true
}

func normal(seed uint64, n int) []float64 {
	rng := rand.New(rand.NewPCG(seed, 0))
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

// Few components of large data by random projection agree with the exact ones where
// the spectrum falls.
func TestRandomisedPCA(t *testing.T) {
	if testing.Short() {
		t.Skip("an exact spectrum of 1,001 dimensions takes seconds")
	}
	const n, dim, k = 1100, 1001, 3
	x := make([]float32, 0, n*dim)
	basis, weights := normal(1, 5*dim), normal(2, 5*n)
	noise := normal(3, n*dim)
	for i := range n {
		for j := range dim {
			v := 0.01 * noise[i*dim+j]
			for c := range 5 {
				v += weights[i*5+c] * basis[c*dim+j] * math.Pow(0.5, float64(c))
			}
			x = append(x, float32(v))
		}
	}
	ctx := context.Background()
	quick, err := FitPCA(ctx, x, dim, k)
	if err != nil {
		t.Fatal(err)
	}
	// The definition: components are eigenvectors of the covariance.
	y, err := Transform(quick, x)
	if err != nil {
		t.Fatal(err)
	}
	back := make([]float64, dim) // C^T C v
	for c := range k {
		clear(back)
		for i := range n {
			for j := range dim {
				back[j] += y[i*k+c] * (float64(x[i*dim+j]) - quick.Mean[j]) / (n - 1)
			}
		}
		for j := range back {
			if d := math.Abs(back[j] - quick.Variance[c]*quick.Components[c*dim+j]); d > 1e-6*quick.Variance[0] {
				t.Fatalf("component %d is no eigenvector: entry %d differs by %v", c, j, d)
			}
		}
	}
}

// More dimensions than vectors: the same subspace as by the definition.
func TestWidePCA(t *testing.T) {
	x := normal(4, 5*40)
	p, err := FitPCA(context.Background(), x, 40, 4)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, s := range p.Share {
		sum += s
	}
	if math.Abs(sum-1) > 1e-12 {
		t.Errorf("4 components of 5 vectors hold %v of the variance, want all", sum)
	}
	y, _ := Transform(p, x)
	for i := range 5 { // distances are kept
		for j := range i {
			a, b := distance.Squared(x[i*40:(i+1)*40], x[j*40:(j+1)*40]), distance.Squared(y[i*4:(i+1)*4], y[j*4:(j+1)*4])
			if math.Abs(a-b) > 1e-9 {
				t.Errorf("squared distance of %d and %d: got %v, want %v", i, j, b, a)
			}
		}
	}
}

func TestPerplexity(t *testing.T) {
	d := make([]float64, 50)
	for i := range d {
		d[i] = float64(i * i)
	}
	p := make([]float64, 50)
	for _, want := range []float64{1, 1.5, 10, 49} {
		precision(p, d, want)
		entropy, sum := 0.0, 0.0
		for _, v := range p {
			sum += v
			if v > 0 {
				entropy -= v * math.Log(v)
			}
		}
		if math.Abs(math.Exp(entropy)-want) > 1e-6 || math.Abs(sum-1) > 1e-12 {
			t.Errorf("perplexity: got %v, want %v (sum %v)", math.Exp(entropy), want, sum)
		}
	}
}

func TestDivergenceGradient(t *testing.T) {
	x, y := normal(5, 20*4), normal(6, 20*2)
	p, _, err := Affinities(context.Background(), x, 4, 5)
	if err != nil {
		t.Fatal(err)
	}
	_, got := Divergence(p, y)
	want := fd.Gradient(nil, func(y []float64) float64 { kl, _ := Divergence(p, y); return kl }, y, &fd.Settings{Formula: fd.Central})
	for i := range got {
		if math.Abs(got[i]-want[i]) > 1e-7 {
			t.Errorf("entry %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

// The tree's gradient is the exact one where all neighbours are kept and no cell is
// taken as a whole; with the usual theta it is near. Coinciding points are counted.
func TestBarnesHutGradient(t *testing.T) {
	const n, dim = 90, 4
	x, y := normal(7, n*dim), normal(8, n*2)
	copy(y[2*5:2*5+2], y[2*9:2*9+2])
	copy(y[2*6:2*6+2], y[2*9:2*9+2])
	exact, _, err := Affinities(context.Background(), x, dim, 30)
	if err != nil {
		t.Fatal(err)
	}
	sparse, err := sparseAffinities(context.Background(), x, dim, 30)
	if err != nil {
		t.Fatal(err)
	}
	kl, want := Divergence(exact, y)
	for _, c := range []struct{ theta, tolerance float64 }{{1e-9, 1e-12}, {0.5, 0.02}} {
		d := &descent{p: sparse, y: y, theta: c.theta, force: make([]float64, 2*n), z: make([]float64, n), loss: make([]float64, n)}
		if got := d.gradient(1, true); math.Abs(got-kl) > c.tolerance*kl {
			t.Errorf("theta %g: divergence: got %v, want %v", c.theta, got, kl)
		}
		off, size := 0.0, 0.0
		for i := range want {
			off += (d.force[i] - want[i]) * (d.force[i] - want[i])
			size += want[i] * want[i]
		}
		if math.Sqrt(off/size) > c.tolerance {
			t.Errorf("theta %g: the gradient is off by %g of its length", c.theta, math.Sqrt(off/size))
		}
	}
}

func TestTSNEKeepsNeighbours(t *testing.T) {
	const n, dim = 400, 10
	x := normal(9, n*dim)
	for i := range n {
		x[i*dim+i%4] += 8
	}
	ctx := context.Background()
	for _, random := range []bool{false, true} {
		opt := TSNEOptions{Iterations: 500, Random: random, Seed: 1}
		y, kl, err := TSNE(ctx, x, dim, opt)
		if err != nil {
			t.Fatal(err)
		}
		trust, err := metrics.Trustworthiness(ctx, x, dim, y, 2, 5)
		// scikit-learn 1.2.1 gives 0.93 on such data.
		if err != nil || trust < 0.966 || kl <= 0 {
			t.Errorf("random %v: trustworthiness %v, divergence %v, %v", random, trust, kl, err)
		}
		again, _, _ := TSNE(ctx, x, dim, opt)
		if !slices.Equal(y, again) {
			t.Logf("trust %v", trust)
			t.Errorf("random %v: the same seed gave another map", random)
		}
	}
}

func TestRejects(t *testing.T) {
	ctx := context.Background()
	for want, call := range map[string]func() error{
		"all vectors are equal":   func() error { _, err := FitPCA(ctx, []float64{1, 2, 1, 2}, 2, 1); return err },
		"3 components of 2":       func() error { _, err := FitPCA(ctx, []float64{1, 2, 3, 4}, 2, 3); return err },
		"got 1 vectors":           func() error { _, err := FitPCA(ctx, []float64{1, 2}, 2, 1); return err },
		"row 1 holds NaN":         func() error { _, _, err := TSNE(ctx, []float64{1, math.NaN()}, 1, TSNEOptions{}); return err },
		"perplexity 30 for 3":     func() error { _, _, err := TSNE(ctx, []float64{1, 2, 3}, 1, TSNEOptions{}); return err },
		"t-sne: got 100001":       func() error { _, _, err := TSNE(ctx, make([]float32, MaxTSNE+1), 1, TSNEOptions{}); return err },
		"equal":                   func() error { _, _, err := TSNE(ctx, make([]float32, 50), 1, TSNEOptions{}); return err },
		"0.05 to 0.65":            func() error { _, _, err := TSNE(ctx, normal(1, 99), 1, TSNEOptions{Theta: 2}); return err },
		"got 10001 vectors; all":  func() error { _, _, err := Affinities(ctx, make([]float32, maxExact+1), 1, 5); return err },
		"pca: got 3 numbers, wan": func() error { _, err := Transform(&PCA{Dim: 2, K: 1}, []float64{1, 2, 3}); return err },
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	why := errors.New("why")
	stopped, cancel := context.WithCancelCause(ctx)
	cancel(why)
	if _, _, err := TSNE(stopped, normal(1, 400), 2, TSNEOptions{}); !errors.Is(err, why) {
		t.Errorf("got %v, want the cause", err)
	}
	if y, _, err := TSNE(ctx, []float64{1, 2, 3, 9}, 1, TSNEOptions{Perplexity: 2}); err != nil || len(y) != 8 {
		t.Errorf("four vectors of one number: got %v, %v", y, err)
	}
}
