package anomaly

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/sslrt/sslrt/finetune/distance"
)

// PatchScore is the score of an image by a bank of normal patches.
type PatchScore struct {
	Patches []float64 // [P], distance of each patch to the nearest in the bank
	Nearest []int     // [P], that one
	Patch   int       // p*: the patch with the largest distance
	Weight  float64   // 1 - softmax: small when the bank is sparse around the nearest of p*
	Score   float64   // Weight * Patches[Patch]
}

// PatchCore scores an image by its patches (Roth et al., "Towards Total Recall in
// Industrial Anomaly Detection", CVPR 2022): s* is the largest distance of a patch p*
// to its nearest m* in the bank, and the score w s* with
//
//	w = 1 - exp(||p* - m*||) / sum over m in N_b(m*) of exp(||p* - m||)
//
// where N_b(m*) are the b entries of the bank nearest to m*, itself included. With b
// less than 2 there is no reweighting and w is 1. More b than the bank has means all.
//
//	bank: [M, dim]; patches: [P, dim]
func PatchCore[F distance.Float](ctx context.Context, bank, patches []F, dim, b int) (*PatchScore, error) {
	m, err := rows("patchcore: bank", bank, dim)
	if err != nil {
		return nil, err
	}
	p, err := rows("patchcore: patches", patches, dim)
	if err != nil {
		return nil, err
	}
	if b < 0 {
		return nil, fmt.Errorf("anomaly: patchcore: got %d neighbours, want 0 or more", b)
	}
	s := &PatchScore{Patches: make([]float64, p), Nearest: make([]int, p), Weight: 1}
	err = distance.Between(ctx, patches, bank, dim, distance.SquaredEuclidean, func(i int, d []float64) {
		for j, v := range d {
			if v < d[s.Nearest[i]] {
				s.Nearest[i] = j
			}
		}
		k := s.Nearest[i]
		s.Patches[i] = math.Sqrt(distance.Squared(patches[i*dim:(i+1)*dim], bank[k*dim:(k+1)*dim]))
	})
	if err != nil {
		return nil, err
	}
	for i, d := range s.Patches {
		if d > s.Patches[s.Patch] {
			s.Patch = i
		}
	}
	if b >= 2 && m > 1 {
		s.Weight = weight(bank, patches[s.Patch*dim:(s.Patch+1)*dim], dim, s.Nearest[s.Patch], min(b, m))
	}
	s.Score = s.Weight * s.Patches[s.Patch]
	return s, nil
}

// weight returns w for a patch whose nearest in the bank is given.
func weight[F distance.Float](bank, patch []F, dim, nearest, b int) float64 {
	row := func(i int) []F { return bank[i*dim : (i+1)*dim] }
	apart, order := make([]float64, len(bank)/dim), make([]int, len(bank)/dim)
	for i := range order {
		order[i] = i
		apart[i] = distance.Squared(row(i), row(nearest))
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(apart[x], apart[y]) })
	own, sum := math.Sqrt(distance.Squared(patch, row(nearest))), 0.0
	for _, i := range order[:b] { // relative to the nearest: exp stays finite
		sum += math.Exp(math.Sqrt(distance.Squared(patch, row(i))) - own)
	}
	return 1 - 1/sum
}
