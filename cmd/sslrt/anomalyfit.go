package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/detector"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
)

// fitFlags are the flags of anomaly fit.
type fitFlags struct {
	encoderFlags
	data       dataFlags
	opt        detector.Options
	output     string
	validation []string
	memory     string
	force      bool
}

func newAnomalyFit(s streams, g *global) *cobra.Command {
	var f fitFlags
	cmd := &cobra.Command{
		Use:   "fit ENCODER.onnx GOOD...",
		Short: "Make a detector from an encoder and normal images",
		Long: `Fit learns what normal images look like to an encoder and writes a detector: one
ONNX file with the encoder inside, that gives each image a score, a heatmap and a
decision. GOOD are normal images; of a folder in MVTec's layout its train/good is
taken, and of a folder of such categories one detector each, into the folder --output.

Methods:
  padim        Gaussians at each place, of several feature maps: things always seen alike
  patchcore    memory of patches, wherever they stand in the image
  knn          nearest embeddings: whole images, no heatmap
  mahalanobis  Gaussian of the embeddings: whole images, no heatmap
  autoencoder  error of the reconstruction, of a file of kind autoencoder

A part of the normal images is held back; the threshold is a quantile of their scores.
With labelled images by --validation it is the one of the best F1. Images are resized
whole, without a crop, unless --preprocess says otherwise.`,
		Example: `  sslrt anomaly fit encoder.onnx parts/ --method patchcore --output detector.onnx
  sslrt anomaly fit autoencoder.onnx good/ --method autoencoder --output detector.onnx`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), s, g, args) },
	}
	f.register(cmd)
	leaveOut(cmd, "layer")
	fl := cmd.Flags()
	f.data.register(fl, true)
	fl.StringVarP(&f.output, "output", "o", "", "file to write, such as detector.onnx; a folder for several categories")
	fl.StringVar(&f.opt.Method, "method", detector.MethodPaDiM, strings.Join(detector.Methods(), ", "))
	fl.StringSliceVar(&f.opt.Layers, "layers", nil, "stage1 to stage4, modules (layer2), or values of the file (default stage1,stage2,stage3; patchcore stage2,stage3)")
	fl.IntVar(&f.opt.Channels, "channels", 100, "padim: random channels that are kept; -1: all")
	fl.Float64Var(&f.opt.Ridge, "ridge", 0.01, "padim: added to the variances")
	fl.Float64Var(&f.opt.Coreset, "coreset", 0.1, "patchcore: share of the patches that is kept; 1: all")
	fl.StringVar(&f.memory, "memory", "1GiB", "patchcore: bound on the patches held while fitting; beyond it a random part is")
	fl.IntVar(&f.opt.Neighbors, "neighbors", 0, "knn: neighbours that count (default 1); patchcore: in the weight of the score (default 9, of a smaller memory all; 1: no weight)")
	fl.StringVar(&f.opt.Error, "error", detector.ErrorMSE, "autoencoder: mse or ssim")
	fl.Float64Var(&f.opt.Sigma, "sigma", 0, "smoothing of the heatmap in pixels (default 4 at 224 pixels, in proportion; -1: none)")
	fl.IntVar(&f.opt.Tile, "tile", 0, "look at large images in tiles of so many pixels, each resized for the encoder; 0: as a whole")
	fl.Float64Var(&f.opt.HoldOut, "hold-out", 0.2, "share of the normal images that sets the threshold")
	fl.Float64Var(&f.opt.Quantile, "quantile", 0.99, "of their scores that is the threshold")
	fl.StringArrayVar(&f.validation, "validation", nil, "labelled images for the threshold: a folder with good/ and folders of others")
	fl.Uint64Var(&f.opt.Seed, "seed", 0, "of everything random")
	fl.BoolVar(&f.force, "force", false, "replace a file that exists")
	return cmd
}

// fitJob is a detector to make: of the normal images of a category, or of those that
// the command names.
type fitJob struct {
	category string // "" outside a folder of several
	data     []string
	output   string
}

// fitted is a detector that was made.
type fitted struct {
	fitJob
	*detector.Report
}

func (f *fitFlags) run(ctx context.Context, s streams, g *global, args []string) error {
	ro, err := f.check()
	if err != nil {
		return err
	}
	f.opt.Session, f.opt.Preprocess = ro.Session, ro.Preprocess
	f.opt.Workers, f.opt.Version = f.job.Workers, programVersion()
	encoder, err := onnx.ReadFile(args[0])
	if err != nil {
		return err
	}
	jobs, err := f.jobs(args[1:])
	if err != nil {
		return err
	}
	if len(f.validation) > 0 {
		v, err := f.data.open(f.validation, "", s)
		if err != nil {
			return err
		}
		defer v.Close()
		f.opt.Validation = v
	}
	var done []fitted
	for _, j := range jobs {
		if j.category != "" {
			fmt.Fprintf(s.err, "category %s\n", j.category)
		}
		r, err := f.fitOne(ctx, s, encoder, j)
		if err != nil {
			if j.category != "" {
				err = fmt.Errorf("category %s: %w", j.category, err)
			}
			return err
		}
		done = append(done, fitted{j, r})
		if r.Warning != "" {
			fmt.Fprintf(s.err, "warning: %s: %s\n", j.output, r.Warning)
		}
		if !g.json {
			if err := done[len(done)-1].print(s.out); err != nil {
				return err
			}
		}
	}
	if g.json {
		if err := printJSON(s.out, fitsJSON(done)); err != nil {
			return err
		}
	}
	return f.inputs.err()
}

