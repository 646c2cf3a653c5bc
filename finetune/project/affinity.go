package project

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/sslrt/sslrt/finetune/distance"
)

// precision finds the beta for which weights p_j proportional to exp(-beta d_j) have a
// given perplexity, the exponential of their entropy in nats, by bisection to the last
// digits. d are squared distances to the others. It fills p and returns beta.
//
// When fewer vectors are at the nearest distance than the perplexity asks for there is
// such a beta; when more are, all weight goes to them.
func precision(p, d []float64, perplexity float64) float64 {
	nearest := slices.Min(d)
	target := math.Log(perplexity)
	beta, lo, hi := 1.0, 0.0, math.Inf(1)
	for range 200 {
		entropy := weigh(p, d, nearest, beta)
		if entropy > target {
			lo = beta
		} else {
			hi = beta
		}
		next := (lo + hi) / 2
		if math.IsInf(hi, 1) {
			next = beta * 2
		}
		if next == beta || math.IsInf(next, 1) || math.Abs(entropy-target) < 1e-14 {
			break
		}
		beta = next
	}
	return beta
}

// weigh fills p with the weights and returns their entropy.
func weigh(p, d []float64, nearest, beta float64) float64 {
	sum, mean := 0.0, 0.0
	for j, v := range d {
		p[j] = math.Exp(-beta * (v - nearest))
		sum += p[j]
		mean += p[j] * (v - nearest)
	}
	for j := range p {
		p[j] /= sum
	}
	return math.Log(sum) + beta*mean/sum
}

// checkPerplexity wants 1 <= perplexity < n.
func checkPerplexity(perplexity float64, n int) error {
	if !(perplexity >= 1 && perplexity < float64(n)) {
		return fmt.Errorf("project: t-sne: got perplexity %g for %d vectors, want 1 or more and less than their number", perplexity, n)
	}
	return nil
}

// maxExact is the number of vectors up to which all affinities are kept: 0.8 GB.
const maxExact = 10_000

// Affinities returns the joint probabilities P of t-SNE (van der Maaten and Hinton, JMLR
// 2008) for all pairs, and the precision beta of each vector: p(j|i) is proportional to
// exp(-beta_i ||xi-xj||^2), of the given perplexity, and P = (p(j|i) + p(i|j)) / 2N. TSNE
// itself keeps only those of near neighbours; this is the definition, for up to 10,000
// vectors.
//
//	x: [N, dim]; p: [N, N]; beta: [N]
func Affinities[F distance.Float](ctx context.Context, x []F, dim int, perplexity float64) (p, beta []float64, err error) {
	n, err := rows("t-sne", x, dim)
	if err != nil {
		return nil, nil, err
	}
	if n > maxExact {
		return nil, nil, fmt.Errorf("project: t-sne: got %d vectors; all pairs are kept and %d are taken at most", n, maxExact)
	}
	if err := checkPerplexity(perplexity, n); err != nil {
		return nil, nil, err
	}
	p, beta = make([]float64, n*n), make([]float64, n)
	err = distance.Pairs(ctx, x, dim, distance.SquaredEuclidean, func(i int, d []float64) {
		others := slices.Concat(d[:i], d[i+1:])
		weights := make([]float64, n-1)
		beta[i] = precision(weights, others, perplexity)
		row := p[i*n : (i+1)*n]
		copy(row, weights[:i])
		copy(row[i+1:], weights[i:])
	})
	if err != nil {
		return nil, nil, err
	}
	for i := range n {
		for j := range i {
			v := (p[i*n+j] + p[j*n+i]) / float64(2*n)
			p[i*n+j], p[j*n+i] = v, v
		}
	}
	return p, beta, nil
}

