package objective

import "github.com/sslrt/sslrt/models/op"

// MaskedPatches are the mean squared errors of each patch of a masked autoencoder (He et
// al., 2022), [N, L]: pred and target are [N, L, D]. normalise takes each patch of the
// target by its own mean and unbiased variance.
func MaskedPatches(pred, target *op.Node, normalise bool) *op.Node {
	if pred == nil || target == nil {
		return nil
	}
	if normalise {
		n := float64(target.Dims[2])
		d := op.Sub(target, op.Mean(target, true, 2))
		v := op.Scale(op.Mean(op.Mul(d, d), true, 2), n/(n-1))
		target = op.Div(d, op.Sqrt(op.AddScalar(v, 1e-6)))
	}
	return op.Mean(SquaredError(pred, target), false, 2)
}

// MaskedMean is the mean of errors: [N, L] where mask: [N, L] is 1.
func MaskedMean(errors, mask *op.Node) *op.Node {
	return op.Div(op.Sum(op.Mul(errors, mask), false), op.Sum(mask, false))
}
