package linear

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/diff/fd"
)

func Example() {
	x := []float32{-2, 0, -1, 1, 1, 0, 2, 1} // [4, 2]
	m, err := Fit(context.Background(), x, []int{0, 0, 1, 1}, 2, Options{Standardize: true})
	if err != nil {
		panic(err)
	}
	logits, _ := Logits(m, []float32{-3, 5, 3, -5})
	fmt.Println(logits[0] > logits[1], logits[2] > logits[3])
	// Output: true false
}

func data(n, dim, classes int) (x []float64, labels []int) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range n {
		labels = append(labels, i%classes)
		for k := range dim {
			x = append(x, rng.NormFloat64()*float64(k+1)+float64(labels[i]*k))
		}
	}
	return x, labels
}

func TestGradient(t *testing.T) {
	x, labels := data(30, 3, 4)
	p := newProblem(x, labels, 3, Options{C: 0.3, Classes: 4, Standardize: true})
	w := make([]float64, 16)
	for i := range w {
		w[i] = math.Sin(float64(i))
	}
	p.evaluate(w)
	got := append([]float64(nil), p.grad...)
	want := fd.Gradient(nil, func(w []float64) float64 { p.evaluate(w); return p.value }, w, &fd.Settings{Formula: fd.Central})
	for i := range got {
		if math.Abs(got[i]-want[i]) > 1e-7 {
			t.Errorf("gradient %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

// Two points at -1 and 1, one of each class: by symmetry the weights are -w and w, and
// the derivative of w^2 + 2 C log(1 + exp(-2w)) is 0 where w = 2 C / (1 + exp(2w)).
func TestClosedForm(t *testing.T) {
	x := []float64{-1, 1}
	m, err := Fit(context.Background(), x, []int{0, 1}, 1, Options{C: 2, Tolerance: 1e-10})
	if err != nil {
		t.Fatal(err)
	}
	w := m.W[1]
	if want := 2 * 2 / (1 + math.Exp(2*w)); math.Abs(w-want) > 1e-8 || math.Abs(m.W[0]+w) > 1e-8 || math.Abs(m.B[0]) > 1e-8 {
		t.Errorf("got W %v, b %v: want ±%v and 0", m.W, m.B, want)
	}
	if !m.Converged {
		t.Error("did not converge")
	}
}

// Folding the standardisation into the weights changes no score.
func TestStandardize(t *testing.T) {
	x, labels := data(60, 3, 3)
	scaled := make([]float64, len(x))
	for i, v := range x {
		scaled[i] = 1000*v + 7
	}
	opt := Options{Standardize: true, Tolerance: 1e-9}
	a, err := Fit(context.Background(), x, labels, 3, opt)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Fit(context.Background(), scaled, labels, 3, opt)
	if err != nil {
		t.Fatal(err)
	}
	la, _ := Logits(a, x)
	lb, _ := Logits(b, scaled)
	for i := range la {
		if math.Abs(la[i]-lb[i]) > 1e-5 {
			t.Fatalf("logit %d: got %v and %v, want the same", i, la[i], lb[i])
		}
	}
}

func TestRejects(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		x      []float64
		labels []int
		opt    Options
		want   string
	}{
		{[]float64{1, 2}, []int{0}, Options{}, "1 labels for 2"},
		{[]float64{1, 2}, []int{1, 1}, Options{}, "one class"},
		{[]float64{1, 2}, []int{-1, 1}, Options{}, "label -1"},
		{[]float64{1, 2}, []int{0, 3}, Options{Classes: 3}, "label 3"},
		{[]float64{1, math.NaN()}, []int{0, 1}, Options{}, "row 1 holds NaN"},
		{[]float64{1, 2}, []int{0, 1}, Options{C: -1}, "C -1"},
		{nil, nil, Options{}, "0 labels"},
	} {
		if _, err := Fit(ctx, c.x, c.labels, 1, c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want an error with %q", err, c.want)
		}
	}
	why := errors.New("enough")
	stopped, cancel := context.WithCancelCause(ctx)
	cancel(why)
	x, labels := data(30, 2, 2)
	if _, err := Fit(stopped, x, labels, 2, Options{}); !errors.Is(err, why) {
		t.Errorf("got %v, want the cause", err)
	}
}

// Features that never change, and separable classes, give finite weights.
func TestDegenerate(t *testing.T) {
	m, err := Fit(context.Background(), []float64{1, 5, 2, 5, 3, 5, 4, 5}, []int{0, 0, 1, 1}, 2, Options{Standardize: true, C: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range append(m.W, m.B...) {
		if math.IsNaN(w) || math.IsInf(w, 0) {
			t.Fatalf("got weights %v, %v", m.W, m.B)
		}
	}
}
