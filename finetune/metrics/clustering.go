package metrics

import (
	"fmt"
	"math"
)

// Agreement compares a clustering with classes, or two clusterings. The numbers of
// clusters do not matter, renaming changes nothing.
type Agreement struct {
	table    [][]float64 // [classes that occur, clusters that occur]
	row, col []float64   // sums
	n        float64
}

// NewAgreement counts images by class and cluster.
//
//	classes, clusters: [N], any numbers
func NewAgreement(classes, clusters []int) (*Agreement, error) {
	if len(classes) != len(clusters) || len(classes) == 0 {
		return nil, fmt.Errorf("metrics: clustering: got %d classes, %d clusters, want as many of both and some", len(classes), len(clusters))
	}
	r, rows := renumber(classes)
	c, cols := renumber(clusters)
	a := &Agreement{row: make([]float64, rows), col: make([]float64, cols), n: float64(len(classes))}
	a.table = make([][]float64, rows)
	for i := range a.table {
		a.table[i] = make([]float64, cols)
	}
	for i := range r {
		a.table[r[i]][c[i]]++
		a.row[r[i]]++
		a.col[c[i]]++
	}
	return a, nil
}

// renumber replaces labels by numbers from 0 in the order in which they come.
func renumber(labels []int) (out []int, count int) {
	seen := map[int]int{}
	out = make([]int, len(labels))
	for i, l := range labels {
		k, ok := seen[l]
		if !ok {
			k = len(seen)
			seen[l] = k
		}
		out[i] = k
	}
	return out, len(seen)
}

func (a *Agreement) entropy(counts []float64) float64 {
	h := 0.0
	for _, c := range counts {
		h -= c / a.n * math.Log(c/a.n)
	}
	return max(h, 0)
}

// MutualInformation is in nats.
func (a *Agreement) MutualInformation() float64 {
	sum := 0.0
	for i, row := range a.table {
		for j, c := range row {
			if c > 0 {
				sum += c / a.n * math.Log(c*a.n/a.row[i]/a.col[j])
			}
		}
	}
	return max(sum, 0)
}

// Mean says how two entropies make one, by which mutual information is normalised.
type Mean int

// The means in use. Arithmetic is scikit-learn's default.
const (
	Arithmetic Mean = iota
	Geometric
	Max
)

func (m Mean) of(x, y float64) float64 {
	switch m {
	case Geometric:
		return math.Sqrt(x * y)
	case Max:
		return max(x, y)
	}
	return (x + y) / 2
}

// trivial reports whether both sides are one cluster each, which agree.
func (a *Agreement) trivial() bool { return len(a.row) == 1 && len(a.col) == 1 }

// none is what counts as no information: rounding leaves some.
const none = 1e-15

// NMI is mutual information divided by a mean of the entropies: 0 for independent,
// 1 for equal partitions.
func (a *Agreement) NMI(m Mean) float64 {
	if a.trivial() {
		return 1
	}
	mi := a.MutualInformation()
	if mi <= none {
		return 0
	}
	return mi / max(m.of(a.entropy(a.row), a.entropy(a.col)), none)
}

// AMI is NMI with what chance gives taken off (Vinh et al., JMLR 2010): 0 for random
// partitions, 1 for equal ones.
func (a *Agreement) AMI(m Mean) float64 {
	if a.trivial() {
		return 1
	}
	chance := a.expectedInformation()
	free := m.of(a.entropy(a.row), a.entropy(a.col)) - chance
	if math.Abs(free) < none {
		free = math.Copysign(none, free)
	}
	return (a.MutualInformation() - chance) / free
}

// expectedInformation is the mean of mutual information over all tables with these
// sums.
func (a *Agreement) expectedInformation() float64 {
	lf := func(x float64) float64 { v, _ := math.Lgamma(x + 1); return v }
	total := 0.0
	for _, r := range a.row {
		for _, c := range a.col {
			// The factorials that do not depend on k.
			fixed := lf(r) + lf(c) + lf(a.n-r) + lf(a.n-c) - lf(a.n)
			for k := max(1, r+c-a.n); k <= min(r, c); k++ {
				p := math.Exp(fixed - lf(k) - lf(r-k) - lf(c-k) - lf(a.n-r-c+k))
				total += k / a.n * math.Log(a.n*k/(r*c)) * p
			}
		}
	}
	return total
}

