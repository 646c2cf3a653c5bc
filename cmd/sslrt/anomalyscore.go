package main

import (
	"context"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/runtime"
)

// scoreFlags are the flags of anomaly score.
type scoreFlags struct {
	encoderFlags
	data                  dataFlags
	output                string
	heatmaps, maps, masks string // folders
	sheets                string
	threshold             float64
	low, high             float64 // the colours' range
	names                 pictureNames
}

func newAnomalyScore(s streams, g *global) *cobra.Command {
	var f scoreFlags
	cmd := &cobra.Command{
		Use:   "score DETECTOR.onnx DATA...",
		Short: "Score images by a detector",
		Long: `Score runs a detector over images and writes a table by the suffix of the output:
file, score, decision (1: anomalous). Pictures of what it finds are written on request,
in the images' own size, under the images' names:

  --heatmaps DIR  the heatmap over the image
  --maps DIR      the heatmap alone, 16-bit grey
  --masks DIR     the pixels above the pixel threshold
  --sheets DIR    worst.png and borderline.png: the 16 highest scores, and the 16 next to
                  the threshold, each image beside its heatmap

All pictures have one range of colours, from the least score of the normal images when
the detector was made to twice as far above it as the threshold, so that normal images
do not glow.`,
		Example: `  sslrt anomaly score detector.onnx photos/ --output scores.csv --heatmaps maps/
  sslrt anomaly score detector.onnx part.png --output - --threshold 12`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkResults(f.output, g, tables...); err != nil {
				return err
			}
			return f.run(cmd.Context(), s, g, args, cmd.Flags().Changed("threshold"))
		},
	}
	f.register(cmd)
	leaveOut(cmd, "layer")
	fl := cmd.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "file to write: .csv, .jsonl or .parquet, or - for .jsonl on standard output")
	f.data.register(fl, true)
	fl.StringVar(&f.heatmaps, "heatmaps", "", "folder for heatmaps over the images")
	fl.StringVar(&f.maps, "maps", "", "folder for heatmaps as 16-bit grey pictures")
	fl.StringVar(&f.masks, "masks", "", "folder for masks of what is found")
	fl.StringVar(&f.sheets, "sheets", "", "folder for contact sheets of the worst and of the borderline")
	fl.Float64Var(&f.threshold, "threshold", 0, "replaces the detector's own for this run")
	return cmd
}

func (f *scoreFlags) run(ctx context.Context, s streams, g *global, args []string, override bool) error {
	opt, err := f.options()
	if err != nil {
		return err
	}
	if override {
		if math.IsNaN(f.threshold) || math.IsInf(f.threshold, 0) {
			return usagef("got --threshold %g: want a finite number", f.threshold)
		}
		opt.Threshold = &f.threshold
	}
	if err := checkFolders(f.heatmaps, f.maps, f.masks, f.sheets); err != nil {
		return err
	}
	src, err := f.data.open(args[1:], "", s)
	if err != nil {
		return err
	}
	defer src.Close()
	d, err := runtime.LoadDetector(args[0], opt)
	if err != nil {
		return err
	}
	defer d.Close()
	if (f.heatmaps != "" || f.maps != "" || f.masks != "") && !d.HasHeatmap() {
		return fmt.Errorf("anomaly score: %s, of method %s, judges images as a whole: it has no heatmap", args[0], d.Info().Method)
	}
	f.low, f.high = heatRange(d)
	f.names = pictureNames{}
	out, err := runtime.CreateScores(f.output)
	if err != nil {
		return err
	}
	defer out.Abort()
	job, bar := f.watch(s, "score", src.Len())
	defer bar.close()
	var ranks []scoredImage
	anomalous := 0
	sum, err := runtime.DetectAll(ctx, d, src, job, func(i int, found runtime.Detection) error {
		if found.Anomalous {
			anomalous++
		}
		ranks = append(ranks, scoredImage{i, float64(found.Score)})
		if err := f.pictures(d, src, i, found); err != nil {
			return err
		}
		return out.Write(src.Name(i), found)
	})
	if err := keep(ctx, out, f.output, sum, src.Len(), err); err != nil {
		return err
	}
	if f.sheets != "" {
		if err := writeSheets(ctx, f.sheets, d, src, ranks, f.low, f.high); err != nil {
			return err
		}
	}
	bar.close()
	if err := f.report(s, g, d, sum, anomalous); err != nil {
		return err
	}
	return f.inputs.err()
}

func (f *scoreFlags) report(s streams, g *global, d *runtime.Detector, sum runtime.Summary, anomalous int) error {
	if g.json {
		return printJSON(s.out, struct {
			Path      string  `json:"path"`
			Images    int     `json:"images"`
			Skipped   int     `json:"skipped"`
			Anomalous int     `json:"anomalous"`
			Threshold float64 `json:"threshold"`
		}{f.output, sum.Done, len(sum.Skipped), anomalous, d.Threshold()})
	}
	w := s.out
	if f.output == "-" {
		w = s.err
	}
	_, err := fmt.Fprintf(w, "%d of %d images are anomalous: their score is above %.6g\n", anomalous, sum.Done, d.Threshold())
	return err
}

// heatRange is the range of a heatmap's colours.
func heatRange(d *runtime.Detector) (low, high float64) {
	threshold := d.Threshold()
	if p := d.Info().PixelThresh; p != nil {
		threshold = *p
	}
	if r := d.Info().ScoreRange; r != nil && r[0] < threshold {
		low = r[0]
	}
	if low >= threshold {
		low = threshold - 1
	}
	return low, low + 2*(threshold-low)
}

// pictures writes what was asked for of one image, under its name.
func (f *scoreFlags) pictures(d *runtime.Detector, src augment.Source, i int, found runtime.Detection) error {
	if f.heatmaps == "" && f.maps == "" && f.masks == "" {
		return nil
	}
	m, err := src.Image(i)
	if err != nil {
		return err
	}
	name := f.names.of(src.Name(i))
	h := found.Heatmap.Over(m.W, m.H, float32(f.low))
	threshold := d.Threshold()
	if p := d.Info().PixelThresh; p != nil {
		threshold = *p
	}
	for _, p := range []struct {
		dir  string
		draw func() image.Image
	}{
		{f.heatmaps, func() image.Image { return h.Overlay(m, f.low, f.high).ToImage() }},
		{f.maps, func() image.Image { return h.Gray16(f.low, f.high) }},
		{f.masks, func() image.Image { return h.Mask(threshold) }},
	} {
		if p.dir == "" {
			continue
		}
		path := filepath.Join(p.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("anomaly score: %w", err)
		}
		if err := writePNG(path, p.draw()); err != nil {
			return err
		}
	}
	return nil
}
