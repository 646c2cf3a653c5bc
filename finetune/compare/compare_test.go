package compare_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sslrt/sslrt/finetune/compare"
)

// blobs are n vectors of each of k classes around the axes, at a distance.
func blobs(k, n int, distance float64, seed uint64) compare.Set {
	rng := rand.New(rand.NewPCG(seed, 0))
	s := compare.Set{Dim: k}
	for c := range k {
		for range n {
			for d := range k {
				v := rng.NormFloat64()
				if d == c {
					v += distance
				}
				s.X = append(s.X, float32(v))
			}
			s.Labels = append(s.Labels, c)
		}
	}
	return s
}

// Classes that lie far apart are told apart by every task; those that lie on each
// other are told apart as well as by chance.
func TestMeasure(t *testing.T) {
	ctx := context.Background()
	far, err := compare.Measure(ctx, blobs(4, 300, 30, 1), blobs(4, 50, 30, 2), 4, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range far.Values() {
		if v < 0.999 {
			t.Errorf("%s is %g for classes that lie far apart", compare.Tasks[i], v)
		}
	}
	same, err := compare.Measure(ctx, blobs(4, 300, 0, 1), blobs(4, 200, 0, 2), 4, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Chance is a quarter, of an AUROC a half; clusters are matched to their advantage.
	for i, v := range same.Values() {
		chance := 0.25
		if compare.Tasks[i] == "anomaly" {
			chance = 0.5
		}
		if math.Abs(v-chance) > 0.08 {
			t.Errorf("%s is %g for classes that lie on each other, want %g or so", compare.Tasks[i], v, chance)
		}
	}
}

func TestFewLabelsOfSmallData(t *testing.T) {
	s, err := compare.Measure(context.Background(), blobs(3, 20, 10, 1), blobs(3, 20, 10, 2), 3, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !math.IsNaN(s.Few) {
		t.Errorf("a hundredth of 20 images of a class gave %g, want no number", s.Few)
	}
	if _, err := compare.Measure(context.Background(), blobs(1, 5, 1, 1), blobs(1, 5, 1, 2), 1, 0, nil); err == nil {
		t.Error("one class is taken")
	}
}

func Example() {
	s, err := compare.Measure(context.Background(), blobs(3, 200, 30, 1), blobs(3, 50, 30, 2), 3, 0, nil)
	if err != nil {
		panic(err)
	}
	fmt.Printf("nearest neighbours %.2f, one class against the others %.2f\n", s.KNN, s.Anomaly)
	// Output: nearest neighbours 1.00, one class against the others 1.00
}
