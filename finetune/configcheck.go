package finetune

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
	"github.com/sslrt/sslrt/runtime/ort"
)

// Resolve fills in what depends on the data and on other settings, and checks the
// whole. The learning rate is 0.06 * images a step / 128 for sgd, 0.3 * images a step
// / 256 for lars, 1e-3 for adam and adamw, 1e-2 for rmsprop; the weight decay 5e-4,
// 1e-6, 0, 1e-2 (adamw) and 0.
func (c *Config) Resolve(src augment.Source) error {
	if src.Len() == 0 {
		return errors.New("finetune: the data hold no image")
	}
	if err := c.resolveONNX(); err != nil {
		return err
	}
	if c.ImageSize == 0 {
		size, err := UsualSize(src)
		if err != nil {
			return err
		}
		c.ImageSize = size
	}
	if err := c.resolveMethod(); err != nil {
		return err
	}
	if c.Stem == "auto" || c.Stem == "" {
		c.Stem = models.DefaultStem(c.Encoder, c.ImageSize)
	}
	if c.Patch == 0 {
		c.Patch = models.DefaultPatch(c.Encoder, c.ImageSize)
	}
	if err := c.resolveOptimizer(); err != nil {
		return err
	}
	if err := c.resolveChannels(); err != nil {
		return err
	}
	encoder, err := c.encoder()
	if err != nil {
		return err
	}
	if c.Projector == nil && !c.NoProjector && c.Method == MethodSimCLR {
		c.Projector = []int{encoder.Size(), 128}
	}
	if c.Method == MethodSupervised {
		if c.Classes = src.Classes(); len(c.Classes) < 2 {
			return fmt.Errorf("finetune: method %s needs images of two classes or more (class subfolders)", c.Method)
		}
		if err := c.validateSupervised(); err != nil {
			return err
		}
	}
	if err := c.checkChunk(); err != nil {
		return err
	}
	images, err := c.TrainingImages(src)
	if err != nil {
		return err
	}
	if err := c.validate(images); err != nil {
		return err
	}
	o, err := c.Objective()
	if err != nil {
		return err
	}
	if err := c.resolveViews(o.Views()); err != nil {
		return err
	}
	if err := c.checkViews(o.Views()); err != nil {
		return err
	}
	if err := c.checkBlocks(encoder); err != nil {
		return err
	}
	return c.checkBestBy(len(src.Classes()) > 1)
}

// resolveOptimizer fills in what depends on the optimiser.
func (c *Config) resolveOptimizer() error {
	usual, ok := optimizers[c.Optimizer]
	if !ok {
		return fmt.Errorf("finetune: unknown optimizer %q: choose %s", c.Optimizer, strings.Join(slices.Sorted(maps.Keys(optimizers)), ", "))
	}
	if c.LR == 0 {
		c.LR = usual.rate(c.BatchSize * c.Accumulate)
	}
	if c.WeightDecay < 0 {
		c.WeightDecay = usual.decay
	}
	return nil
}

// resolveChannels fills in how channels are normalised.
func (c *Config) resolveChannels() error {
	if c.Channels != 1 && c.Channels != 3 {
		return fmt.Errorf("finetune: channels is %d: choose 1 or 3", c.Channels)
	}
	pre := augment.EvalPreprocess(c.ImageSize)
	if c.Channels == 1 {
		pre = pre.Gray()
	}
	if c.autoencodes() {
		pre.Mean, pre.Std = [3]float32{}, [3]float32{1, 1, 1}
	}
	if c.Mean == nil {
		c.Mean = slices.Clone(pre.Mean[:c.Channels])
	}
	if c.Std == nil {
		c.Std = slices.Clone(pre.Std[:c.Channels])
	}
	return nil
}

// checkBlocks refuses CheckpointActivations where the encoder has no blocks.
func (c *Config) checkBlocks(encoder models.Encoder) error {
	if !c.CheckpointActivations {
		return nil
	}
	g := op.NewGraph()
	encoder.Forward(models.NewScope(models.NewParams(g), false), g.Input("image", op.Float32, op.Batched(2, c.Channels, c.ImageSize, c.ImageSize)))
	if err := g.Err(); err != nil {
		return fmt.Errorf("finetune: checkpoint_activations: %w", err)
	}
	if g.Blocks() == 0 {
		return fmt.Errorf("finetune: checkpoint_activations: %s has no blocks to compute anew: residual networks and vision transformers have", c.EncoderText())
	}
	return nil
}

// checkChunk refuses chunks that do not fit the batch, or the method.
func (c *Config) checkChunk() error {
	if c.Chunk == 0 {
		return nil
	}
	if c.Chunk < 1 || c.BatchSize%c.Chunk != 0 {
		return fmt.Errorf("finetune: chunk is %d: want a divisor of the batch size %d, or 0 for the batch at once", c.Chunk, c.BatchSize)
	}
	o, err := c.Objective()
	if err != nil {
		return err
	}
	if _, ok := o.(train.Comparer); !ok {
		return fmt.Errorf("finetune: method %s cannot be computed in chunks: they are for losses that compare the images of a batch, that of %s; accumulate averages batches in the memory of one", c.Method, MethodSimCLR)
	}
	return nil
}

// checkBestBy refuses a metric that the run will not have.
func (c *Config) checkBestBy(labelled bool) error {
	if c.BestBy == train.OutputLoss {
		return nil
	}
	step, err := c.Step(1)
	if err != nil {
		return err
	}
	names := epochMetrics(step, labelled, c.Validation > 0)
	if slices.Contains(names, c.BestBy) {
		return nil
	}
	if c.BestBy == metricKNN {
		return fmt.Errorf("finetune: best_by is %s, which needs images of two classes or more (class subfolders); without them choose %s", c.BestBy, strings.Join(names, ", "))
	}
	return fmt.Errorf("finetune: best_by is %q: an epoch of this run has %s", c.BestBy, strings.Join(names, ", "))
}

