package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/finetune/probe"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
)

// finetuneFlags are the flags of finetune. Those that are settings of the run have
// their names.
type finetuneFlags struct {
	pretrainOptions
	model   string // what evaluate was given, whose run is thrown away; "" for finetune
	labels  string
	test    []string
	results resultFlags
	enc     encoderFlags // classifies the test images, and counts all that were skipped
}

func newFinetune(s streams, g *global) *cobra.Command { return (&finetuneFlags{}).command(s, g) }

func (f *finetuneFlags) command(s streams, g *global) *cobra.Command {
	c := finetuneDefaults()
	cmd := &cobra.Command{
		Use:   "finetune RUN DATA...",
		Short: "Train a pretrained encoder on labelled images",
		Long: `Finetune starts from the encoder of a run (the directory, pretrained or imported),
puts one linear layer behind it and trains both on images in class subfolders. The
result is a run of its own: sslrt export classifier.onnx writes it.

A tenth of the images is held back by default and measured after each epoch; the best
epoch's weights are kept as best.safetensors, and --patience stops on a plateau. With
--test the best weights are measured on other labelled images in the end.

--freeze encoder trains the last layer alone, --freeze conv1,layer1 all but these;
--layer-decay 0.75 gives each block three quarters of the learning rate of the one
above it. The optimiser's defaults are lightly's for fine-tuning: SGD, learning rate
0.05 * images a step / 256, cosine, 30 epochs and 1,000 steps at least.`,
		Example: `  sslrt finetune runs/first photos/train --test photos/test
  sslrt finetune runs/first photos/train --labels 1% --freeze encoder --run runs/probe`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.data, f.cmd = args[1:], cmd
			return f.start(cmd.Context(), s, g, args[0])
		},
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&c.Freeze, "freeze", nil, "parts of the encoder that stay: encoder for all, or names such as conv1,bn1,layer1")
	fl.Float64Var(&c.LayerDecay, "layer-decay", c.LayerDecay, "factor of the learning rate from a block to the one below it, such as 0.75; 0: none")
	fl.StringVar(&f.labels, "labels", "100%", "share of the training images to use, stratified by class: 1%, 0.1")
	fl.Float64Var(&c.Validation, "validation", c.Validation, "share of the training images that is held back; 0: none")
	fl.Float64Var(&c.LabelSmoothing, "label-smoothing", c.LabelSmoothing, "share of each label that goes to all classes evenly")
	fl.Float64Var(&c.Mixup, "mixup", c.Mixup, "mix images and labels by weights from Beta(a, a); 0: not")
	fl.Float64Var(&c.CutMix, "cutmix", c.CutMix, "paste boxes of other images, their areas from Beta(a, a); 0: not")
	fl.IntVar(&c.Epochs, "epochs", c.Epochs, "passes over the data (default: 30, more until they are 1,000 steps)")
	fl.IntVar(&c.BatchSize, "batch-size", c.BatchSize, "images; fewer when there are fewer")
	fl.StringVar(&c.Optimizer, "optimizer", c.Optimizer, "sgd, adam, adamw, rmsprop or lars")
	fl.Float64Var(&c.LR, "lr", 0, "learning rate (default: sgd 0.05 * images a step / 256, others theirs)")
	fl.Float64Var(&c.WeightDecay, "weight-decay", c.WeightDecay, "on all weights")
	fl.Float64Var(&c.WarmupEpochs, "warmup-epochs", c.WarmupEpochs, "of a linearly rising learning rate")
	fl.IntVar(&c.Patience, "patience", c.Patience, "stop after so many epochs without a better accuracy on what is held back; 0: never")
	fl.Uint64Var(&c.Seed, "seed", c.Seed, "of the last layer, order, augmentations and shares")
	fl.StringVar(&c.Engine, "engine", c.Engine, "auto, ort (ONNX Runtime) or go")
	fl.StringVar(&c.Device, "device", c.Device, "cpu or cuda:0")
	fl.IntVar(&c.Threads, "threads", c.Threads, "of the machine (default: all processors)")
	fl.IntVar(&c.Workers, "workers", c.Workers, "that decode and augment (default: all processors)")
	fl.StringVar(&c.Split, "split", c.Split, "train or test, where a source has splits")
	fl.StringArrayVar(&f.test, "test", nil, "labelled images to measure the result by; may be given several times")
	fl.StringVar(&f.pretrainOptions.run, "run", "", "run directory (default: a new one in "+finetune.RunsDir+")")
	fl.StringArrayVar(&f.set, "set", nil, "override a setting of config.yaml: key=value; may be repeated")
	f.enc.job.BatchSize = usualBatch
	f.enc.inputs.register(fl)
	f.results.register(cmd)
	return cmd
}

