package models

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"
)

// ResizePositions interpolates the position embeddings of a vision transformer,
// [1, prefix+h*w, D], to another grid of patches: bicubic with antialiasing, as
// timm's resample_abs_pos_embed does. The first prefix tokens, which stand for no
// patch, keep theirs. from is the grid that they were made for, down and right; 0
// stands for a square one.
func ResizePositions(t *tensor.Dense, from, to [2]int, prefix int) (*tensor.Dense, error) {
	s := t.Shape()
	if t.Dtype() != tensor.Float32 || len(s) != 3 || s[0] != 1 || prefix < 0 || s[1] <= prefix {
		return nil, fmt.Errorf("models: position embeddings: got %v%v, want float32 [1, %d+h*w, D]", t.Dtype(), s, prefix)
	}
	patches, d := s[1]-prefix, s[2]
	if from == [2]int{} {
		side := int(math.Sqrt(float64(patches)))
		from = [2]int{side, side}
	}
	if from[0] < 1 || from[1] < 1 || from[0]*from[1] != patches {
		return nil, fmt.Errorf("models: position embeddings: %d patches are no grid of %dx%d", patches, from[0], from[1])
	}
	if to[0] < 1 || to[1] < 1 {
		return nil, fmt.Errorf("models: position embeddings: no grid of %dx%d patches", to[0], to[1])
	}
	x := t.Float32s()
	out := make([]float32, (prefix+to[0]*to[1])*d)
	copy(out, x[:prefix*d])
	if from == to {
		copy(out, x)
	} else {
		columns := resample(x[prefix*d:], from[0], from[1], d, to[1]) // [from[0], to[1], d]
		copy(out[prefix*d:], resample(columns, 1, from[0], to[1]*d, to[0]))
	}
	return tensor.New(tensor.WithShape(1, prefix+to[0]*to[1], d), tensor.WithBacking(out)), nil
}

// resample changes the middle axis of x: [outer, in, inner] to a size.
func resample(x []float32, outer, in, inner, size int) []float32 {
	out := make([]float32, outer*size*inner)
	sum := make([]float64, inner)
	for i := range size {
		first, weights := cubicWeights(i, in, size)
		for o := range outer {
			clear(sum)
			for k, w := range weights {
				for c, v := range x[(o*in+first+k)*inner:][:inner] {
					sum[c] += w * float64(v)
				}
			}
			for c, v := range sum {
				out[(o*size+i)*inner+c] = float32(v)
			}
		}
	}
	return out
}

// cubicWeights returns which elements of an axis of size in element i of one of size
// out is made of, from first on, and their weights: Keys' cubic with the coefficient
// -0.5, stretched where the axis shrinks, and cut off at the borders.
func cubicWeights(i, in, out int) (first int, weights []float64) {
	scale := float64(in) / float64(out)
	stretch := max(scale, 1)
	centre := scale * (float64(i) + 0.5)
	first = max(int(centre-2*stretch+0.5), 0)
	last := min(int(centre+2*stretch+0.5), in)
	sum := 0.0
	for k := first; k < last; k++ {
		w := cubic((float64(k) - centre + 0.5) / stretch)
		weights = append(weights, w)
		sum += w
	}
	for k := range weights {
		weights[k] /= sum
	}
	return first, weights
}

func cubic(x float64) float64 {
	const a = -0.5
	switch x = math.Abs(x); {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return ((a*x-5*a)*x+8*a)*x - 4*a
	}
	return 0
}

// FitPositions resizes the position embeddings of a vision transformer to so many
// tokens, for square grids of patches with or without a class token before them. ok
// is false where that cannot be: other tensors, other grids.
func FitPositions(t *tensor.Dense, tokens int) (fitted *tensor.Dense, ok bool) {
	s := t.Shape()
	if t.Dtype() != tensor.Float32 || len(s) != 3 || s[0] != 1 {
		return nil, false
	}
	for prefix := range 2 {
		from, to := side(s[1]-prefix), side(tokens-prefix)
		if from == 0 || to == 0 {
			continue
		}
		fitted, err := ResizePositions(t, [2]int{from, from}, [2]int{to, to}, prefix)
		return fitted, err == nil
	}
	return nil, false
}

// side returns the side of a square of n patches, 0 if it is none.
func side(n int) int {
	root := int(math.Round(math.Sqrt(float64(max(n, 0)))))
	if root*root != n {
		return 0
	}
	return root
}