// Homogeneity is 1 when each cluster holds one class only (Rosenberg and
// Hirschberg, 2007).
func (a *Agreement) Homogeneity() float64 { return a.share(a.entropy(a.row)) }

// Completeness is 1 when each class lies in one cluster only.
func (a *Agreement) Completeness() float64 { return a.share(a.entropy(a.col)) }

func (a *Agreement) share(entropy float64) float64 {
	if entropy == 0 {
		return 1
	}
	return a.MutualInformation() / entropy
}

// VMeasure is the harmonic mean of homogeneity and completeness.
func (a *Agreement) VMeasure() float64 {
	h, c := a.Homogeneity(), a.Completeness()
	if h+c == 0 {
		return 0
	}
	return 2 * h * c / (h + c)
}

// pairs counts ordered pairs of different images: together in both, in the classes,
// in the clusters.
func (a *Agreement) pairs() (both, classes, clusters float64) {
	for i, row := range a.table {
		for _, c := range row {
			both += c * (c - 1)
		}
		classes += a.row[i] * (a.row[i] - 1)
	}
	for _, c := range a.col {
		clusters += c * (c - 1)
	}
	return both, classes, clusters
}

// ARI is the adjusted Rand index (Hubert and Arabie, 1985): the agreement on pairs
// of images with what chance gives taken off; 0 for random, 1 for equal partitions.
func (a *Agreement) ARI() float64 {
	both, classes, clusters := a.pairs()
	if both == classes && both == clusters {
		return 1
	}
	expected := classes * clusters / (a.n * (a.n - 1))
	return (both - expected) / ((classes+clusters)/2 - expected)
}

// FowlkesMallows is the geometric mean of the precision and the recall of pairs.
func (a *Agreement) FowlkesMallows() float64 {
	both, classes, clusters := a.pairs()
	if both == 0 {
		return 0
	}
	return math.Sqrt(both/classes) * math.Sqrt(both/clusters)
}

// Purity is the share of images that are of the largest class of their cluster. It
// grows with the number of clusters.
func (a *Agreement) Purity() float64 {
	sum := 0.0
	for j := range a.col {
		largest := 0.0
		for i := range a.row {
			largest = max(largest, a.table[i][j])
		}
		sum += largest
	}
	return sum / a.n
}

// Accuracy is the clustering accuracy: the share of images in the right cluster when
// each cluster stands for at most one class and each class for at most one cluster,
// in the best possible way (the Hungarian method; Kuhn, 1955).
func (a *Agreement) Accuracy() float64 {
	k := max(len(a.row), len(a.col))
	cost := make([][]float64, k)
	for i := range cost {
		cost[i] = make([]float64, k)
		if i < len(a.row) {
			for j, c := range a.table[i] {
				cost[i][j] = -c
			}
		}
	}
	sum := 0.0
	for i, j := range assign(cost) {
		sum -= cost[i][j]
	}
	return sum / a.n
}

// assign returns for each row of a square matrix the column of the assignment with
// the least total cost: shortest augmenting paths with potentials, O(n^3).
func assign(cost [][]float64) []int {
	n := len(cost)
	// Rows and columns from 1; column 0 is where a path starts.
	u, v := make([]float64, n+1), make([]float64, n+1)
	row := make([]int, n+1) // of each column, 0 if free
	from := make([]int, n+1)
	for i := 1; i <= n; i++ {
		row[0] = i
		at := 0
		slack := make([]float64, n+1)
		for j := range slack {
			slack[j] = math.Inf(1)
		}
		done := make([]bool, n+1)
		for row[at] != 0 {
			done[at] = true
			best, next := math.Inf(1), 0
			for j := 1; j <= n; j++ {
				if done[j] {
					continue
				}
				if c := cost[row[at]-1][j-1] - u[row[at]] - v[j]; c < slack[j] {
					slack[j], from[j] = c, at
				}
				if slack[j] < best {
					best, next = slack[j], j
				}
			}
			for j := range done {
				if done[j] {
					u[row[j]] += best
					v[j] -= best
				} else {
					slack[j] -= best
				}
			}
			at = next
		}
		for at != 0 {
			row[at] = row[from[at]]
			at = from[at]
		}
	}
	out := make([]int, n)
	for j := 1; j <= n; j++ {
		out[row[j]-1] = j - 1
	}
	return out
}
