package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
)

func newPretrain(s streams, g *global) *cobra.Command {
	c := finetune.DefaultConfig()
	var o pretrainOptions
	cmd := &cobra.Command{
		Use:   "pretrain DATA...",
		Short: "Train an encoder on images without labels",
		Long: `Train an encoder on images without labels, or with the labels of class subfolders.
--method is one of

  simclr       two random views of an image find each other among all others
  autoencoder  the image comes back through its embedding; values in 0..1
  denoise      the same, from an image spoilt by --noise
  supervised   cross-entropy of the classes

DATA is a folder (class subfolders are labels, else unlabelled), an image, a zip or
tar of images, WebDataset shards, CIFAR batches, MNIST-style IDX files, .npz or .npy
arrays, a text file of paths, a pattern, or - for paths on standard input. Several
may be given.

The run is kept in a directory: config.yaml, metrics.jsonl, preview.png and
checkpoints; autoencoders add reconstruction.png. The defaults are lightly's
published recipe for CIFAR-10, for autoencoders Adam and no more than flips and crops.

Settings come from the defaults, then --config, then DATA and flags, then --set; the
keys are those of config.yaml.`,
		Example: `  sslrt pretrain photos/ --epochs 100
  sslrt pretrain photos/ --dry-run
  sslrt pretrain photos/ --method denoise --encoder conv --noise saltpepper
  sslrt pretrain --config runs/first/config.yaml --set seed=1
  sslrt pretrain --resume --run runs/first`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.data, o.cmd = args, cmd
			return pretrain(cmd.Context(), o, s, g)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Method, "method", c.Method, strings.Join(finetune.Methods(), ", "))
	f.StringVar(&c.Encoder, "encoder", c.Encoder, encoderHelp())
	f.Float64Var(&c.Width, "width", c.Width, "factor on the encoder's channels")
	f.StringVar(&c.Stem, "stem", c.Stem, "of a ResNet: auto (by image size), cifar (3x3) or imagenet (7x7 and max-pool)")
	f.IntVar(&c.Patch, "patch", c.Patch, "of a vision transformer, in pixels (default: 4 up to 64 pixels, 8 up to 128, else 16)")
	f.StringVar(&c.Pool, "pool", c.Pool, "of a vision transformer: token (default) or mean")
	f.StringVar(&o.projector, "projector", "", `output widths, such as 512-128; a single one is a linear layer; none (default: the encoder's size, then 128)`)
	f.StringVar(&c.Loss, "loss", c.Loss, "of simclr: ntxent (default) or infonce (one-directional); of autoencoders: mse (default), l1, ssim or bce")
	f.Float64Var(&c.Temperature, "temperature", c.Temperature, "of simclr's loss")
	f.StringVar(&c.Noise, "noise", c.Noise, "of denoise: gaussian (default), masking or saltpepper")
	f.Float64Var(&c.NoiseLevel, "noise-level", c.NoiseLevel, "standard deviation, of values in 0..1, or share of the pixels (default: gaussian 0.2, masking 0.3, saltpepper 0.1)")
	f.IntVar(&c.ImageSize, "image-size", c.ImageSize, "pixels (default: the first image's up to 64, else 128)")
	f.IntVar(&c.Channels, "channels", c.Channels, "3, or 1 for grey images")
	f.StringVar(&o.augment, "augment", "", "of all views: a preset ("+strings.Join(augment.Presets(), ", ")+"), a file with a policy, or a policy (default simclr_cifar)")
	f.IntVar(&c.Epochs, "epochs", c.Epochs, "passes over the data; 0 keeps the initial weights")
	f.IntVar(&c.BatchSize, "batch-size", c.BatchSize, "images; simclr runs two views of each")
	f.IntVar(&c.Accumulate, "accumulate", c.Accumulate, "batches whose gradients are averaged into one step; a contrastive loss still compares within each batch")
	f.IntVar(&c.Chunk, "chunk", c.Chunk, "of simclr: compute a batch in pieces of so many images, in the memory of one, with the negatives of all; 0: at once")
	f.BoolVar(&c.CheckpointActivations, "checkpoint-activations", c.CheckpointActivations, "compute the encoder's blocks anew in the backward pass: less memory for deep networks, more time")
	f.StringVar(&c.Optimizer, "optimizer", c.Optimizer, "sgd, adam, adamw, rmsprop or lars (default: sgd, of autoencoders adam)")
	f.Float64Var(&c.LR, "lr", c.LR, "learning rate (default: sgd 0.06 * images a step / 128, lars 0.3 * images a step / 256, adam and adamw 1e-3, rmsprop 1e-2)")
	f.Float64Var(&c.Momentum, "momentum", c.Momentum, "of sgd, rmsprop and lars")
	f.BoolVar(&c.Nesterov, "nesterov", c.Nesterov, "Nesterov's form of the momentum")
	f.Float64Var(&c.WeightDecay, "weight-decay", c.WeightDecay, "on all weights (default, as any negative value: sgd 5e-4, lars 1e-6, adamw 1e-2, others 0)")
	f.BoolVar(&c.ExcludeNorms, "exclude-norms", c.ExcludeNorms, "no weight decay for norms and biases")
	f.Float64Var(&c.ClipNorm, "clip-norm", c.ClipNorm, "largest norm of all gradients together; 0 does not clip")
	f.Float64Var(&c.WarmupEpochs, "warmup-epochs", c.WarmupEpochs, "of a linearly rising learning rate, before the schedule")
	f.StringVar(&c.Schedule, "schedule", c.Schedule, "of the learning rate: cosine, constant or step (--set milestones=60,80 --set gamma=0.1)")
	f.Float64Var(&c.EMA, "ema", c.EMA, "keep a moving average of the weights at this rate, such as 0.999, and measure and export that; 0: none")
	f.StringVar(&c.BestBy, "best-by", c.BestBy, "metric of an epoch by which checkpoints/best.safetensors is chosen: loss, knn, effective_rank, ...")
	f.IntVar(&c.Patience, "patience", c.Patience, "stop after so many epochs without a better --best-by; 0: never")
	f.Uint64Var(&c.Seed, "seed", c.Seed, "of weights, order and augmentations")
	f.StringVar(&c.Engine, "engine", c.Engine, "auto, ort (ONNX Runtime) or go")
	f.StringVar(&c.Device, "device", c.Device, "cpu or cuda:0")
	f.IntVar(&c.Threads, "threads", c.Threads, "of the machine (default: all processors)")
	f.IntVar(&c.Workers, "workers", c.Workers, "that decode and augment (default: all processors)")
	f.String("cache", c.Cache.String(), "memory for decoded images, so that a set that fits is decoded once; 0: none")
	f.BoolVar(&c.FastDecode, "fast-decode", c.FastDecode, "read large JPEG files at a reduced scale in training, which changes pixels")
	f.IntVar(&c.Limit, "limit", c.Limit, "use the first images only")
	f.StringVar(&c.Split, "split", c.Split, "train or test, where a source has splits")
	f.StringVar(&c.CIFARLabels, "cifar-labels", c.CIFARLabels, "of CIFAR-100: fine (default) or coarse")
	f.BoolVar(&c.ExifOrientation, "exif-orientation", c.ExifOrientation, "turn images upright by their EXIF orientation, which is ignored otherwise")
	f.IntVar(&c.MaxPixels, "max-pixels", c.MaxPixels, "refuse larger images (default 134217728)")
	f.StringVar(&o.run, "run", "", "run directory (default: a new one in "+finetune.RunsDir+")")
	f.BoolVar(&o.resume, "resume", false, "go on with the run in --run from its newest checkpoint")
	f.IntVar(&o.crosscheck, "crosscheck", 0, "first run a number of steps on both machines and print how far they agree")
	f.StringVar(&c.Init, "init", "", "start from the weights of a run, or in a file that others trained (see sslrt import); without --encoder, --width and --stem the network is the file's")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what the run would do and how long it would take, by one timed step")
	f.StringVar(&o.config, "config", "", "read settings from a file, such as a run's config.yaml")
	f.StringArrayVar(&o.set, "set", nil, "override a setting of config.yaml: key=value, lists as 512,128; may be repeated")
	return cmd
}

