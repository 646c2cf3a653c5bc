// Package project makes maps of vectors: principal components and t-SNE, to a few
// dimensions that can be looked at.
//
// Vectors are rows of flat slices in C order, x: [N, dim], of float32 or float64;
// results are float64. The same input and seed give the same map, whatever the number
// of processors. A context that ends stops the work, and its cause is the error.
package project

import (
	"fmt"

	"github.com/sslrt/sslrt/finetune/distance"
)

func rows[F distance.Float](what string, x []F, dim int) (int, error) {
	n, err := distance.Rows(x, dim)
	if err == nil && n < 2 {
		err = fmt.Errorf("got %d vectors, want 2 or more", n)
	}
	if err != nil {
		return 0, fmt.Errorf("project: %s: %w", what, err)
	}
	return n, nil
}
