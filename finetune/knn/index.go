package knn

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/sslrt/sslrt/finetune/distance"
)

// Sizes of the similarity blocks: a worker holds queryBlock x trainBlock of them
// (1 MiB), however many vectors there are.
const (
	queryBlock = 64
	trainBlock = 4096
	// spare candidates are kept beyond k by their float32 similarity, so that its
	// rounding cannot push out one of the k nearest.
	spare = 16
)

// Neighbour is one training vector found for a query.
type Neighbour struct {
	Index      int     // row of the training vectors
	Similarity float64 // cosine, -1 to 1
}

// Index finds the vectors most similar to others by comparing all. It is safe
// for concurrent use.
type Index struct {
	dim  int
	unit []float32 // [N, dim], rows of length 1 (or 0)
}

// NewIndex returns an index of the rows of x: [N, dim]. x is copied.
func NewIndex(x []float32, dim int) (*Index, error) {
	unit, err := normalize(x, dim)
	if err != nil {
		return nil, err
	}
	return &Index{dim: dim, unit: unit}, nil
}

// Len returns the number of vectors.
func (ix *Index) Len() int { return len(ix.unit) / ix.dim }

// Nearest returns for each row of x: [M, dim] the k most similar vectors, nearest
// first, ties by index; fewer when there are no k.
func (ix *Index) Nearest(x []float32, k int) ([][]Neighbour, error) {
	out := make([][]Neighbour, len(x)/max(ix.dim, 1))
	err := ix.search(x, k, func(i int, found []Neighbour) { out[i] = slices.Clone(found) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// search calls found for each row of x, from several goroutines, with a slice
// that is valid during the call.
func (ix *Index) search(x []float32, k int, found func(i int, n []Neighbour)) error {
	if k < 1 {
		return fmt.Errorf("knn: got k %d, want 1 or more", k)
	}
	unit, err := normalize(x, ix.dim)
	if err != nil {
		return err
	}
	n := len(unit) / ix.dim
	blocks := make(chan int)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+queryBlock-1)/queryBlock) {
		wg.Go(func() {
			s := newSearcher(ix, k)
			for lo := range blocks {
				hi := min(lo+queryBlock, n)
				s.run(unit[lo*ix.dim:hi*ix.dim], func(i int, n []Neighbour) { found(lo+i, n) })
			}
		})
	}
	for lo := 0; lo < n; lo += queryBlock {
		blocks <- lo
	}
	close(blocks)
	wg.Wait()
	return nil
}

// searcher is the working memory of one worker.
type searcher struct {
	ix   *Index
	k    int
	sims []float32 // [queryBlock, trainBlock]
	best []top     // [queryBlock]
	list []Neighbour
}

func newSearcher(ix *Index, k int) *searcher {
	s := &searcher{ix: ix, k: k, sims: make([]float32, queryBlock*trainBlock), best: make([]top, queryBlock)}
	for i := range s.best {
		s.best[i].cap = k + spare
	}
	return s
}

// run searches for at most queryBlock unit vectors.
func (s *searcher) run(q []float32, found func(int, []Neighbour)) {
	dim, rows := s.ix.dim, len(q)/s.ix.dim
	for i := range rows {
		s.best[i].heap = s.best[i].heap[:0]
	}
	for lo := 0; lo < s.ix.Len(); lo += trainBlock {
		cols := min(trainBlock, s.ix.Len()-lo)
		distance.Dots(s.sims, q, s.ix.unit[lo*dim:(lo+cols)*dim], dim)
		for i := range rows {
			for j, sim := range s.sims[i*cols : (i+1)*cols] {
				s.best[i].push(candidate{lo + j, sim})
			}
		}
	}
	for i := range rows {
		found(i, s.exact(q[i*dim:(i+1)*dim], s.best[i].heap))
	}
}

// exact computes the candidates' similarities in float64 and returns the k
// nearest in order.
func (s *searcher) exact(q []float32, c []candidate) []Neighbour {
	s.list = s.list[:0]
	for _, c := range c {
		row := s.ix.unit[c.index*s.ix.dim:][:s.ix.dim]
		var dot float64
		for i, v := range q {
			dot += float64(v) * float64(row[i])
		}
		s.list = append(s.list, Neighbour{c.index, dot})
	}
	slices.SortFunc(s.list, func(a, b Neighbour) int {
		return cmp.Or(cmp.Compare(b.Similarity, a.Similarity), cmp.Compare(a.Index, b.Index))
	})
	return s.list[:min(s.k, len(s.list))]
}

// candidate is a neighbour by its float32 similarity.
type candidate struct {
	index int
	sim   float32
}

// top keeps the cap best candidates in a heap, the worst at the root.
type top struct {
	cap  int
	heap []candidate
}

func worse(a, b candidate) bool {
	return a.sim < b.sim || (a.sim == b.sim && a.index > b.index)
}

func (t *top) push(c candidate) {
	if len(t.heap) < t.cap {
		t.heap = append(t.heap, c)
		for i := len(t.heap) - 1; i > 0; {
			parent := (i - 1) / 2
			if !worse(t.heap[i], t.heap[parent]) {
				break
			}
			t.heap[i], t.heap[parent] = t.heap[parent], t.heap[i]
			i = parent
		}
		return
	}
	if !worse(t.heap[0], c) {
		return
	}
	t.heap[0] = c
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(t.heap) {
			return
		}
		if r := child + 1; r < len(t.heap) && worse(t.heap[r], t.heap[child]) {
			child = r
		}
		if !worse(t.heap[child], t.heap[i]) {
			return
		}
		t.heap[i], t.heap[child] = t.heap[child], t.heap[i]
		i = child
	}
}

// normalize returns the rows of x scaled to length 1; a row of zeros stays.
func normalize(x []float32, dim int) ([]float32, error) {
	if dim < 1 {
		return nil, fmt.Errorf("knn: got vectors of size %d, want 1 or more", dim)
	}
	if len(x)%dim != 0 {
		return nil, fmt.Errorf("knn: got %d numbers, want a multiple of the vector size %d", len(x), dim)
	}
	out := make([]float32, len(x))
	for lo := 0; lo < len(x); lo += dim {
		var sum float64
		for _, v := range x[lo : lo+dim] {
			sum += float64(v) * float64(v)
		}
		if math.IsNaN(sum) || math.IsInf(sum, 0) {
			return nil, fmt.Errorf("knn: vector %d holds a number that is not finite", lo/dim)
		}
		scale := 1 / math.Max(math.Sqrt(sum), 1e-12)
		for i, v := range x[lo : lo+dim] {
			out[lo+i] = float32(float64(v) * scale)
		}
	}
	return out, nil
}
