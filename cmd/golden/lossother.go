package main

import (
	"slices"
	"strings"

	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/models/op"
)

// Losses of generative models, of distillation and of triplets.

func buildBetaVAE(b *build) (outputs, error) {
	var p struct {
		Beta  float64
		Recon string
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	in, err := b.all("mu", "logvar", "eps", "dec_weight", "dec_bias", "x")
	if err != nil {
		return nil, err
	}
	errors := map[string]func(pred, target *op.Node) *op.Node{"bce": objective.BinaryCrossEntropyLogits, "mse": objective.SquaredError}[p.Recon]
	if errors == nil {
		return nil, uncovered("no reconstruction %q", p.Recon)
	}
	z := objective.Reparameterise(in[0], in[1], in[2])
	recon := objective.PerImage(errors(op.Linear(z, in[3], in[4]), in[5]))
	kl := objective.KLGaussian(in[0], in[1])
	return outputs{"loss": op.Add(recon, op.Scale(kl, p.Beta)), "recon": recon, "kl": kl, "z": z}, nil
}

func buildMaskedMSE(b *build) (outputs, error) {
	var p struct {
		Patch   int
		NormPix bool `json:"norm_pix"`
	}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	in, err := b.all("pred", "imgs", "mask")
	if err != nil {
		return nil, err
	}
	rows := objective.MaskedPatches(in[0], op.Patchify(in[1], p.Patch), p.NormPix)
	return outputs{"loss": objective.MaskedMean(rows, in[2]), "per_patch": rows}, nil
}

func buildDistillation(b *build) (outputs, error) {
	p := struct{ Temperature, Alpha float64 }{Temperature: 1}
	if err := b.params(&p); err != nil {
		return nil, err
	}
	in, err := b.all("student", "teacher")
	if err != nil {
		return nil, err
	}
	loss := objective.Distillation(in[0], in[1], p.Temperature)
	if b.Op == "distillation_hinton" {
		target, err := b.labels("target")
		if err != nil {
			return nil, err
		}
		loss = op.Add(op.Scale(objective.CrossEntropy(in[0], target), p.Alpha), op.Scale(loss, 1-p.Alpha))
	}
	return outputs{"loss": loss}, nil
}

func buildTriplet(b *build) (outputs, error) {
	var p struct{ Margin float64 }
	if err := b.params(&p); err != nil {
		return nil, err
	}
	in, err := b.all("anchor", "positive", "negative")
	if err != nil {
		return nil, err
	}
	return outputs{"loss": objective.TripletMargin(in[0], in[1], in[2], p.Margin)}, nil
}

// buildGAN reads variants such as "hinge_d" and "ns_g".
func buildGAN(b *build) (outputs, error) {
	variant, err := variantOf(b)
	if err != nil {
		return nil, err
	}
	name, side, _ := strings.Cut(variant, "_")
	g := objective.GAN(name)
	if known := []objective.GAN{objective.GANHinge, objective.GANNonSaturating, objective.GANLeastSquares}; !slices.Contains(known, g) || side != "d" && side != "g" {
		return nil, uncovered("no variant %q", variant)
	}
	in, err := b.all("real", "fake")
	if err != nil {
		return nil, err
	}
	if side == "d" {
		return outputs{"loss": g.Discriminator(in[0], in[1])}, nil
	}
	return outputs{"loss": g.Generator(in[1])}, nil
}
