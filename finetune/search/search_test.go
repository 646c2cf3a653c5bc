package search

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/finetune/knn"
)

func ExampleDuplicates() {
	x := []float32{1, 0, 0, 1, 2, 0.01, 0.5, 0.5} // [4, 2]
	groups, _, err := Duplicates(context.Background(), x, 2, 0.99, 0)
	if err != nil {
		panic(err)
	}
	for _, g := range groups {
		fmt.Printf("%d and %d, similarity %.4f\n", g[0].Index, g[1].Index, g[1].Similarity)
	}
	// Output: 0 and 2, similarity 1.0000
}

func groupsOf(n, dim, groups int, spread float64) []float32 {
	rng := rand.New(rand.NewPCG(4, 4))
	centres := make([]float64, groups*dim)
	for i := range centres {
		centres[i] = rng.NormFloat64()
	}
	x := make([]float32, n*dim)
	for i := range x {
		x[i] = float32(centres[i/dim%groups*dim+i%dim] + spread*rng.NormFloat64())
	}
	return x
}

// Lists find nearly what comparing all finds, and what they find is right.
func TestListsAgainstExact(t *testing.T) {
	const n, dim, k, queries = 4000, 16, 10, 100
	x := groupsOf(n, dim, 30, 0.5)
	ctx := context.Background()
	lists, err := NewLists(ctx, x, dim, 1)
	if err != nil {
		t.Fatal(err)
	}
	exact, err := knn.NewIndex(x, dim)
	if err != nil {
		t.Fatal(err)
	}
	got, err := lists.Nearest(x[:queries*dim], k)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := exact.Nearest(x[:queries*dim], k)
	hits := 0
	for i := range got {
		if got[i][0].Index != i || len(got[i]) != k || !slices.IsSortedFunc(got[i], compare) {
			t.Fatalf("query %d: got %v, want itself first and %d in order", i, got[i], k)
		}
		for _, g := range got[i] {
			if s := exact.Similarity(i, g.Index); s-g.Similarity > 1e-6 || g.Similarity-s > 1e-6 {
				t.Errorf("similarity of %d and %d: got %v, want %v", i, g.Index, g.Similarity, s)
			}
			if slices.ContainsFunc(want[i], func(w knn.Neighbour) bool { return w.Index == g.Index }) {
				hits++
			}
		}
	}
	if recall := float64(hits) / (queries * k); recall < 0.98 {
		t.Errorf("%.1f %% of the nearest are found", 100*recall)
	}
}

// Groups are the connected parts: a chain of near vectors is one.
func TestDuplicates(t *testing.T) {
	// Angles 0, 10, 20 (a chain by pairs of 10 degrees), 90, 95, 180.
	x := []float32{1, 0, 0.98481, 0.17365, 0.93969, 0.34202, 0, 1, -0.08716, 0.99619, -1, 0}
	groups, what, err := Duplicates(context.Background(), x, 2, 0.98, 0)
	if err != nil || len(groups) != 2 || what != "all pairs" {
		t.Fatalf("got %v, %q, %v", groups, what, err)
	}
	var got [][]int
	for _, g := range groups {
		var members []int
		for _, m := range g {
			members = append(members, m.Index)
		}
		got = append(got, members)
	}
	if !slices.Equal(got[0], []int{0, 1, 2}) || !slices.Equal(got[1], []int{3, 4}) {
		t.Errorf("got groups %v", got)
	}
	if s := groups[0][2].Similarity; s < 0.9396 || s > 0.9398 {
		t.Errorf("similarity to the first: got %v, want cos 20", s)
	}
	same, _, err := Duplicates(context.Background(), slices.Repeat([]float32{0.1, 0.7, 0.3}, 200), 3, 1, 0)
	if err != nil || len(same) != 1 || len(same[0]) != 200 {
		t.Errorf("equal vectors: got %d groups, %v", len(same), err)
	}
}

// The approximate way finds the same groups where they are clear.
func TestJoinNearest(t *testing.T) {
	x := groupsOf(300, 8, 100, 0.001)
	joined := map[[2]int]bool{}
	err := joinNearest(context.Background(), x, 8, 0.999, 0, func(i, j int, _ float64) { joined[[2]int{i % 100, j % 100}] = true })
	if err != nil {
		t.Fatal(err)
	}
	for pair := range joined {
		if pair[0] != pair[1] {
			t.Errorf("vectors of groups %d and %d were joined", pair[0], pair[1])
		}
	}
	if len(joined) != 100 {
		t.Errorf("pairs of %d groups were found, want 100", len(joined))
	}
}

func TestRejects(t *testing.T) {
	ctx := context.Background()
	for want, call := range map[string]func() error{
		"similarity of 0": func() error { _, _, err := Duplicates(ctx, []float32{1}, 1, 0, 0); return err },
		"rows of 2":       func() error { _, err := NewLists(ctx, []float32{1}, 2, 0); return err },
		"vectors of size": func() error { _, _, err := New(ctx, []float32{1}, 0, 1, 0); return err },
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	l, err := NewLists(ctx, []float32{1, 2, 3, 4}, 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Nearest([]float32{1, 2}, 0); err == nil {
		t.Error("k 0: got no error")
	}
	why := errors.New("why")
	stopped, cancel := context.WithCancelCause(ctx)
	cancel(why)
	if _, _, err := Duplicates(stopped, groupsOf(1000, 4, 3, 1), 4, 0.9, 0); !errors.Is(err, why) {
		t.Errorf("got %v, want the cause", err)
	}
}
