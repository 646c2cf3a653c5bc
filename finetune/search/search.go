// Package search finds images by their embeddings: the most similar to a query,
// near-duplicates, and (in finetune/cluster, as KCentre) a subset that is spread out.
// Similarity is the cosine, from -1 to 1.
//
// Up to ExactLimit vectors all are compared; above it [Lists] looks at a part of them,
// where many are asked for.
package search

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/sslrt/sslrt/finetune/knn"
)

// ExactLimit is the number of vectors up to which all pairs are compared.
const ExactLimit = 100_000

// Index finds vectors that are similar to others; knn.Index compares all.
type Index interface {
	Len() int
	// Nearest returns for each row of x: [M, dim] the k most similar, nearest first.
	Nearest(x []float32, k int) ([][]knn.Neighbour, error)
}

// manyQueries is their number above which an approximate index pays for being built.
const manyQueries = 1000

// New returns an exact index, or, of more than ExactLimit vectors and for more than
// 1,000 queries, an approximate one; what says which.
func New(ctx context.Context, x []float32, dim, queries int, seed uint64) (ix Index, what string, err error) {
	if dim > 0 && len(x)/dim > ExactLimit && queries > manyQueries {
		ix, err = NewLists(ctx, x, dim, seed)
		return ix, "approximate, inverted lists", err
	}
	ix, err = knn.NewIndex(x, dim)
	return ix, "exact", err
}

// Member is a vector of a group.
type Member struct {
	Index      int
	Similarity float64 // to the first of the group
}

// neighbours is how many of each vector's nearest are looked at above ExactLimit.
const neighbours = 16

// Duplicates returns groups of vectors that are connected by pairs of at least that
// similarity, more than 0 and at most 1: large groups first, members by index. Above
// ExactLimit only pairs that Lists finds count, and what says so.
//
//	x: [N, dim]
func Duplicates(ctx context.Context, x []float32, dim int, threshold float64, seed uint64) (groups [][]Member, what string, err error) {
	if !(threshold > 0 && threshold <= 1) {
		return nil, "", fmt.Errorf("search: duplicates: got a similarity of %g, want more than 0 and at most 1", threshold)
	}
	exact, err := knn.NewIndex(x, dim)
	if err != nil {
		return nil, "", err
	}
	n := exact.Len()
	// Rounding must not part equal vectors.
	threshold -= 1e-7
	parent := make([]int32, n)
	for i := range parent {
		parent[i] = int32(i)
	}
	root := func(i int) int32 {
		for parent[i] != int32(i) {
			parent[i] = parent[parent[i]]
			i = int(parent[i])
		}
		return int32(i)
	}
	join := func(i, j int, _ float64) {
		if a, b := root(i), root(j); a != b {
			parent[max(a, b)] = min(a, b)
		}
	}
	if n <= ExactLimit {
		what = "all pairs"
		err = exact.Pairs(ctx, threshold, join)
	} else {
		what = fmt.Sprintf("the %d nearest of each by inverted lists", neighbours)
		err = joinNearest(ctx, x, dim, threshold, seed, join)
	}
	if err != nil {
		return nil, "", err
	}
	members := map[int32][]Member{}
	for i := range n {
		r := root(i)
		members[r] = append(members[r], Member{Index: i})
	}
	for first, g := range members {
		if len(g) < 2 {
			continue
		}
		for k := range g {
			g[k].Similarity = exact.Similarity(int(first), g[k].Index)
		}
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b []Member) int {
		return cmp.Or(len(b)-len(a), a[0].Index-b[0].Index)
	})
	return groups, what, nil
}

func joinNearest(ctx context.Context, x []float32, dim int, threshold float64, seed uint64, join func(i, j int, s float64)) error {
	lists, err := NewLists(ctx, x, dim, seed)
	if err != nil {
		return err
	}
	const block = 10_000
	for lo := 0; lo < lists.Len(); lo += block {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		found, err := lists.Nearest(x[lo*dim:min(lo+block, lists.Len())*dim], neighbours)
		if err != nil {
			return err
		}
		for k, list := range found {
			for _, f := range list {
				if f.Similarity >= threshold && f.Index != lo+k {
					join(lo+k, f.Index, f.Similarity)
				}
			}
		}
	}
	return nil
}