// Divergence returns the Kullback-Leibler divergence of the map's affinities from P and
// its gradient: with q_ij proportional to 1/(1 + ||yi-yj||^2), KL = sum P log(P/q) and
// dKL/dyi = 4 sum_j (P_ij - q_ij) (yi - yj) / (1 + ||yi-yj||^2).
//
//	p: [N, N]; y, gradient: [N, 2]
func Divergence(p, y []float64) (kl float64, gradient []float64) {
	n := len(y) / 2
	gradient = make([]float64, len(y))
	total := 0.0
	weight := func(i, j int) float64 { return 1 / (1 + distance.Squared(y[2*i:2*i+2], y[2*j:2*j+2])) }
	for i := range n {
		for j := range i {
			total += 2 * weight(i, j)
		}
	}
	for i := range n {
		for j := range n {
			if i == j {
				continue
			}
			w := weight(i, j)
			if v := p[i*n+j]; v > 0 {
				kl += v * math.Log(v*total/w)
			}
			force := 4 * (p[i*n+j] - w/total) * w
			gradient[2*i] += force * (y[2*i] - y[2*j])
			gradient[2*i+1] += force * (y[2*i+1] - y[2*j+1])
		}
	}
	return kl, gradient
}

// neighbourhood is a sparse symmetric P: row i holds weight[start[i]:start[i+1]].
type neighbourhood struct {
	start  []int
	to     []int32
	weight []float64
}

// sparseAffinities are those of the nearest neighbours, three times the perplexity.
func sparseAffinities[F distance.Float](ctx context.Context, x []F, dim int, perplexity float64) (*neighbourhood, error) {
	n := len(x) / dim
	k := min(n-1, int(3*perplexity+1))
	to, weight := make([]int32, n*k), make([]float64, n*k)
	err := distance.Pairs(ctx, x, dim, distance.SquaredEuclidean, func(i int, d []float64) {
		best := smallest(d, i, k)
		near := make([]float64, k)
		for j, b := range best {
			near[j] = b.d
			to[i*k+j] = b.i
		}
		precision(weight[i*k:(i+1)*k], near, perplexity)
	})
	if err != nil {
		return nil, err
	}
	return symmetric(n, k, to, weight), nil
}

// candidate is a possible neighbour.
type candidate struct {
	d float64
	i int32
}

// smallest returns the k nearest of all but own, unordered, kept in a heap with the
// farthest at the root.
func smallest(d []float64, own, k int) []candidate {
	heap := make([]candidate, 0, k)
	down := func(i int) {
		for {
			child := 2*i + 1
			if child >= len(heap) {
				return
			}
			if r := child + 1; r < len(heap) && heap[r].d > heap[child].d {
				child = r
			}
			if heap[child].d <= heap[i].d {
				return
			}
			heap[i], heap[child] = heap[child], heap[i]
			i = child
		}
	}
	for j, v := range d {
		switch {
		case j == own:
		case len(heap) < k:
			if heap = append(heap, candidate{v, int32(j)}); len(heap) == k {
				for i := k/2 - 1; i >= 0; i-- {
					down(i)
				}
			}
		case v < heap[0].d:
			heap[0] = candidate{v, int32(j)}
			down(0)
		}
	}
	return heap
}

// symmetric makes (p(j|i) + p(i|j)) / 2N of k weights a row.
func symmetric(n, k int, to []int32, weight []float64) *neighbourhood {
	type entry struct {
		to     int32
		weight float64
	}
	lists := make([][]entry, n)
	for i := range n {
		for e := i * k; e < (i+1)*k; e++ {
			w := weight[e] / float64(2*n)
			lists[i] = append(lists[i], entry{to[e], w})
			lists[to[e]] = append(lists[to[e]], entry{int32(i), w})
		}
	}
	p := &neighbourhood{start: make([]int, n+1)}
	for i, list := range lists {
		slices.SortStableFunc(list, func(a, b entry) int { return cmp.Compare(a.to, b.to) })
		for e, v := range list {
			if e > 0 && v.to == list[e-1].to {
				p.weight[len(p.weight)-1] += v.weight
				continue
			}
			p.to = append(p.to, v.to)
			p.weight = append(p.weight, v.weight)
		}
		p.start[i+1] = len(p.to)
		lists[i] = nil
	}
	return p
}