// fewestSteps are what a few labelled images need to teach anything.
const fewestSteps = 1000

// finetuneDefaults are lightly's for fine-tuning, at the batch of a small machine.
func finetuneDefaults() finetune.Config {
	c := finetune.DefaultConfig()
	c.Epochs, c.BatchSize, c.Optimizer, c.WeightDecay, c.Validation = 30, 64, "sgd", 0, 0.1
	return c
}

func (f *finetuneFlags) start(ctx context.Context, s streams, g *global, from string) error {
	if err := f.check(); err != nil {
		return err
	}
	c, err := f.configuration(from)
	if err != nil {
		return err
	}
	src, err := c.Open(s.in)
	if err != nil {
		return err
	}
	defer src.Close()
	var test augment.Source
	if len(f.test) > 0 {
		reading := &dataFlags{labels: c.CIFARLabels, orient: c.ExifOrientation, maxPixels: int64(c.MaxPixels)} // as in training
		if test, err = openLabelled(reading, f.test, "test", s); err != nil {
			return err
		}
		defer test.Close()
	}
	if err := f.suit(s, &c, src); err != nil {
		return err
	}
	if err := resolveNew(&c, src, s); err != nil {
		return err
	}
	run, err := newRun(f.pretrainOptions.run, c, src)
	if err != nil {
		return err
	}
	result, err := train(ctx, s, run, src)
	switch {
	case err != nil && f.model == "":
		return howToGoOn(ctx, run, err)
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("evaluate: stopped, nothing is kept (sslrt finetune keeps its run, which can go on): %w", context.Cause(ctx))
	case err != nil:
		return err
	}
	f.enc.inputs.add(src.Len(), result.Skipped)
	if err := f.finish(ctx, s, g, run, result, test); err != nil {
		return err
	}
	return f.enc.inputs.err()
}

// check refuses what would be found wrong after the training only.
func (f *finetuneFlags) check() error {
	if len(f.test) == 0 && (f.results.report || len(f.results.confusion) > 0) {
		return usagef("--report and --confusion tell of test images: give some by --test")
	}
	return f.results.check()
}

// configuration is what the flags make of the run to start from.
func (f *finetuneFlags) configuration(from string) (finetune.Config, error) {
	base, err := finetune.OpenRun(from)
	if err != nil {
		if info, statErr := os.Stat(from); statErr == nil && !info.IsDir() {
			err = fmt.Errorf("finetune: %s is a file, not a run: make one of it by sslrt import %s --run DIR", from, from)
		}
		return finetune.Config{}, err
	}
	c, err := base.Start()
	if err != nil {
		return c, err
	}
	usual := finetuneDefaults()
	c.Epochs, c.BatchSize, c.Optimizer, c.WeightDecay, c.Validation = usual.Epochs, usual.BatchSize, usual.Optimizer, usual.WeightDecay, usual.Validation
	if f.cmd.Flags().Changed("labels") {
		if c.LabelShare, err = parseShare(f.labels); err != nil {
			return c, usagef("--labels: %v", err)
		}
	}
	if err := f.configure(&c); err != nil {
		return c, err
	}
	if c.Patience > 0 && c.Validation == 0 {
		return c, usagef("--patience needs images that are held back: give --validation too")
	}
	return c, nil
}

