package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
	"github.com/sslrt/sslrt/runtime/ort"
)

// encoderFlags are the flags of the commands that embed images with a model.
type encoderFlags struct {
	layer      string
	size       string
	mean, std  string
	preprocess []string // KEY=VALUE
	device     string
	threads    int
	job        runtime.JobOptions
	inputs     inputs
}

// usualBatch is the default of --batch-size.
const usualBatch = 16

func (f *encoderFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.device, "device", "cpu", "where to run: cpu or cuda:N")
	fl.IntVar(&f.threads, "threads", 0, "threads of the model (0: one per processor)")
	fl.IntVar(&f.job.Workers, "workers", 0, "images decoded at the same time (0: one per processor)")
	fl.IntVar(&f.job.BatchSize, "batch-size", usualBatch, "images prepared together; changes no result")
	f.inputs.register(fl)
	fl.StringVar(&f.layer, "layer", "", `output of the model to take (default "embedding", or the only one)`)
	fl.StringVar(&f.size, "image-size", "", "of a foreign model: pixels, 224 or HEIGHTxWIDTH")
	fl.StringVar(&f.mean, "mean", "", "of a foreign model: one number or R,G,B, for samples in 0 to 1")
	fl.StringVar(&f.std, "std", "", "of a foreign model, as --mean")
	fl.StringArrayVar(&f.preprocess, "preprocess", nil,
		"of a foreign model: KEY=VALUE with resize, resize_to, interpolation, crop or channel_order")
}

// leaveOut makes flags of a shared set, which mean nothing to a command, unknown to it.
func leaveOut(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		cmd.Flags().Lookup(name).Hidden = true
	}
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		for _, name := range names {
			if cmd.Flags().Changed(name) {
				return usagef("unknown flag: --%s", name)
			}
		}
		return nil
	}
}

// load opens the model for a few images.
func (f *encoderFlags) load(path string) (*runtime.Encoder, error) { return f.loadFor(path, 0) }

// manyImages are worth a model that is loaded for throughput, not for a fast answer.
const manyImages = 256

// loadFor opens the model for a job of this many images.
func (f *encoderFlags) loadFor(path string, images int) (*runtime.Encoder, error) {
	opt, err := f.options()
	if err != nil {
		return nil, err
	}
	opt.Runs = f.runs(images)
	if isPixels(path) {
		return loadPixels(opt)
	}
	if exists(filepath.Join(path, "config.yaml")) {
		return nil, fmt.Errorf("%s is a run, want an ONNX file: sslrt export encoder.onnx --run %s writes it", path, shellWord(path))
	}
	return runtime.Load(path, opt)
}

// runs is how many runs of the model a job of this many images has beside each other.
func (f *encoderFlags) runs(images int) int {
	switch {
	case images < manyImages:
		return 1
	case f.threads > 0:
		return f.threads
	}
	return goruntime.GOMAXPROCS(0)
}

// pixels, where a model is asked for, is the baseline without one: the embedding of an
// image are its pixels.
const pixels = "pixels"

// isPixels says whether a model is that baseline, and no file of this name.
func isPixels(model string) bool {
	_, err := os.Stat(model)
	return model == pixels && errors.Is(err, os.ErrNotExist)
}

func loadPixels(opt runtime.Options) (*runtime.Encoder, error) {
	size, err := strconv.Atoi(opt.Preprocess["size"])
	if err != nil || size < 1 || size > 1024 {
		return nil, usagef("%s needs --image-size, 1 to 1024 pixels", pixels)
	}
	pre := augment.EvalPreprocess(size)
	if opt.Preprocess["channels"] == "1" { // a third of the work for grey images
		pre.Channels = 1
	}
	b := onnx.NewBuilder(17)
	side := onnx.Fixed(int64(size))
	x := b.Input(onnx.TensorInfo("image", onnx.Float, onnx.Symbol("N"), onnx.Fixed(int64(pre.Channels)), side, side))
	b.NodeTo("Flatten", []string{x}, []string{"embedding"})
	b.Output(onnx.TensorInfo("embedding", onnx.Float, onnx.Symbol("N"), onnx.Fixed(int64(pre.Len()))))
	m, err := b.Model(pixels, onnx.Info{Kind: onnx.KindEncoder, Method: pixels, Preprocess: pre.Metadata()})
	if err != nil {
		return nil, err
	}
	data, err := m.Marshal()
	if err != nil {
		return nil, err
	}
	return runtime.LoadBytes(data, opt)
}

// options returns how a model is loaded.
func (f *encoderFlags) options() (runtime.Options, error) {
	if f.job.Workers < 0 || f.job.BatchSize < 1 || f.threads < 0 {
		return runtime.Options{}, usagef("got --batch-size %d, --workers %d, --threads %d: want 1, 0, 0 or more", f.job.BatchSize, f.job.Workers, f.threads)
	}
	opt := runtime.Options{
		Session:    ort.Options{Device: f.device, Threads: f.threads},
		Output:     f.layer,
		Preprocess: map[string]string{},
	}
	for _, entry := range f.preprocess {
		key, value, ok := strings.Cut(entry, "=")
		if !ok {
			return runtime.Options{}, usagef("--preprocess %s: want KEY=VALUE", entry)
		}
		known := (augment.Preprocess{}).Metadata()
		if _, ok := known[key]; !ok {
			return runtime.Options{}, usagef("--preprocess %s: unknown key %q: choose %s", entry, key, oneOf(slices.Sorted(maps.Keys(known))))
		}
		opt.Preprocess[key] = value
	}
	for key, value := range map[string]string{"size": f.size, "mean": f.mean, "std": f.std} {
		if value != "" {
			opt.Preprocess[key] = value
		}
	}
	return opt, nil
}

// embed writes the embeddings of src to sink, showing what as the progress and
// listing the images that are skipped.
func (f *encoderFlags) embed(ctx context.Context, s streams, what string, enc *runtime.Encoder, src augment.Source, sink runtime.Sink) (runtime.Summary, error) {
	job, bar := f.watch(s, what, src.Len())
	defer bar.close()
	return runtime.EmbedAll(ctx, enc, src, sink, job)
}

// watch returns the options of a batch job over so many images that shows what as its
// progress, and lists and counts the images that are skipped. The bar is to be closed.
func (f *encoderFlags) watch(s streams, what string, images int) (runtime.JobOptions, *progress) {
	f.inputs.add(images, 0)
	bar := newProgress(s.err, what, "images", images)
	job := f.job
	job.Progress = func(done, _ int) { bar.set(done) }
	job.Skipped = func(i augment.SkippedImage) {
		f.inputs.add(0, 1)
		bar.printf("skipped %s: %v", i.Name, i.Err)
	}
	return job, bar
}
