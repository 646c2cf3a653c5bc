package objective

import "github.com/sslrt/sslrt/models/op"

// KLGaussian is the divergence of normal distributions with means and logarithms of
// variances [N, D] from the standard one, summed over D, the mean over N (Kingma and
// Welling, 2014).
func KLGaussian(mean, logvar *op.Node) *op.Node {
	inside := op.Sub(op.Sub(op.AddScalar(logvar, 1), op.Mul(mean, mean)), op.Exp(logvar))
	return op.Scale(PerImage(inside), -0.5)
}

// Reparameterise returns mean + noise * exp(logvar/2): a draw from the distributions,
// given standard normal noise.
func Reparameterise(mean, logvar, noise *op.Node) *op.Node {
	return op.Add(mean, op.Mul(noise, op.Exp(op.Scale(logvar, 0.5))))
}
