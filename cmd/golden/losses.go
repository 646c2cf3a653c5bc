package main

import (
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/models/op"
)

// lossKinds builds the cases of group losses by kind.
var lossKinds = map[string]func(b *build) (outputs, error){
	"nt_xent":                  buildNTXent,
	"info_nce_one_directional": buildInfoNCE,
	"info_nce_symmetric":       buildSymmetricInfoNCE,
	"alignment":                buildAlignment,
	"uniformity":               buildUniformity,
	"reconstruction":           buildReconstruction,
	"ssim_loss":                buildSSIM,
	"negative_cosine":          twoOf(objective.NegativeCosine, "p", "z"),
	"byol_regression":          twoOf(objective.BYOLRegression, "p", "z"),
	"kl_diag_gaussian":         twoOf(objective.KLGaussian, "mu", "logvar"),
	"simsiam":                  fourOf(objective.SimSiamLoss),
	"byol":                     fourOf(objective.BYOLLoss),
	"barlow_twins":             buildBarlow,
	"vicreg":                   buildVICReg,
	"supcon":                   buildSupCon,
	"moco_info_nce":            buildMoCo,
	"dino":                     buildDINO,
	"swav":                     buildSwAV,
	"sinkhorn":                 buildSinkhorn,
	"beta_vae":                 buildBetaVAE,
	"mae_masked_mse":           buildMaskedMSE,
	"distillation_kl":          buildDistillation,
	"distillation_hinton":      buildDistillation,
	"triplet":                  buildTriplet,
	"gan":                      buildGAN,
}

func runLoss(c *Case, m engine.Machine) error {
	f := lossKinds[c.Op]
	if f == nil {
		return uncovered("no such loss yet")
	}
	return runGraph(c, m, f)
}

// contrasted returns the two views' embeddings and the temperature.
func contrasted(b *build) (z1, z2 *op.Node, temperature float64, err error) {
	var p struct{ Temperature float64 }
	if err := b.params(&p); err != nil {
		return nil, nil, 0, err
	}
	z, err := b.all("z1", "z2")
	if err != nil {
		return nil, nil, 0, err
	}
	return z[0], z[1], p.Temperature, nil
}

func buildNTXent(b *build) (outputs, error) {
	z1, z2, t, err := contrasted(b)
	z := op.Concat(0, z1, z2)
	return outputs{"loss": objective.NTXent(z, t), "per_row": objective.NTXentRows(z, t)}, err
}

func buildInfoNCE(b *build) (outputs, error) {
	z1, z2, t, err := contrasted(b)
	return outputs{"loss": objective.InfoNCE(z1, z2, t), "per_row": objective.InfoNCERows(z1, z2, t)}, err
}

func buildSymmetricInfoNCE(b *build) (outputs, error) {
	z1, z2, t, err := contrasted(b)
	both := op.Add(objective.InfoNCE(z1, z2, t), objective.InfoNCE(z2, z1, t))
	return outputs{"loss": op.Scale(both, 0.5)}, err
}

func buildAlignment(b *build) (outputs, error) {
	var p struct{ Alpha float64 }
	if err := b.params(&p); err != nil {
		return nil, err
	}
	if p.Alpha != 2 {
		return nil, uncovered("no exponent %g", p.Alpha)
	}
	z, err := b.all("z1", "z2")
	if err != nil {
		return nil, err
	}
	return outputs{"loss": objective.Alignment(op.Concat(0, z...))}, nil
}

func buildUniformity(b *build) (outputs, error) {
	var p struct{ T float64 }
	if err := b.params(&p); err != nil {
		return nil, err
	}
	if p.T != 2 {
		return nil, uncovered("no exponent %g", p.T)
	}
	z, err := b.x("z")
	return outputs{"loss": objective.Uniformity(z)}, err
}
