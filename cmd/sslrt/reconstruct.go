package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/runtime"
)

// reconstructFlags are those of evaluate's protocol reconstruction.
type reconstructFlags struct {
	noise string
	level float64
	seed  uint64
	sheet string
}

// restoredShown is the number of images on --sheet.
const restoredShown = 32

func (r *reconstructFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&r.noise, "noise", "", "of protocol reconstruction: gaussian, masking, saltpepper or none (default: what the model was trained on)")
	fl.Float64Var(&r.level, "noise-level", 0, "of --noise: standard deviation, or share of the pixels (default: the model's, else gaussian 0.2, masking 0.3, saltpepper 0.1)")
	fl.Uint64Var(&r.seed, "noise-seed", 0, "of the noise")
	fl.StringVar(&r.sheet, "sheet", "", "of protocol reconstruction: PNG file for the first images, each with what the model saw and made of it")
}

// noiseFor returns the noise that is asked for, or that the model was trained on.
func (r *reconstructFlags) noiseFor(a *runtime.Autoencoder) (augment.Noise, error) {
	trained, err := finetune.TrainedNoise(a.Info().Training)
	if err != nil {
		return augment.Noise{}, err
	}
	n := trained
	switch {
	case r.noise == "none" && r.level != 0:
		return n, usagef("--noise none has no --noise-level")
	case r.noise == "none":
		return augment.Noise{}, nil
	case r.noise != "" && r.noise != string(trained.Kind):
		n = augment.Noise{Kind: augment.NoiseKind(r.noise), Level: augment.NoiseKind(r.noise).DefaultLevel()}
	}
	if r.level != 0 {
		n.Level = r.level
	}
	if err := n.Validate(); err != nil {
		return n, usagef("%w", err)
	}
	return n, nil
}

func (r *reconstructFlags) run(ctx context.Context, model string, test []string, data *dataFlags, f *encoderFlags, s streams, g *global) error {
	if len(test) == 0 {
		return usagef("protocol %s needs images by --test", protocolReconstruction)
	}
	if err := errors.Join(wantSuffix("sheet", r.sheet, ".png"), checkFree(true, r.sheet)); err != nil {
		return err
	}
	opt, err := f.options()
	if err != nil {
		return err
	}
	src, err := data.open(test, "test", s)
	if err != nil {
		return err
	}
	defer src.Close()
	a, err := runtime.LoadAutoencoder(model, opt)
	if err != nil {
		return err
	}
	defer a.Close()
	o := finetune.ReconstructionOptions{Seed: r.seed}
	if r.sheet != "" {
		o.Sheet = restoredShown
	}
	if o.Noise, err = r.noiseFor(a); err != nil {
		return err
	}
	var bar *progress
	o.Job, bar = f.watch(s, "reconstruct", src.Len())
	found, err := finetune.EvaluateReconstruction(ctx, a, src, o)
	bar.close()
	if err != nil {
		return err
	}
	if found.Sheet != nil {
		if err := writePNG(r.sheet, found.Sheet.ToImage()); err != nil {
			return err
		}
	}
	if err := reportReconstruction(s, g, found, o.Noise, r); err != nil {
		return err
	}
	return f.inputs.err()
}

func reportReconstruction(s streams, g *global, found finetune.Reconstruction, n augment.Noise, r *reconstructFlags) error {
	if g.json {
		out := struct {
			PSNR     *float64 `json:"psnr"`                 // dB; null: infinite
			Noisy    *float64 `json:"noisy_psnr,omitempty"` // of what the model saw
			MSE      float64  `json:"mse"`
			Noise    string   `json:"noise,omitempty"`
			Level    float64  `json:"noise_level,omitempty"`
			Protocol string   `json:"protocol"`
			Images   int      `json:"images"`
			Skipped  int      `json:"skipped"`
		}{MSE: found.MSE, Noise: string(n.Kind), Level: n.Level, Protocol: protocolReconstruction, Images: found.Images, Skipped: len(found.Skipped)}
		if !math.IsInf(found.PSNR, 0) {
			out.PSNR = &found.PSNR
		}
		if n.Kind != "" && !math.IsInf(found.Noisy, 0) {
			out.Noisy = &found.Noisy
		}
		return printJSON(s.out, out)
	}
	fmt.Fprintf(s.out, "PSNR: %.2f dB, mean of %d images; mean squared error %.5f\n", found.PSNR, found.Images, found.MSE)
	if n.Kind != "" {
		fmt.Fprintf(s.out, "PSNR of what the model saw, %s noise of level %g (seed %d): %.2f dB\n", n.Kind, n.Level, r.seed, found.Noisy)
	}
	if r.sheet != "" {
		fmt.Fprintf(s.out, "wrote %s\n", r.sheet)
	}
	return nil
}
