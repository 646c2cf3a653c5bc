package cluster

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/finetune/distance"
)

// blobs returns n vectors around k corners far apart, and their corner.
func blobs(n, dim, k int) (x []float32, corner []int) {
	rng := rand.New(rand.NewPCG(7, 8))
	for i := range n {
		corner = append(corner, i%k)
		for j := range dim {
			c := 0.0
			if j == i%k%dim {
				c = 20 * float64(1+i%k/dim)
			}
			x = append(x, float32(c+rng.NormFloat64()))
		}
	}
	return x, corner
}

// same reports whether two labellings are the same up to names.
func same(a, b []int) bool {
	to, back := map[int]int{}, map[int]int{}
	for i := range a {
		if v, ok := to[a[i]]; ok && v != b[i] {
			return false
		}
		if v, ok := back[b[i]]; ok && v != a[i] {
			return false
		}
		to[a[i]], back[b[i]] = b[i], a[i]
	}
	return true
}

func TestFindsBlobs(t *testing.T) {
	ctx := context.Background()
	x, corner := blobs(600, 4, 7)
	for _, batch := range []int{0, 100} {
		a, err := KMeans(ctx, x, 4, KMeansOptions{K: 7, BatchSize: batch, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		if !same(a.Labels, corner) {
			t.Errorf("batch %d: other clusters than the corners", batch)
		}
		b, err := KMeans(ctx, x, 4, KMeansOptions{K: 7, BatchSize: batch, Seed: 3})
		if err != nil || !slices.Equal(a.Centroids, b.Centroids) {
			t.Errorf("batch %d: the same seed gave other centroids (%v)", batch, err)
		}
		again, err := Assign(ctx, a, x)
		if err != nil || !slices.Equal(again, a.Labels) {
			t.Errorf("batch %d: assigning again gave other labels (%v)", batch, err)
		}
	}
	for _, l := range []Linkage{Ward, Average, Complete, Single} {
		tree, err := Agglomerate(ctx, x, 4, l, distance.Euclidean)
		if err != nil {
			t.Fatal(err)
		}
		labels, err := tree.Cut(7)
		if err != nil || !same(labels, corner) {
			t.Errorf("%v: other clusters than the corners (%v)", l, err)
		}
		m, err := MeansOf(ctx, x, 4, labels, 7)
		if err != nil {
			t.Fatal(err)
		}
		if assigned, _ := Assign(ctx, m, x); !slices.Equal(assigned, labels) {
			t.Errorf("%v: the nearest means are those of other clusters", l)
		}
	}
}

// Lloyd's fixed point: each centroid is the mean of its vectors, each vector nearest
// to its centroid.
func TestLloydFixedPoint(t *testing.T) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(1, 1))
	x := make([]float64, 300*3)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	m, err := Lloyd(ctx, x, 3, x[:5*3], KMeansOptions{Tolerance: -1})
	if err != nil {
		t.Fatal(err)
	}
	again, err := MeansOf(ctx, x, 3, m.Labels, 5)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range again.Centroids {
		if math.Abs(c-m.Centroids[i]) > 1e-12 {
			t.Errorf("centroid value %d: got %v, the mean is %v", i, m.Centroids[i], c)
		}
	}
	if math.Abs(again.Inertia-m.Inertia) > 1e-9 {
		t.Errorf("inertia: got %v, want %v", m.Inertia, again.Inertia)
	}
}

// A start that leaves a cluster empty: the farthest vector becomes its centre.
func TestEmptyClusterMoves(t *testing.T) {
	x := []float64{0, 1, 10, 11, 50}
	m, err := Lloyd(context.Background(), x, 1, []float64{0.5, 10.5, 1000}, KMeansOptions{Tolerance: -1})
	if err != nil {
		t.Fatal(err)
	}
	if !same(m.Labels, []int{0, 0, 1, 1, 2}) || m.Inertia != 1 {
		t.Errorf("got %v, inertia %v", m.Labels, m.Inertia)
	}
}

// The tree against its definition: at each step the two clusters nearest by linkage.
func TestTreeByDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	const n, dim = 24, 3
	x := make([]float64, n*dim)
	for i := range x {
		x[i] = rng.NormFloat64() + 2
	}
	row := func(i int) []float64 { return x[i*dim : (i+1)*dim] }
	for _, metric := range []distance.Metric{distance.Euclidean, distance.Cosine} {
		d := make([][]float64, n)
		distance.Pairs(context.Background(), x, dim, metric, func(i int, r []float64) { d[i] = slices.Clone(r) })
		for _, l := range []Linkage{Ward, Average, Complete, Single} {
			if l == Ward && metric == distance.Cosine {
				continue
			}
			tree, err := Agglomerate(context.Background(), x, dim, l, metric)
			if err != nil {
				t.Fatal(err)
			}
			var groups [][]int
			for i := range n {
				groups = append(groups, []int{i})
			}
			for step, m := range tree.Merges {
				best, a, b := math.Inf(1), 0, 0
				for i := range groups {
					for j := range i {
						if v := apart(l, d, row, groups[i], groups[j]); v < best {
							best, a, b = v, i, j
						}
					}
				}
				if math.Abs(best-m.Height) > 1e-9 || len(groups[a])+len(groups[b]) != m.Size {
					t.Fatalf("%v %v: step %d: got height %v, size %d, want %v, %d", metric, l, step, m.Height, m.Size, best, len(groups[a])+len(groups[b]))
				}
				groups[b] = append(groups[b], groups[a]...)
				groups = slices.Delete(groups, a, a+1)
			}
		}
	}
}