// suit fits the defaults, where nothing else was said, to the images there are.
func (f *finetuneFlags) suit(s streams, c *finetune.Config, src augment.Source) error {
	images, err := c.TrainingImages(src)
	if errors.Is(err, probe.ErrNothingHeld) && !f.gave("validation") && c.Patience == 0 {
		fmt.Fprintln(s.err, "each class has one image only: none is held back")
		c.Validation = 0
		images, err = c.TrainingImages(src)
	}
	if err != nil {
		return err
	}
	if !f.gave("batch_size") {
		for c.BatchSize > 2 && c.BatchSize*c.Accumulate > images {
			c.BatchSize /= 2
		}
	}
	if !f.gave("epochs") {
		steps := max(images/max(c.BatchSize*c.Accumulate, 1), 1)
		c.Epochs = max(c.Epochs, (fewestSteps+steps-1)/steps)
	}
	if c.LR == 0 && c.Optimizer == "sgd" {
		c.LR = 0.05 * float64(c.BatchSize*c.Accumulate) / 256
	}
	if c.Validation > 0 && !f.gave("best_by") {
		c.BestBy = "accuracy"
	}
	return nil
}

// finish writes the classifier where it is asked for, measures it by the test images if
// there are any, and prints what there is.
func (f *finetuneFlags) finish(ctx context.Context, s streams, g *global, run *finetune.Run, result *finetune.Result, test augment.Source) error {
	weights := finetune.WeightsLast
	if run.Config.Validation > 0 && result.Best.Epoch > 0 {
		weights = finetune.WeightsBest
	}
	if f.results.output != "" { // checked against the graph, as every file that stays
		opt := finetune.ExportOptions{Part: onnx.KindClassifier, Weights: weights, Version: programVersion(), Force: f.results.force}
		if _, err := finetune.Export(ctx, run, f.results.output, opt); err != nil {
			return err
		}
	}
	switch {
	case test != nil:
		return f.measure(ctx, s, g, run, result, test, weights)
	case g.json:
		out := newPretrainResult(result)
		out.Path = f.results.output
		return printJSON(s.out, out)
	}
	return printSummary(s.out, &run.Config, result, f.results.output)
}

// measure classifies the test images with the weights of the last or the best epoch.
func (f *finetuneFlags) measure(ctx context.Context, s streams, g *global, run *finetune.Run, result *finetune.Result, test augment.Source, weights string) error {
	c := &run.Config
	f.enc.device, f.enc.threads, f.enc.job.Workers = c.Device, c.Threads, c.Workers
	l, err := classifyTest(ctx, s, &f.enc, run, test, weights)
	if err != nil {
		return err
	}
	model, share := f.model, c.LabelShare
	if model == "" {
		model = c.EncoderText()
	}
	if share == 0 {
		share = 1
	}
	out := &outcome{method: "finetune", logits: l.logits, probability: metrics.Softmax(l.logits, len(l.classes), 1), temperature: 1,
		protocol: fmt.Sprintf("fine-tuning: %s and a linear layer, %d epochs of %d images (%.6g%% of the labels, %g of them held back), %s, learning rate %g, batch %d, weights of the %s epoch, seed %d",
			model, result.Epochs, result.Images, 100*share, c.Validation, c.Optimizer, c.LR, c.BatchSize, weights, c.Seed)}
	r, confusion, err := measure(out, &l.labelledSets)
	if err != nil {
		return err
	}
	r.Path = f.results.output
	return f.results.print(s, g, r, confusion, l.classes)
}

// classified are labelled images and a classifier's logits for them.
type classified struct {
	labelledSets
	logits []float64 // [images, classes]
}

// classifyTest classifies labelled images by a run.
func classifyTest(ctx context.Context, s streams, f *encoderFlags, run *finetune.Run, test augment.Source, weights string) (*classified, error) {
	opt, err := f.options()
	if err != nil {
		return nil, err
	}
	opt.Output = "logits"
	dir, err := os.MkdirTemp("", "sslrt-classify-*")
	if err != nil {
		return nil, fmt.Errorf("finetune: %w", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "classifier.onnx")
	if _, err := finetune.Export(ctx, run, file, finetune.ExportOptions{Part: onnx.KindClassifier, Weights: weights, NoVerify: true, Version: programVersion()}); err != nil {
		return nil, err
	}
	net, err := runtime.Load(file, opt)
	if err != nil {
		return nil, err
	}
	defer net.Close()
	l := &classified{labelledSets: labelledSets{learned: run.Config.Classes}}
	sum, err := f.embed(ctx, s, "classify test images", net, test, &l.test)
	if err != nil {
		return nil, err
	}
	l.skipped = len(sum.Skipped)
	l.match(test.Classes())
	l.logits = widen(l.test.X, len(l.learned), len(l.classes))
	return l, nil
}
