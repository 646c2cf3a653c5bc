package finetune

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"strings"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
)

// Preprocess returns the evaluation preprocessing that goes with the run.
func (c *Config) Preprocess() augment.Preprocess {
	p := augment.EvalPreprocess(c.ImageSize)
	if c.Channels == 1 {
		p = p.Gray()
	}
	copy(p.Mean[:], c.Mean)
	copy(p.Std[:], c.Std)
	if c.Interpolation == augment.Bicubic.String() {
		p.Interpolation = augment.Bicubic
	}
	if c.Crop > 0 {
		p.Resize, p.Crop = augment.ResizeShorter, augment.CropCenter
		p.ResizeTo = int(float64(c.ImageSize) / c.Crop)
	}
	return p
}

func (c *Config) encoder() (models.Encoder, error) {
	if c.Imported != nil {
		return c.Imported.Encoder(c.ImageSize)
	}
	if _, _, ok := c.onnxFile(); ok {
		return c.onnxEncoder()
	}
	return models.NewEncoder(c.Encoder, models.EncoderOptions{
		ImageSize: c.ImageSize, Channels: c.Channels, Width: c.Width,
		Stem: c.Stem, Patch: c.Patch, Pool: models.TokenPooling(c.Pool),
	})
}

// EncoderName is a name for the encoder that a file or directory may have: of one that is
// an ONNX file, that file's without its suffix.
func (c *Config) EncoderName() string {
	if path, _, ok := c.onnxFile(); ok {
		return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	return c.Encoder
}

// EncoderText says which encoder it is and how it is fitted to the images.
func (c *Config) EncoderText() string {
	if c.Imported != nil {
		return c.Imported.String()
	}
	if path, _, ok := c.onnxFile(); ok {
		return "encoder of " + filepath.Base(path)
	}
	text := fmt.Sprintf("%s width %g", c.Encoder, c.Width)
	if c.Stem != "" {
		text += fmt.Sprintf(", %s stem", c.Stem)
	}
	if c.Patch != 0 {
		text += fmt.Sprintf(", patch %d", c.Patch)
	}
	return text
}

// Network returns the encoder and the projector, which has no widths for a method
// without one.
func (c *Config) Network() (models.Encoder, models.Projector, error) {
	e, err := c.encoder()
	return e, models.NewProjector(c.Projector...), err
}

// decoder returns the mirror of the encoder.
func (c *Config) decoder(encoder models.Encoder) (models.Decoder, error) {
	return models.MirrorOf(encoder, models.Map{Channels: c.Channels, Height: c.ImageSize, Width: c.ImageSize})
}

// Objective returns what the run minimises.
func (c *Config) Objective() (train.Objective, error) {
	encoder, projector, err := c.Network()
	if err != nil {
		return nil, err
	}
	switch {
	case c.Method == MethodSupervised:
		return objective.Supervised{Encoder: encoder, Classes: len(c.Classes), Freeze: c.frozenEncoder(),
			Smoothing: c.LabelSmoothing, Mixup: c.Mixup, CutMix: c.CutMix}, nil
	case c.autoencodes():
		decoder, err := c.decoder(encoder)
		return objective.Autoencoder{Encoder: encoder, Decoder: decoder, Error: objective.Loss(c.Loss),
			Noise: c.noise(), Mean: c.Mean, Std: c.Std}, err
	}
	return objective.SimCLR{Encoder: encoder, Projector: projector,
		Temperature: c.Temperature, Contrast: objective.Loss(c.Loss)}, nil
}

// Step builds the training step of the run, of which an epoch has a number.
func (c *Config) Step(stepsPerEpoch int) (*train.Program, error) {
	o, err := c.Objective()
	if err != nil {
		return nil, err
	}
	return train.Build(train.Config{
		Objective: o,
		Optimizer: c.optimizer(),
		Rate:      c.schedule(stepsPerEpoch).Rate,
		BatchSize: c.BatchSize, Accumulate: c.Accumulate, Chunk: c.Chunk,
		Image:    []int{c.Channels, c.ImageSize, c.ImageSize},
		GradNorm: true,
		Frozen:   c.frozen,

		CheckpointActivations: c.CheckpointActivations,
	})
}

// stepsPerEpoch returns how many steps so many images make; what is left over is
// left out, other images in each epoch.
func (c *Config) stepsPerEpoch(images int) int { return images / (c.BatchSize * c.Accumulate) }

// schedule returns the learning rate of each step.
func (c *Config) schedule(stepsPerEpoch int) optim.Schedule {
	w := optim.Warmup{Steps: int(c.WarmupEpochs * float64(stepsPerEpoch))}
	switch c.Schedule {
	case ScheduleConstant:
		w.Then = optim.Constant(c.LR)
	case ScheduleStep:
		m := optim.Milestones{Base: c.LR, Gamma: c.Gamma}
		for _, epoch := range c.Milestones {
			// Epochs count from the run's start; the schedule sees no step of the warm-up.
			m.Steps = append(m.Steps, epoch*stepsPerEpoch-w.Steps)
		}
		w.Then = m
	default:
		w.Then = optim.Cosine{Base: c.LR}
	}
	return w
}

// optimizers are the optimisers by name, with what they start from where nothing is
// said: sgd the default recipe's, lars SimCLR's, the others PyTorch's.
var optimizers = map[string]struct {
	rate  func(batch int) float64
	decay float64
}{
	"sgd":     {func(batch int) float64 { return 0.06 * float64(batch) / 128 }, 5e-4},
	"lars":    {func(batch int) float64 { return optim.LinearScaling(0.3, batch) }, 1e-6},
	"adam":    {func(int) float64 { return 1e-3 }, 0},
	"adamw":   {func(int) float64 { return 1e-3 }, 1e-2},
	"rmsprop": {func(int) float64 { return 1e-2 }, 0},
}

func (c *Config) optimizer() train.Optimizer {
	decay := optim.Decay{Rate: c.WeightDecay, Exclude1D: c.ExcludeNorms}
	var o train.Optimizer
	switch c.Optimizer {
	case "adam", "adamw":
		o = optim.Adam{Decay: decay, Decoupled: c.Optimizer == "adamw"}
	case "rmsprop":
		o = optim.RMSprop{Momentum: c.Momentum, Decay: decay}
	case "lars":
		o = optim.LARS{Momentum: c.Momentum, Decay: c.WeightDecay, Exclude1D: true}
	default:
		o = optim.SGD{Momentum: c.Momentum, Nesterov: c.Nesterov, Decay: decay}
	}
	if c.LayerDecay > 0 {
		o = optim.Layered{Next: o, Decay: c.LayerDecay}
	}
	if c.ClipNorm > 0 {
		o = optim.Clip{Norm: c.ClipNorm, Next: o}
	}
	if c.EMA > 0 {
		o = optim.Averaged{Next: o, Average: optim.EMA{Base: c.EMA, Warmup: true}}
	}
	return o
}

// trained returns the weights that a run is for: those of a state, with the moving
// averages in place of what they are of.
func trained(state models.StateDict) models.StateDict {
	out := maps.Clone(state)
	for name, v := range state {
		if of, ok := strings.CutPrefix(name, models.AveragePrefix); ok {
			out[of] = v
		}
	}
	return out
}

// Open opens the run's data, the first Limit images of it. Of data that has parts the
// training part is taken, unless Split says another. stdin is read for the
// path "-"; nil for os.Stdin.
func (c *Config) Open(stdin io.Reader) (augment.Source, error) {
	src, err := augment.Open(c.Data, augment.SourceOptions{Split: c.Split, DefaultSplit: "train", Labels: c.CIFARLabels, Stdin: stdin,
		Decode: augment.DecodeOptions{Orient: c.ExifOrientation, MaxPixels: int64(c.MaxPixels)}})
	if err != nil {
		return nil, err
	}
	return augment.First(src, c.Limit), nil
}