type pretrainOptions struct {
	run, projector, config, augment string
	data, set                       []string
	cmd                             *cobra.Command // whose flags were given
	resume, dryRun                  bool
	crosscheck                      int
}

// choseNetwork says whether the command line names the network.
func (o *pretrainOptions) choseNetwork() bool {
	return o.gave("encoder") || o.gave("width") || o.gave("stem")
}

// gave says whether the command line has a setting, by its flag or by --set.
func (o *pretrainOptions) gave(key string) bool {
	return o.cmd.Flags().Changed(strings.ReplaceAll(key, "_", "-")) ||
		slices.ContainsFunc(o.set, func(s string) bool { return strings.HasPrefix(s, key+"=") })
}

// crosscheckBatch is the number of images per cross-checked step: the machine in
// Go is slow.
const crosscheckBatch = 16

func pretrain(ctx context.Context, o pretrainOptions, s streams, g *global) error {
	if o.crosscheck < 0 {
		return usagef("got --crosscheck %d: want 0 steps or more", o.crosscheck)
	}
	run, c, given, err := o.settings()
	if err != nil {
		return err
	}
	src, err := c.Open(s.in)
	if err != nil {
		return err
	}
	defer src.Close()
	if run == nil {
		err = o.begin(&c, src, s)
	} else if err = checkResumed(run, given, src); err == nil {
		err = c.Resolve(src)
	}
	if err != nil {
		return err
	}
	if o.crosscheck > 0 {
		a, err := finetune.CrossCheck(ctx, c, src, crosscheckBatch, o.crosscheck)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.err, "cross-check: %d steps on %s and on %s: losses differ by %.1e at most, the weights after a step by %.1e of the largest\n",
			o.crosscheck, a.Machines[0], a.Machines[1], a.Loss, a.Weight)
	}
	if o.dryRun {
		return dryRun(ctx, c, src, s, g)
	}
	if run == nil {
		if run, err = newRun(o.run, c, src); err != nil {
			return err
		}
	}
	result, err := train(ctx, s, run, src)
	if err != nil {
		return howToGoOn(ctx, run, err)
	}
	if g.json {
		err = printJSON(s.out, newPretrainResult(result))
	} else {
		err = printSummary(s.out, &run.Config, result, "")
	}
	if err == nil && result.Skipped > 0 {
		err = skippedError{result.Skipped, src.Len()}
	}
	return err
}

