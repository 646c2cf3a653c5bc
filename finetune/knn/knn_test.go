package knn

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sbinet/npyio/npz"
)

// golden returns the folder of scikit-learn's numbers, or skips the test.
func golden(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("SSLRT_SHARED")
	if dir == "" {
		dir = "../shared"
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join("..", "..", dir) // relative to the module's root
	}
	dir = filepath.Join(dir, "golden", "evalmetrics")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no reference data: %v (set SSLRT_SHARED)", err)
	}
	return dir
}

func load[T any](t *testing.T, z *npz.Reader, name string) []T {
	t.Helper()
	var out []T
	if err := z.Read(name+".npy", &out); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

func ints(x []int64) []int {
	out := make([]int, len(x))
	for i, v := range x {
		out[i] = int(v)
	}
	return out
}

func TestGolden(t *testing.T) {
	dir := golden(t)
	text, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name, File, Op string
		Params         struct {
			K, Classes int
			T          float64
		}
		Arrays    map[string]struct{ Shape []int }
		Tolerance struct{ Rtol, Atol float64 }
		Expected  struct{ Top1, Top5 float64 }
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, c := range cases {
		if c.Op != "knn" {
			continue
		}
		ran++
		t.Run(c.Name, func(t *testing.T) {
			z, err := npz.Open(filepath.Join(dir, c.File))
			if err != nil {
				t.Fatal(err)
			}
			defer z.Close()
			dim := c.Arrays["train_x"].Shape[1]
			testX := load[float32](t, z, "test_x")
			clf, err := New(load[float32](t, z, "train_x"), ints(load[int64](t, z, "train_y")), dim,
				Options{K: c.Params.K, Temperature: c.Params.T, Classes: c.Params.Classes})
			if err != nil {
				t.Fatal(err)
			}
			votes, err := clf.Votes(testX)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range load[float64](t, z, "votes_normalized_f64") {
				if d := math.Abs(votes[i] - want); d > c.Tolerance.Atol+c.Tolerance.Rtol*math.Abs(want) {
					t.Fatalf("votes[%d]: got %v, want %v", i, votes[i], want)
				}
			}
			pred, err := clf.Predict(testX)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range load[int64](t, z, "pred") {
				if pred[i] != int(want) {
					t.Errorf("prediction %d: got %d, want %d", i, pred[i], want)
				}
			}
			res, err := clf.Evaluate(testX, ints(load[int64](t, z, "test_y")))
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(res.Accuracy-c.Expected.Top1) > 1e-12 || math.Abs(res.Top5-c.Expected.Top5) > 1e-12 {
				t.Errorf("got accuracy %v, top 5 %v, want %v, %v", res.Accuracy, res.Top5, c.Expected.Top1, c.Expected.Top5)
			}
			shape := c.Arrays["neighbours"].Shape
			near, err := clf.index.Nearest(testX, shape[1])
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range load[int64](t, z, "neighbours") {
				if got := near[i/shape[1]][i%shape[1]].Index; got != int(want) {
					t.Errorf("neighbour %d of %d: got %d, want %d", i%shape[1], i/shape[1], got, want)
				}
			}
		})
	}
	t.Logf("%d knn cases", ran)
	if ran == 0 {
		t.Error("no knn case found")
	}
}

// Sizes around the block sizes must agree with sorting all similarities.
func TestNearestAgainstSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const dim = 5
	for _, n := range []int{1, 3, trainBlock - 1, trainBlock, trainBlock + 1} {
		train, q := normal(rng, n*dim), normal(rng, (queryBlock+1)*dim)
		ix, err := NewIndex(train, dim)
		if err != nil {
			t.Fatal(err)
		}
		const k = 7
		got, err := ix.Nearest(q, k)
		if err != nil {
			t.Fatal(err)
		}
		for i, found := range got {
			if len(found) != min(k, n) {
				t.Fatalf("n %d: got %d neighbours, want %d", n, len(found), min(k, n))
			}
			for rank, f := range found {
				closer := 0
				for j := range n {
					if s := cosine(q[i*dim:(i+1)*dim], train[j*dim:(j+1)*dim]); s > f.Similarity+1e-6 {
						closer++
					}
				}
				want := cosine(q[i*dim:(i+1)*dim], train[f.Index*dim:(f.Index+1)*dim])
				if closer > rank || math.Abs(want-f.Similarity) > 1e-6 {
					t.Fatalf("n %d, query %d: rank %d has %d closer vectors, similarity %v, want %v", n, i, rank, closer, f.Similarity, want)
				}
			}
		}
	}
}

func normal(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return ab / math.Sqrt(aa*bb)
}

func TestTies(t *testing.T) {
	// Four training vectors in the same direction: the two lowest indices vote,
	// one for class 2 and one for class 1, and class 1 wins.
	clf, err := New([]float32{1, 1, 2, 2, 3, 3, 4, 4}, []int{2, 1, 0, 0}, 2, Options{K: 2})
	if err != nil {
		t.Fatal(err)
	}
	got, err := clf.Predict([]float32{5, 5})
	if err != nil || got[0] != 1 {
		t.Errorf("got %v, %v, want [1]", got, err)
	}
}

func TestColdTemperature(t *testing.T) {
	clf, err := New([]float32{1, 0, 0, 1}, []int{0, 1}, 2, Options{Temperature: 1e-5})
	if err != nil {
		t.Fatal(err)
	}
	votes, err := clf.Votes([]float32{1, 0.9})
	if err != nil || votes[0] != 1 || votes[1] != 0 {
		t.Errorf("got %v, %v, want [1 0]", votes, err)
	}
}

func TestRejects(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		train  []float32
		labels []int
		dim    int
		opt    Options
		want   string
	}{
		{[]float32{1, 2, 3}, []int{0}, 2, Options{}, "multiple of the vector size"},
		{[]float32{1, 2}, []int{0, 1}, 2, Options{}, "2 labels for 1"},
		{nil, nil, 2, Options{}, "no training vectors"},
		{[]float32{1, 2}, []int{-1}, 2, Options{Classes: 3}, "got label -1"},
		{[]float32{1, 2}, []int{3}, 2, Options{Classes: 3}, "got label 3"},
		{[]float32{1, nan}, []int{0}, 2, Options{}, "vector 0"},
		{[]float32{1}, []int{0}, 0, Options{}, "size 0"},
		{[]float32{1}, []int{0}, 1, Options{K: -1}, "k -1"},
	} {
		if _, err := New(c.train, c.labels, c.dim, c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want an error with %q", err, c.want)
		}
	}
	clf, err := New([]float32{1, 2}, []int{0}, 2, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := clf.Evaluate([]float32{1, 2}, nil); err == nil {
		t.Error("no labels: got no error")
	}
	if _, err := clf.Evaluate(nil, nil); err == nil {
		t.Error("no test vectors: got no error")
	}
	if _, err := clf.Evaluate([]float32{1, 2}, []int{-1}); err == nil {
		t.Error("an unlabelled test vector: got no error")
	}
	if res, err := clf.Evaluate([]float32{1, 2, 1, 2}, []int{0, 7}); err != nil || res.Accuracy != 0.5 {
		t.Errorf("an unknown class: got %v, %v, want accuracy 0.5", res, err)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	const n, m, dim = 10000, 1000, 512
	train, x, labels := normal(rng, n*dim), normal(rng, m*dim), make([]int, n)
	clf, err := New(train, labels, dim, Options{Classes: 10})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := clf.Evaluate(x, labels[:m]); err != nil {
			b.Fatal(err)
		}
	}
}
