// Package cluster groups vectors without labels: k-means (Lloyd, k-means++, mini-batch)
// and agglomerative clustering; and picks vectors that lie far apart (greedy k-centre).
//
// Vectors are rows of flat slices in C order, x: [N, dim], of float32 or float64;
// sums are in float64. Clusters are numbered from 0. The same input and seed give the
// same result, whatever the number of processors. A context that ends stops the work,
// and its cause is the error.
package cluster

import (
	"fmt"

	"github.com/sslrt/sslrt/finetune/distance"
)

// check checks x: [N, dim] and the number of clusters, 1 to N, and returns N.
func check[F distance.Float](what string, x []F, dim, k int) (int, error) {
	n, err := distance.Rows(x, dim)
	if err != nil {
		return 0, fmt.Errorf("cluster: %s: %w", what, err)
	}
	if k < 1 || k > n {
		return 0, fmt.Errorf("cluster: %s: got k %d of %d vectors, want 1 to %d", what, k, n, n)
	}
	return n, nil
}
