package cluster

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/sslrt/sslrt/finetune/distance"
)

// Linkage is how far two clusters are from each other.
type Linkage int

const (
	Ward     Linkage = iota // growth of the squared spread; Euclidean only
	Average                 // mean distance of their members
	Complete                // largest
	Single                  // smallest
)

var linkages = []string{"ward", "average", "complete", "single"}

func (l Linkage) String() string { return linkages[l] }

// ParseLinkage reads ward, average, complete or single.
func ParseLinkage(s string) (Linkage, error) {
	if i := slices.Index(linkages, s); i >= 0 {
		return Linkage(i), nil
	}
	return 0, fmt.Errorf("cluster: got linkage %q, want one of %v", s, linkages)
}

// MaxTree is the largest number of vectors that Agglomerate takes: all pairwise
// distances are kept, 1.6 GB of them at this size.
const MaxTree = 20_000

// Merge is a step of agglomerative clustering: two clusters become one.
type Merge struct {
	A, B   int     // of vectors (0 to N-1) or earlier merges (N + their number), A < B
	Height float64 // their distance; of Ward sqrt(2|A||B|/(|A|+|B|)) times that of the means, as in SciPy
	Size   int     // vectors in the new cluster
}

// Tree is the whole clustering: N-1 merges by rising height.
type Tree struct {
	N      int
	Merges []Merge
}

// Agglomerate merges the two nearest clusters, from single vectors to one cluster, by
// the nearest-neighbour chain (Murtagh, 1983; Müllner, 2011): O(N^2) time and memory.
//
//	x: [N, dim], at most MaxTree vectors
func Agglomerate[F distance.Float](ctx context.Context, x []F, dim int, linkage Linkage, metric distance.Metric) (*Tree, error) {
	n, err := check("agglomerative", x, dim, 1)
	if err != nil {
		return nil, err
	}
	if n > MaxTree {
		return nil, fmt.Errorf("cluster: agglomerative: got %d vectors; it keeps all pairwise distances and takes %d at most: take k-means or a sample", n, MaxTree)
	}
	if linkage == Ward && metric != distance.Euclidean {
		return nil, fmt.Errorf("cluster: agglomerative: ward linkage needs euclidean distances, got %v", metric)
	}
	if linkage == Ward {
		metric = distance.SquaredEuclidean // what its update is about
	}
	c := &chain{n: n, linkage: linkage, d: make([]float64, n*(n-1)/2), size: make([]float64, n)}
	err = distance.Pairs(ctx, x, dim, metric, func(i int, row []float64) {
		copy(c.d[c.at(i, i+1):], row[i+1:])
	})
	if err != nil {
		return nil, err
	}
	for i := range c.size {
		c.size[i] = 1
	}
	steps, err := c.run(ctx)
	if err != nil {
		return nil, err
	}
	return newTree(n, steps), nil
}

// chain is the work of Agglomerate. A cluster is known by one of its vectors.
type chain struct {
	n       int
	linkage Linkage
	d       []float64 // of i < j, row by row
	size    []float64 // 0: merged into another
}

// at returns where the distance of i and j, i < j, is; at(i, i+1) starts row i.
func (c *chain) at(i, j int) int { return i*(2*c.n-i-1)/2 + j - i - 1 }

func (c *chain) distance(i, j int) float64 {
	if i > j {
		i, j = j, i
	}
	return c.d[c.at(i, j)]
}

// step is a merge by vectors of both clusters.
type step struct {
	a, b   int
	height float64
}

func (c *chain) run(ctx context.Context) ([]step, error) {
	var steps []step
	var path []int
	for first := 0; len(steps) < c.n-1; {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if len(path) == 0 {
			for c.size[first] == 0 {
				first++
			}
			path = append(path, first)
		}
		for {
			x := path[len(path)-1]
			// Of equals the one before in the chain, or the chain would not end.
			y, best := -1, math.Inf(1)
			if len(path) > 1 {
				y = path[len(path)-2]
				best = c.distance(x, y)
			}
			for i := range c.n {
				if c.size[i] == 0 || i == x {
					continue
				}
				if d := c.distance(x, i); d < best {
					y, best = i, d
				}
			}
			if len(path) > 1 && y == path[len(path)-2] {
				path = path[:len(path)-2]
				steps = append(steps, c.merge(x, y, best))
				break
			}
			path = append(path, y)
		}
	}
	return steps, nil
}

