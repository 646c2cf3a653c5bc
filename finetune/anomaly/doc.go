// Package anomaly holds the arithmetic of anomaly scores on feature vectors: Gaussians
// (Mahalanobis, PaDiM) and memory banks of patches (PatchCore). It is pure: numbers in,
// numbers out, in float64. Package detector computes the same as ONNX nodes, out of
// statistics gathered image by image, and is held to these.
//
// Vectors are rows of flat slices in C order.
package anomaly

import (
	"fmt"

	"github.com/sslrt/sslrt/finetune/distance"
)

// rows checks x: [N, dim] with some rows and returns N.
func rows[F distance.Float](what string, x []F, dim int) (int, error) {
	n, err := distance.Rows(x, dim)
	if err == nil && n == 0 {
		err = fmt.Errorf("there are no vectors")
	}
	if err != nil {
		return 0, fmt.Errorf("anomaly: %s: %w", what, err)
	}
	return n, nil
}