func apart(l Linkage, d [][]float64, row func(int) []float64, a, b []int) float64 {
	if l == Ward {
		mean := func(g []int) []float64 {
			var all []float64
			for _, i := range g {
				all = append(all, row(i)...)
			}
			return distance.Mean(all, len(row(0)))
		}
		na, nb := float64(len(a)), float64(len(b))
		return math.Sqrt(2 * na * nb / (na + nb) * distance.Squared(mean(a), mean(b)))
	}
	sum, least, most := 0.0, math.Inf(1), 0.0
	for _, i := range a {
		for _, j := range b {
			sum, least, most = sum+d[i][j], min(least, d[i][j]), max(most, d[i][j])
		}
	}
	switch l {
	case Complete:
		return most
	case Single:
		return least
	}
	return sum / float64(len(a)*len(b))
}

func TestRejects(t *testing.T) {
	ctx := context.Background()
	nan := math.NaN()
	for want, call := range map[string]func() error{
		"k 5 of 3 vectors": func() error { _, err := KMeans(ctx, []float64{1, 2, 3}, 1, KMeansOptions{K: 5}); return err },
		"k 0 of 3":         func() error { _, err := KMeans(ctx, []float64{1, 2, 3}, 1, KMeansOptions{}); return err },
		"only 1 different": func() error { _, err := KMeans(ctx, []float64{4, 4, 4}, 1, KMeansOptions{K: 2}); return err },
		"only 2 different": func() error {
			_, err := KMeans(ctx, []float64{4, 4, 5, 5}, 1, KMeansOptions{K: 3, BatchSize: 2})
			return err
		},
		"row 1 holds NaN":  func() error { _, err := KMeans(ctx, []float64{1, nan}, 1, KMeansOptions{K: 1}); return err },
		"rows of 2":        func() error { _, err := KMeans(ctx, []float64{1, 2, 3}, 2, KMeansOptions{K: 1}); return err },
		"none negative":    func() error { _, err := KMeans(ctx, []float64{1}, 1, KMeansOptions{K: 1, Restarts: -1}); return err },
		"needs euclidean":  func() error { _, err := Agglomerate(ctx, []float64{1, 2}, 1, Ward, distance.Cosine); return err },
		"20000 at most":    func() error { _, err := Agglomerate(ctx, make([]float32, MaxTree+1), 1, Ward, 0); return err },
		"first pick 3":     func() error { _, err := KCentre(ctx, []float64{1, 2}, 1, 1, 3, nil); return err },
		"cluster 1 is emp": func() error { _, err := MeansOf(ctx, []float64{1, 2}, 1, []int{0, 0}, 2); return err },
		"in cluster 7":     func() error { _, err := MeansOf(ctx, []float64{1, 2}, 1, []int{0, 7}, 2); return err },
		"got linkage":      func() error { _, err := ParseLinkage("median"); return err },
		"cut: got k 3":     func() error { _, err := (&Tree{N: 2, Merges: make([]Merge, 1)}).Cut(3); return err },
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	one, err := KMeans(ctx, []float64{3, 4}, 2, KMeansOptions{K: 1})
	if err != nil || one.Inertia != 0 {
		t.Errorf("one vector: got %v, %v", one, err)
	}
	tree, err := Agglomerate(ctx, []float64{3, 4}, 2, Ward, distance.Euclidean)
	if err != nil || len(tree.Merges) != 0 {
		t.Errorf("one vector: got %v, %v", tree, err)
	}
}

func TestCancelled(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	x, _ := blobs(500, 4, 3)
	for name, call := range map[string]func() error{
		"k-means":       func() error { _, err := KMeans(ctx, x, 4, KMeansOptions{K: 3}); return err },
		"mini-batch":    func() error { _, err := KMeans(ctx, x, 4, KMeansOptions{K: 3, BatchSize: 10}); return err },
		"agglomerative": func() error { _, err := Agglomerate(ctx, x, 4, Average, distance.Cosine); return err },
		"k-centre":      func() error { _, err := KCentre(ctx, x, 4, 3, 0, nil); return err },
	} {
		if err := call(); !errors.Is(err, why) {
			t.Errorf("%s: got %v, want the cause", name, err)
		}
	}
}
