package metrics

import (
	"context"
	"fmt"
	"math"

	"github.com/sslrt/sslrt/finetune/distance"
)

// Silhouette returns for each vector how much nearer its own cluster is than the
// next (Rousseeuw, 1987): (b-a)/max(a,b), with a the mean distance to the others of
// its cluster and b the least mean distance to another cluster; 0 for a cluster of
// one; -1 to 1. Their mean is the silhouette of the clustering. It compares all
// pairs: take a sample of many vectors.
//
//	x: [N, dim]
//	clusters: [N], with 2 to N-1 different numbers
func Silhouette[F Float](ctx context.Context, x []F, dim int, clusters []int, d distance.Metric) ([]float64, error) {
	n, label, size, err := partition("silhouette", x, dim, clusters)
	if err != nil {
		return nil, err
	}
	out := make([]float64, n)
	err = distance.Pairs(ctx, x, dim, d, func(i int, row []float64) {
		sums := make([]float64, len(size))
		for j, v := range row {
			sums[label[j]] += v
		}
		own := label[i]
		if size[own] == 1 {
			return
		}
		a, b := sums[own]/float64(size[own]-1), math.Inf(1)
		for k, s := range sums {
			if k != own {
				b = min(b, s/float64(size[k]))
			}
		}
		if m := max(a, b); m > 0 {
			out[i] = (b - a) / m
		}
	})
	return out, err
}

// partition checks a clustering of vectors that has 2 to N-1 clusters.
func partition[F Float](what string, x []F, dim int, clusters []int) (n int, label, size []int, err error) {
	if n, err = rows(what, x, dim); err != nil {
		return 0, nil, nil, err
	}
	if len(clusters) != n {
		return 0, nil, nil, fmt.Errorf("metrics: %s: got %d clusters for %d vectors", what, len(clusters), n)
	}
	label, k := renumber(clusters)
	if k < 2 || k >= n {
		return 0, nil, nil, fmt.Errorf("metrics: %s: got %d clusters of %d vectors, want 2 to %d", what, k, n, n-1)
	}
	size = make([]int, k)
	for _, l := range label {
		size[l]++
	}
	return n, label, size, nil
}

// centroids returns the mean of each cluster: [clusters, dim].
func centroids[F Float](x []F, dim int, label, size []int) []float64 {
	c := make([]float64, len(size)*dim)
	for i, l := range label {
		for k := range dim {
			c[l*dim+k] += float64(x[i*dim+k]) / float64(size[l])
		}
	}
	return c
}

// CalinskiHarabasz is the spread between clusters over that within, each by its
// degrees of freedom (1974); larger is better. It is 1 when there is no spread within.
func CalinskiHarabasz[F Float](x []F, dim int, clusters []int) (float64, error) {
	n, label, size, err := partition("Calinski-Harabasz", x, dim, clusters)
	if err != nil {
		return 0, err
	}
	c := centroids(x, dim, label, size)
	mean := centroids(x, dim, make([]int, n), []int{n})
	between, within := 0.0, 0.0
	for k, s := range size {
		between += float64(s) * distance.Squared(c[k*dim:(k+1)*dim], mean)
	}
	for i, l := range label {
		within += distance.Squared(x[i*dim:(i+1)*dim], c[l*dim:(l+1)*dim])
	}
	if within == 0 {
		return 1, nil
	}
	k := float64(len(size))
	return between / within * (float64(n) - k) / (k - 1), nil
}

// DaviesBouldin is the mean over clusters of the worst ratio of the spread of two
// clusters to the distance of their means (1979); smaller is better. Two clusters of
// the same mean do not count.
func DaviesBouldin[F Float](x []F, dim int, clusters []int) (float64, error) {
	_, label, size, err := partition("Davies-Bouldin", x, dim, clusters)
	if err != nil {
		return 0, err
	}
	c := centroids(x, dim, label, size)
	spread := make([]float64, len(size))
	for i, l := range label {
		spread[l] += math.Sqrt(distance.Squared(x[i*dim:(i+1)*dim], c[l*dim:(l+1)*dim])) / float64(size[l])
	}
	sum := 0.0
	for i := range size {
		worst := 0.0
		for j := range size {
			if apart := math.Sqrt(distance.Squared(c[i*dim:(i+1)*dim], c[j*dim:(j+1)*dim])); i != j && apart > 0 {
				worst = max(worst, (spread[i]+spread[j])/apart)
			}
		}
		sum += worst
	}
	return sum / float64(len(size)), nil
}