// maxProjector is eight times the widest projector that papers have: a slip of the finger
// asks for more memory than there is.
const maxProjector = 1 << 16

func (c *Config) validate(images int) error {
	if err := c.checkVersion(); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	if c.Method == MethodImported {
		return fmt.Errorf("finetune: a run of method %s is there to be exported: train it further in a run of its own, by --init DIR/%s", MethodImported, fileLast)
	}
	if err := c.validateMethod(); err != nil {
		return err
	}
	for _, w := range c.Projector {
		if w < 1 || w > maxProjector {
			return fmt.Errorf("finetune: projector widths are %v, want 1 to %d", c.Projector, maxProjector)
		}
	}
	if c.NoProjector && len(c.Projector) > 0 {
		return fmt.Errorf("finetune: no_projector contradicts the projector %v: set one of them", c.Projector)
	}
	if len(c.Mean) != 3 && len(c.Mean) != c.Channels || len(c.Std) != len(c.Mean) {
		return fmt.Errorf("finetune: got %d mean and %d std for %d channels: want one of each per channel", len(c.Mean), len(c.Std), c.Channels)
	}
	if err := c.validateSchedule(); err != nil {
		return err
	}
	if smallest := 2; c.BatchSize < smallest {
		return fmt.Errorf("finetune: the batch size is %d, want %d or more", c.BatchSize, smallest)
	}
	if c.Accumulate < 1 {
		return fmt.Errorf("finetune: accumulate is %d, want 1 batch a step or more", c.Accumulate)
	}
	if c.BatchSize > images {
		return fmt.Errorf("finetune: the batch size %d is larger than the data: %d images; choose %d or less", c.BatchSize, images, images)
	}
	if c.Accumulate > images/c.BatchSize {
		return fmt.Errorf("finetune: %d batches of %d images make a step, the data are %d images; choose accumulate %d or less", c.Accumulate, c.BatchSize, images, images/c.BatchSize)
	}
	for _, s := range []struct {
		name  string
		value float64
		ok    bool
	}{
		{"image size", float64(c.ImageSize), c.ImageSize >= 8 && c.ImageSize <= 1024},
		{"epochs", float64(c.Epochs), c.Epochs >= 0},
		{"temperature", c.Temperature, c.Temperature > 0},
		{"learning rate", c.LR, c.LR > 0},
		{"momentum", c.Momentum, c.Momentum >= 0 && c.Momentum < 1},
		{"weight decay", c.WeightDecay, c.WeightDecay >= 0},
		{"clip norm", c.ClipNorm, c.ClipNorm >= 0},
		{"ema", c.EMA, c.EMA >= 0 && c.EMA < 1},
		{"patience", float64(c.Patience), c.Patience >= 0},
		{"warmup epochs", c.WarmupEpochs, c.WarmupEpochs >= 0 && c.WarmupEpochs <= float64(c.Epochs)},
		{"number of threads", float64(c.Threads), c.Threads >= 0},
		{"number of workers", float64(c.Workers), c.Workers >= 0},
		{"limit", float64(c.Limit), c.Limit >= 0},
		{"crop", c.Crop, c.Crop >= 0 && c.Crop <= 1},
		{"max_pixels", float64(c.MaxPixels), c.MaxPixels >= 0},
	} {
		if !s.ok {
			return fmt.Errorf("finetune: the %s %g is out of range", s.name, s.value)
		}
	}
	if c.Nesterov && c.Momentum == 0 {
		return errors.New("finetune: nesterov needs a momentum")
	}
	bilinear, bicubic := augment.Bilinear.String(), augment.Bicubic.String()
	if c.Interpolation != "" && c.Interpolation != bilinear && c.Interpolation != bicubic {
		return fmt.Errorf("finetune: unknown interpolation %q: choose %s or %s", c.Interpolation, bilinear, bicubic)
	}
	if err := ort.CheckDevice(c.Device); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	return c.Preprocess().Validate()
}

func (c *Config) validateSchedule() error {
	switch c.Schedule {
	case ScheduleCosine, ScheduleConstant:
		if len(c.Milestones) > 0 {
			return fmt.Errorf("finetune: milestones go with the schedule %s, it is %s", ScheduleStep, c.Schedule)
		}
		return nil
	case ScheduleStep:
	default:
		return fmt.Errorf("finetune: unknown schedule %q: choose %s, %s or %s", c.Schedule, ScheduleCosine, ScheduleConstant, ScheduleStep)
	}
	last := 0
	for _, m := range c.Milestones {
		if m <= last {
			return fmt.Errorf("finetune: milestones are %v: want epochs from 1 up, each later than the one before", c.Milestones)
		}
		last = m
	}
	if last == 0 {
		return fmt.Errorf("finetune: the schedule %s needs milestones, such as milestones=60,80", ScheduleStep)
	}
	if !(c.Gamma > 0 && c.Gamma <= 1) {
		return fmt.Errorf("finetune: gamma is %g, want more than 0 and at most 1", c.Gamma)
	}
	return nil
}

// UsualSize is the image size that suits a source: the shorter side of its first
// readable image up to 64 pixels, else 128.
func UsualSize(src augment.Source) (int, error) {
	var first error
	for i := range src.Len() {
		m, err := src.Image(i)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		if side := min(m.W, m.H); side <= 64 {
			return max(side, 8), nil
		}
		return 128, nil
	}
	return 0, fmt.Errorf("finetune: none of the %d images can be read; the first: %w", src.Len(), first)
}
