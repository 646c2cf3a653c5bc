package search

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/sslrt/sslrt/finetune/cluster"
	"github.com/sslrt/sslrt/finetune/distance"
	"github.com/sslrt/sslrt/finetune/knn"
)

// Lists is an approximate index: vectors lie in lists by the nearest of some means, and a
// search looks into the lists of the means nearest to it (inverted lists; Jégou et al.,
// 2011). It misses a neighbour whose list is not looked into; similarities are exact.
type Lists struct {
	dim, probes int
	means       *cluster.Means
	unit        []float32 // [N, dim], rows of length 1, list by list
	order       []int32   // the row of x that each is
	start       []int     // of each list, and the end
}

// probes is the number of lists looked into: of 100,000 and of 1,000,000 vectors a tenth
// and a thirtieth.
const probes = 32

// NewLists builds an index of the rows of x: [N, dim], of different directions mostly.
func NewLists(ctx context.Context, x []float32, dim int, seed uint64) (*Lists, error) {
	n, err := distance.Rows(x, dim)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	unit := make([]float32, len(x))
	for i, v := range distance.Unit(x, dim) {
		unit[i] = float32(v)
	}
	k := max(int(math.Sqrt(float64(n))), 1)
	means, err := cluster.KMeans(ctx, unit, dim, cluster.KMeansOptions{K: k, Restarts: 1, BatchSize: max(4*k, 1024), MaxIterations: 3, Seed: seed})
	if err != nil {
		return nil, fmt.Errorf("search: lists: %w", err)
	}
	l := &Lists{dim: dim, probes: min(probes, k), means: means, unit: make([]float32, len(x)), order: make([]int32, n)}
	for i := range l.order {
		l.order[i] = int32(i)
	}
	slices.SortStableFunc(l.order, func(a, b int32) int { return means.Labels[a] - means.Labels[b] })
	list := -1
	for at, i := range l.order {
		copy(l.unit[at*dim:(at+1)*dim], unit[int(i)*dim:int(i+1)*dim])
		for list < means.Labels[i] {
			list++
			l.start = append(l.start, at)
		}
	}
	for len(l.start) <= k {
		l.start = append(l.start, n)
	}
	return l, nil
}

// Len returns the number of vectors.
func (l *Lists) Len() int { return len(l.order) }

// Nearest returns for each row of x: [M, dim] the k most similar vectors that are found,
// nearest first, ties by index.
func (l *Lists) Nearest(x []float32, k int) ([][]knn.Neighbour, error) {
	n, err := distance.Rows(x, l.dim)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	if k < 1 {
		return nil, fmt.Errorf("search: got k %d, want 1 or more", k)
	}
	out := make([][]knn.Neighbour, n)
	const block = 256
	blocks := make(chan int)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+block-1)/block) {
		wg.Go(func() {
			for lo := range blocks {
				for i := lo; i < min(lo+block, n); i++ {
					out[i] = l.search(distance.Unit(x[i*l.dim:(i+1)*l.dim], l.dim), k)
				}
			}
		})
	}
	for lo := 0; lo < n; lo += block {
		blocks <- lo
	}
	close(blocks)
	wg.Wait()
	return out, nil
}

// search looks for one vector of length 1.
func (l *Lists) search(q []float64, k int) []knn.Neighbour {
	apart, lists := make([]float64, l.means.K), make([]int, l.means.K)
	for c := range lists {
		lists[c] = c
		apart[c] = distance.Squared(q, l.means.Centroids[c*l.dim:(c+1)*l.dim])
	}
	slices.SortFunc(lists, func(a, b int) int { return cmp.Compare(apart[a], apart[b]) })
	query := make([]float32, l.dim)
	for j, v := range q {
		query[j] = float32(v)
	}
	var found []knn.Neighbour
	var similar []float32
	for _, c := range lists[:l.probes] {
		lo, hi := l.start[c], l.start[c+1]
		if lo == hi {
			continue
		}
		similar = append(similar[:0], make([]float32, hi-lo)...)
		blas32.Gemv(blas.NoTrans, 1, blas32.General{Rows: hi - lo, Cols: l.dim, Stride: l.dim, Data: l.unit[lo*l.dim : hi*l.dim]},
			blas32.Vector{N: l.dim, Inc: 1, Data: query}, 0, blas32.Vector{N: hi - lo, Inc: 1, Data: similar})
		for i, s := range similar {
			// float32's rounding must not push out one of the k nearest.
			if len(found) == k && float64(s) < found[k-1].Similarity-1e-5 {
				continue
			}
			row := l.unit[(lo+i)*l.dim : (lo+i+1)*l.dim]
			exact := 0.0
			for j, v := range row {
				exact += float64(v) * q[j]
			}
			found = insert(found, knn.Neighbour{Index: int(l.order[lo+i]), Similarity: exact}, k)
		}
	}
	return found
}

// insert keeps the k best, nearest first, ties by index.
func insert(best []knn.Neighbour, n knn.Neighbour, k int) []knn.Neighbour {
	at, _ := slices.BinarySearchFunc(best, n, compare)
	if at == k {
		return best
	}
	best = slices.Insert(best, at, n)
	return best[:min(len(best), k)]
}

func compare(a, b knn.Neighbour) int {
	return cmp.Or(cmp.Compare(b.Similarity, a.Similarity), cmp.Compare(a.Index, b.Index))
}