// merge joins cluster x to y by the formula of Lance and Williams (1967).
func (c *chain) merge(x, y int, apart float64) step {
	if x > y {
		x, y = y, x
	}
	nx, ny := c.size[x], c.size[y]
	c.size[x], c.size[y] = 0, nx+ny
	for i, ni := range c.size {
		if ni == 0 || i == y {
			continue
		}
		dx, dy := c.distance(i, x), c.distance(i, y)
		var d float64
		switch c.linkage {
		case Ward:
			d = ((nx+ni)*dx + (ny+ni)*dy - ni*apart) / (nx + ny + ni)
		case Average:
			d = (nx*dx + ny*dy) / (nx + ny)
		case Complete:
			d = max(dx, dy)
		case Single:
			d = min(dx, dy)
		}
		c.d[c.at(min(i, y), max(i, y))] = d
	}
	if c.linkage == Ward {
		apart = math.Sqrt(max(apart, 0))
	}
	return step{x, y, apart}
}

// newTree sorts the merges by height and gives clusters their numbers.
func newTree(n int, steps []step) *Tree {
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.height, b.height) })
	t := &Tree{N: n}
	f := newForest(n)
	node, size := make([]int, n), make([]int, n) // of the cluster a root stands for
	for i := range node {
		node[i], size[i] = i, 1
	}
	for k, s := range steps {
		a, b := f.root(s.a), f.root(s.b)
		m := Merge{A: min(node[a], node[b]), B: max(node[a], node[b]), Height: s.height, Size: size[a] + size[b]}
		t.Merges = append(t.Merges, m)
		r := f.join(a, b)
		node[r], size[r] = n+k, m.Size
	}
	return t
}

// Cut returns the clusters that are left when the last k-1 merges are undone, numbered
// by their first vector: [N].
func (t *Tree) Cut(k int) ([]int, error) {
	if k < 1 || k > t.N {
		return nil, fmt.Errorf("cluster: cut: got k %d of %d vectors, want 1 to %d", k, t.N, t.N)
	}
	f := newForest(t.N)
	member := make([]int, t.N+len(t.Merges)) // a vector of each node
	for i := range t.N {
		member[i] = i
	}
	for i, m := range t.Merges[:t.N-k] {
		member[t.N+i] = f.join(f.root(member[m.A]), f.root(member[m.B]))
	}
	number := map[int]int{}
	out := make([]int, t.N)
	for i := range out {
		r := f.root(i)
		if _, ok := number[r]; !ok {
			number[r] = len(number)
		}
		out[i] = number[r]
	}
	return out, nil
}

// forest is a union-find over vectors.
type forest []int

func newForest(n int) forest {
	f := make(forest, n)
	for i := range f {
		f[i] = i
	}
	return f
}

func (f forest) root(i int) int {
	for f[i] != i {
		f[i] = f[f[i]]
		i = f[i]
	}
	return i
}

// join makes one of two roots the root of both and returns it.
func (f forest) join(a, b int) int {
	f[max(a, b)] = min(a, b)
	return min(a, b)
}

// MeansOf returns the means of given clusters, 0 to k-1, none empty: what assigns new
// vectors to the result of an agglomerative clustering.
//
//	x: [N, dim]; labels: [N]
func MeansOf[F distance.Float](ctx context.Context, x []F, dim int, labels []int, k int) (*Means, error) {
	n, err := check("means", x, dim, k)
	if err != nil {
		return nil, err
	}
	if len(labels) != n {
		return nil, fmt.Errorf("cluster: means: got %d labels for %d vectors", len(labels), n)
	}
	m := &Means{K: k, Dim: dim, Labels: slices.Clone(labels), Centroids: make([]float64, k*dim)}
	size := make([]float64, k)
	for i, l := range labels {
		if l < 0 || l >= k {
			return nil, fmt.Errorf("cluster: means: vector %d is in cluster %d, want 0 to %d", i, l, k-1)
		}
		size[l]++
		for j, v := range x[i*dim : (i+1)*dim] {
			m.Centroids[l*dim+j] += float64(v)
		}
	}
	for l, s := range size {
		if s == 0 {
			return nil, fmt.Errorf("cluster: means: cluster %d is empty", l)
		}
		for j := range dim {
			m.Centroids[l*dim+j] /= s
		}
	}
	for i, l := range labels {
		m.Inertia += distance.Squared(x[i*dim:(i+1)*dim], m.Centroids[l*dim:(l+1)*dim])
	}
	return m, nil
}
