package objective

import "github.com/sslrt/sslrt/models/op"

// GAN is an adversarial loss by its name.
type GAN string

const (
	GANHinge         GAN = "hinge" // Lim and Ye, 2017
	GANNonSaturating GAN = "ns"    // Goodfellow et al., 2014
	GANLeastSquares  GAN = "lsgan" // Mao et al., 2017
)

// Discriminator is the loss of what tells real from fake images, by its logits for both.
func (g GAN) Discriminator(real, fake *op.Node) *op.Node {
	mean := func(x *op.Node) *op.Node { return op.Mean(x, false) }
	switch g {
	case GANHinge:
		return op.Add(mean(op.ReLU(op.AddScalar(op.Neg(real), 1))), mean(op.ReLU(op.AddScalar(fake, 1))))
	case GANNonSaturating:
		return op.Add(mean(op.Softplus(op.Neg(real), 1)), mean(op.Softplus(fake, 1)))
	case GANLeastSquares:
		d := op.AddScalar(real, -1)
		return op.Scale(op.Add(mean(op.Mul(d, d)), mean(op.Mul(fake, fake))), 0.5)
	}
	return g.unknown(fake)
}

// Generator is the loss of what makes fake images, by the discriminator's logits.
func (g GAN) Generator(fake *op.Node) *op.Node {
	switch g {
	case GANHinge:
		return op.Neg(op.Mean(fake, false))
	case GANNonSaturating:
		return op.Mean(op.Softplus(op.Neg(fake), 1), false)
	case GANLeastSquares:
		d := op.AddScalar(fake, -1)
		return op.Scale(op.Mean(op.Mul(d, d), false), 0.5)
	}
	return g.unknown(fake)
}

func (g GAN) unknown(x *op.Node) *op.Node {
	if x == nil {
		return nil
	}
	return x.Graph().Fail("objective: unknown adversarial loss %q: choose %s, %s or %s", g, GANHinge, GANNonSaturating, GANLeastSquares)
}
