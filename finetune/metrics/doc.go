// Package metrics measures results by their usual definitions: detection (AUROC,
// average precision, F1, AUPRO, boxes found), classification (accuracy, per-class
// report, confusion, calibration), clusterings (NMI, ARI, matched accuracy,
// silhouette), embeddings (RankMe, alignment, uniformity, trustworthiness) and
// pictures (PSNR).
//
// Where definitions differ between programs the documentation says which one is
// taken; scikit-learn's, where it has the measure. All sums are in float64. Shares
// are from 0 to 1. Vectors are rows of flat slices in C order: x: [N, dim].
//
// A measure that the data do not define (one class only, a single cluster, a score
// that is not a number) is an error that says so, never NaN.
package metrics

import (
	"fmt"

	"github.com/sslrt/sslrt/finetune/distance"
)

// Float is a type of scores and of samples.
type Float = distance.Float

// rows checks x: [N, dim] and returns N.
func rows[F Float](what string, x []F, dim int) (int, error) {
	n, err := distance.Rows(x, dim)
	if err != nil {
		err = fmt.Errorf("metrics: %s: %w", what, err)
	}
	return n, err
}