// check refuses flags that cannot be meant, and says how the model is loaded.
func (f *fitFlags) check() (runtime.Options, error) {
	if f.output == "" {
		return runtime.Options{}, usagef("--output is missing: the detector's file, such as detector.onnx")
	}
	memory, err := augment.ParseMemory(f.memory)
	if err != nil || memory == 0 {
		return runtime.Options{}, usagef("--memory: got %q, want bytes, such as 512MiB or 2GiB", f.memory)
	}
	f.opt.Memory = int(memory)
	for _, n := range []struct {
		flag  string
		value float64
	}{{"channels", float64(f.opt.Channels)}, {"ridge", f.opt.Ridge}, {"coreset", f.opt.Coreset}, {"hold-out", f.opt.HoldOut}, {"quantile", f.opt.Quantile}} {
		if n.value == 0 { // which the library takes for its default
			return runtime.Options{}, usagef("got --%s 0: want more than 0", n.flag)
		}
	}
	if err := f.opt.Validate(); err != nil {
		return runtime.Options{}, usagef("%w", err)
	}
	return f.options()
}

// jobs says what is made of the data, into files that are free.
func (f *fitFlags) jobs(data []string) ([]fitJob, error) {
	categories, err := detector.Categories(data)
	if err != nil {
		return nil, err
	}
	good := func(category string) []string { return []string{filepath.Join(category, "train", "good")} }
	if len(categories) == 0 { // plain normal images
		return []fitJob{{data: data, output: f.output}}, checkFree(f.force, f.output)
	}
	if len(categories) == 1 && categories[0] == data[0] {
		return []fitJob{{data: good(data[0]), output: f.output}}, checkFree(f.force, f.output)
	}
	if err := os.MkdirAll(f.output, 0o755); err != nil {
		return nil, fmt.Errorf("anomaly fit: %w", err)
	}
	var jobs []fitJob
	for _, c := range categories {
		j := fitJob{filepath.Base(c), good(c), filepath.Join(f.output, filepath.Base(c)+".onnx")}
		if err := checkFree(f.force, j.output); err != nil {
			return nil, err
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// fitOne makes one detector.
func (f *fitFlags) fitOne(ctx context.Context, s streams, encoder *onnx.Model, j fitJob) (*detector.Report, error) {
	src, err := f.data.open(j.data, "train", s)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	opt := f.opt
	var bar *progress
	stage := ""
	opt.Progress = func(what string, done, total int) {
		if what != stage {
			if bar != nil {
				bar.close()
			}
			unit := "images"
			if what == "coreset" {
				unit = "patches"
			}
			bar, stage = newProgress(s.err, what, unit, total), what
		}
		bar.set(done)
	}
	opt.Skipped = func(i augment.SkippedImage) { fmt.Fprintf(s.err, "skipped %s: %v\n", i.Name, i.Err) }
	m, r, err := detector.Fit(ctx, encoder, src, opt)
	if bar != nil {
		bar.close()
	}
	if err != nil {
		return nil, err
	}
	f.inputs.add(src.Len(), r.Skipped)
	if opt.Validation != nil {
		f.inputs.add(opt.Validation.Len(), 0)
	}
	return r, engine.WriteVerified(j.output, m, f.force, nil)
}

// fitsJSON is an object about one detector, or one with an object for each category.
func fitsJSON(done []fitted) any {
	object := func(d fitted) any {
		return struct {
			Path      string  `json:"path"`
			Method    string  `json:"method"`
			Features  string  `json:"features"`
			Images    int     `json:"images"`
			Held      int     `json:"held_back"`
			Skipped   int     `json:"skipped"`
			Threshold float64 `json:"threshold"`
			Source    string  `json:"threshold_source"`
			Warning   string  `json:"warning,omitempty"`
		}{d.output, d.Method, d.Features, d.Images, d.Held, d.Skipped, d.Threshold, d.Source, d.Warning}
	}
	if len(done) == 1 {
		return object(done[0])
	}
	categories := map[string]any{}
	for _, d := range done {
		categories[d.category] = object(d)
	}
	return map[string]any{"categories": categories}
}

func (d fitted) print(w io.Writer) error {
	fmt.Fprintf(w, "wrote %s: %s on %s\n", d.output, d.Method, d.Features)
	fmt.Fprintf(w, "learned from %d normal images", d.Images)
	if d.Bank != "" {
		fmt.Fprintf(w, ", keeps %s", d.Bank)
	}
	_, err := fmt.Fprintf(w, "\nthreshold %.6g: %s\nnext: sslrt anomaly score %s IMAGES --output scores.csv\n", d.Threshold, d.Source, shellWord(d.output))
	return err
}