// settings returns the configuration of a new run, or of the one to resume and what the
// command line gives beside it.
func (o *pretrainOptions) settings() (run *finetune.Run, c, given finetune.Config, err error) {
	given = finetune.DefaultConfig()
	switch {
	case !o.resume && o.run != "" && !o.dryRun:
		err = finetune.NoRun(o.run)
	case !o.resume:
	case o.run == "":
		err = usagef("--resume needs --run DIR")
	case o.dryRun:
		err = usagef("--dry-run plans a new run: leave out --resume")
	default:
		if run, err = finetune.OpenRun(o.run); err == nil {
			given = run.Config
		}
	}
	if err == nil {
		err = o.configure(&given)
	}
	if err == nil && len(given.Data) == 0 {
		err = usagef("pretrain needs DATA: a folder of images, for example")
	}
	c = given
	if run != nil {
		c = run.Config
	}
	return run, c, given, err
}

// begin is resolveNew with the network of the file that --init names, if none was chosen.
func (o *pretrainOptions) begin(c *finetune.Config, src augment.Source, s streams) error {
	if c.Init != "" && o.config == "" && c.Imported == nil && !o.choseNetwork() {
		if err := c.AdoptNetwork(); err != nil {
			return err
		}
	}
	return resolveNew(c, src, s)
}

// resolveNew completes the configuration of a new run, and prints what its weights start
// from.
func resolveNew(c *finetune.Config, src augment.Source, s streams) error {
	if err := c.Resolve(src); err != nil {
		return err
	}
	cov, err := c.Initial()
	if err != nil {
		return err
	}
	if cov != nil {
		fmt.Fprint(s.err, cov.Table())
	}
	return nil
}

// train trains a run and shows its progress.
func train(ctx context.Context, s streams, run *finetune.Run, src augment.Source) (*finetune.Result, error) {
	report := newTrainReport(s.err, &run.Config)
	defer report.finish()
	return finetune.Pretrain(ctx, run, src, report.events())
}

// howToGoOn adds to the error of a run how it can go on, or that it cannot.
func howToGoOn(ctx context.Context, run *finetune.Run, err error) error {
	goOn := "sslrt pretrain --resume --run " + shellWord(run.Dir)
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("%w\ngo on with: %s", err, goOn)
	case errors.Is(err, syscall.ENOSPC):
		err = fmt.Errorf("%w\nmake room, then go on with: %s", err, goOn)
	case !exists(run.CheckpointPath()):
		err = fmt.Errorf("%w\nnothing is saved in %s: remove it, or give another --run, to try again", err, run.Dir)
	}
	return err
}

// pretrainResult is what pretrain prints under --json.
type pretrainResult struct {
	Run        string             `json:"run"`
	Steps      int                `json:"steps"`
	Epochs     int                `json:"epochs"`
	Seconds    float64            `json:"seconds"` // of this process, like the two that follow
	ImagesPerS float64            `json:"images_per_s"`
	DataWait   float64            `json:"data_wait"`
	Metrics    map[string]float64 `json:"metrics"` // of the last epoch
	Best       *finetune.Best     `json:"best"`    // null without an epoch
	Stopped    bool               `json:"stopped_early"`
	Skipped    int                `json:"skipped"`
	Path       string             `json:"path,omitempty"` // of the classifier that finetune --output wrote
}

func newPretrainResult(r *finetune.Result) pretrainResult {
	out := pretrainResult{Run: r.Dir, Steps: r.Steps, Epochs: r.Epochs, Seconds: r.Seconds, ImagesPerS: r.ImagesPerS, DataWait: r.DataWait,
		Metrics: maps.Clone(r.Metrics), Stopped: r.Stopped, Skipped: r.Skipped}
	maps.DeleteFunc(out.Metrics, func(_ string, v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }) // JSON has neither
	if r.Best.Epoch > 0 {
		out.Best = &r.Best
	}
	return out
}

// newRun makes the run directory.
func newRun(dir string, c finetune.Config, src augment.Source) (*finetune.Run, error) {
	if dir == "" {
		dir = filepath.Join(finetune.RunsDir, c.Method+"-"+c.EncoderName()+"-"+time.Now().Format("20060102-150405"))
		for base, i := dir, 2; exists(dir); i++ { // begun in the same second, or the clock went back
			dir = fmt.Sprintf("%s-%d", base, i)
		}
	}
	run, err := finetune.CreateRun(dir, c)
	if err != nil {
		return nil, err
	}
	return run, run.WritePreview(src)
}
