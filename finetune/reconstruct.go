package finetune

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/runtime"
)

// ReconstructionOptions say how EvaluateReconstruction looks at an autoencoder.
type ReconstructionOptions struct {
	Noise augment.Noise // that spoils the images; zero: none
	Seed  uint64        // of the noise
	Sheet int           // images on the contact sheet; 0: no sheet
	Job   runtime.JobOptions
}

// Reconstruction is how well an autoencoder gives images back.
type Reconstruction struct {
	PSNR  float64 // decibels, the mean over the images, of what came back
	Noisy float64 // the same of what the model saw; infinite without noise
	MSE   float64 // mean squared error, values in 0..1

	Images  int
	Skipped []augment.SkippedImage
	Sheet   *augment.Image // images, what was seen if that was spoilt, what came back
}

// EvaluateReconstruction gives images to an autoencoder and compares what comes back.
func EvaluateReconstruction(ctx context.Context, a *runtime.Autoencoder, src augment.Source, opt ReconstructionOptions) (Reconstruction, error) {
	var r Reconstruction
	if err := opt.Noise.Validate(); err != nil {
		return r, err
	}
	pre := a.Pixels()
	var cells []*augment.Image
	sum, err := runtime.ReconstructAll(ctx, a, src, opt.Noise, opt.Seed, opt.Job, func(x runtime.Reconstructed) error {
		db, mse, err := metrics.PSNR(x.Restored, x.Clean, 1)
		if err != nil {
			return err
		}
		seen, _, err := metrics.PSNR(x.Seen, x.Clean, 1)
		if err != nil {
			return err
		}
		r.PSNR, r.Noisy, r.MSE = r.PSNR+db, r.Noisy+seen, r.MSE+mse
		if r.Images++; r.Images <= opt.Sheet {
			cells = append(cells, pre.Image(x.Clean))
			if opt.Noise.Kind != "" {
				cells = append(cells, pre.Image(x.Seen))
			}
			cells = append(cells, pre.Image(x.Restored))
		}
		return nil
	})
	r.Skipped = sum.Skipped
	if err != nil {
		return r, fmt.Errorf("finetune: evaluate reconstruction: %w", err)
	}
	n := float64(r.Images)
	r.PSNR, r.Noisy, r.MSE = r.PSNR/n, r.Noisy/n, r.MSE/n
	if len(cells) > 0 {
		group := len(cells) / min(opt.Sheet, r.Images)
		r.Sheet = augment.Sheet(cells, 4*group, max(1, 64/pre.Height))
	}
	return r, nil
}

// TrainedNoise returns the noise that the training summary of a model's file names,
// none if there is none.
func TrainedNoise(training json.RawMessage) (augment.Noise, error) {
	var s struct {
		Noise string  `json:"noise"`
		Level float64 `json:"noise_level"`
	}
	if len(training) == 0 {
		return augment.Noise{}, nil
	}
	if err := json.Unmarshal(training, &s); err != nil {
		return augment.Noise{}, fmt.Errorf("finetune: the model's training summary: %w", err)
	}
	n := augment.Noise{Kind: augment.NoiseKind(s.Noise), Level: s.Level}
	return n, n.Validate()
}
