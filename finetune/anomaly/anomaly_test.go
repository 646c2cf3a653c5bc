package anomaly

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
)

func Example() {
	normal := []float32{1, 0, 0, 1, -1, 0, 0, -1} // [4, 2]
	g, err := FitGaussian(normal, 2, 0.01)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%.2f %.2f\n", math.Sqrt(g.SquaredDistance([]float64{0, 0.5})), math.Sqrt(g.SquaredDistance([]float64{3, 3})))
	// Output: 0.61 5.16
}

// An even cross has a covariance known by hand: 2/3 on the diagonal with 1/(N-1).
func TestGaussianByHand(t *testing.T) {
	x := []float64{1, 0, 0, 1, -1, 0, 0, -1}
	g, err := FitGaussian(x, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if d := g.SquaredDistance([]float64{3, 4}); math.Abs(d-25/(2.0/3+1)) > 1e-12 {
		t.Errorf("got %v", d)
	}
	p, err := g.Precision()
	if err != nil || math.Abs(p[0]-0.6) > 1e-12 || math.Abs(p[1]) > 1e-12 {
		t.Errorf("precision: got %v, %v", p, err)
	}
}

func TestClassGaussians(t *testing.T) {
	// Two classes at 0 and 10, both with deviation 1.
	x := []float64{-1, 1, 9, 11}
	c, err := FitClassGaussians(x, 1, []int{0, 0, 1, 1}, 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	if d := c.SquaredDistances([]float64{12}); math.Abs(d[0]-144) > 1e-9 || math.Abs(d[1]-4) > 1e-9 {
		t.Errorf("got %v, want 144 and 4", d)
	}
}

// PaDiM is a Gaussian at each place.
func TestPaDiM(t *testing.T) {
	const n, channels, places = 6, 2, 3
	x := make([]float32, n*channels*places)
	for i := range x {
		x[i] = float32(math.Sin(float64(i * i)))
	}
	p, err := FitPaDiM(x, channels, places, 0.01)
	if err != nil {
		t.Fatal(err)
	}
	scores, err := PaDiMScores(p, x)
	if err != nil {
		t.Fatal(err)
	}
	for at := range places {
		var here []float32
		for i := range n {
			here = append(here, x[(i*channels)*places+at], x[(i*channels+1)*places+at])
		}
		g, _ := FitGaussian(here, channels, 0.01)
		for i := range n {
			want := math.Sqrt(g.SquaredDistance([]float64{float64(here[2*i]), float64(here[2*i+1])}))
			if got := scores[i*places+at]; math.Abs(got-want) > 1e-12 {
				t.Errorf("image %d, place %d: got %v, want %v", i, at, got, want)
			}
		}
	}
}

func TestPatchCoreByHand(t *testing.T) {
	bank := []float64{0, 1, 10} // on a line
	s, err := PatchCore(context.Background(), bank, []float64{0.5, 3}, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	// p* is 3, nearest 1 at distance 2, whose own neighbours are 1 and 0 (at 3).
	want := 2 * (1 - math.Exp(2)/(math.Exp(2)+math.Exp(3)))
	if s.Patch != 1 || s.Nearest[1] != 1 || math.Abs(s.Score-want) > 1e-12 {
		t.Errorf("got %+v, want score %v", s, want)
	}
	plain, err := PatchCore(context.Background(), bank, []float64{0.5, 3}, 1, 0)
	if err != nil || plain.Score != 2 {
		t.Errorf("without weight: got %+v, %v", plain, err)
	}
	far, err := PatchCore(context.Background(), bank, []float64{1e6}, 1, 3)
	if err != nil || math.IsNaN(far.Score) || math.IsInf(far.Score, 0) {
		t.Errorf("far away: got %+v, %v", far, err)
	}
}

func TestRejects(t *testing.T) {
	ctx := context.Background()
	for want, call := range map[string]func() error{
		"2 or more":                 func() error { _, err := FitGaussian([]float64{1}, 1, 0); return err },
		"positive definite":         func() error { _, err := FitGaussian([]float64{1, 1}, 1, 0); return err },
		"ridge of -1":               func() error { _, err := FitGaussian([]float64{1, 2}, 1, -1); return err },
		"row 0 holds NaN":           func() error { _, err := FitGaussian([]float64{math.NaN(), 2}, 1, 1); return err },
		"class 1 has no vectors":    func() error { _, err := FitClassGaussians([]float64{1, 2}, 1, []int{0, 0}, 2, 0); return err },
		"is of class 3":             func() error { _, err := FitClassGaussians([]float64{1, 2}, 1, []int{0, 3}, 2, 0); return err },
		"place 0":                   func() error { _, err := FitPaDiM([]float64{1}, 1, 1, 0.01); return err },
		"0 channels":                func() error { _, err := FitPaDiM([]float64{1}, 0, 1, 0.01); return err },
		"bank: there are no vector": func() error { _, err := PatchCore(ctx, nil, []float64{1}, 1, 1); return err },
		"-1 neighbours":             func() error { _, err := PatchCore(ctx, []float64{1}, []float64{1}, 1, -1); return err },
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
