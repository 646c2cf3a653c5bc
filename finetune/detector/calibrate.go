package detector

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
)

// Calibration is where the threshold of a detector comes from.
type Calibration struct {
	Threshold float64
	Pixel     float64    // the same for the values of a heatmap; 0 without one
	Range     [2]float64 // of the scores of the normal images
	Source    string     // for a reader
	F1        float64    // on labelled images, 0 without them
	Warning   string     // for a reader: what makes the threshold doubtful; "" for nothing
}

// calibrate runs the detector over normal images that it has not seen, and labelled
// ones if there are any, and writes the threshold into m.
func calibrate(ctx context.Context, m *onnx.Model, held augment.Source, opt *Options) (Calibration, error) {
	dir, err := os.MkdirTemp("", "sslrt-detector-*")
	if err != nil {
		return Calibration{}, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "detector.onnx")
	if err := SetThreshold(m, 0, nil); err != nil {
		return Calibration{}, err
	}
	if err := onnx.WriteFile(file, m); err != nil {
		return Calibration{}, err
	}
	d, err := runtime.LoadDetector(file, runtime.Options{Session: opt.Session})
	if err != nil {
		return Calibration{}, err
	}
	defer d.Close()
	normal, err := scoreAll(ctx, d, held, opt, "threshold")
	if err != nil {
		return Calibration{}, err
	}
	c := Calibration{
		Threshold: metrics.Quantile(normal.scores, opt.Quantile),
		Range:     [2]float64{slices.Min(normal.scores), slices.Max(normal.scores)},
		Source:    fmt.Sprintf("quantile %g of the scores of %d normal images that were held back", opt.Quantile, len(normal.scores)),
	}
	if opt.Validation == nil && alike(normal.scores) {
		c.Warning = fmt.Sprintf("the scores of the %d normal images that were held back do not differ (%.6g): are these copies of one image? "+
			"The threshold tells nothing then: give images that differ, or set it by hand", len(normal.scores), c.Threshold)
	}
	if d.HasHeatmap() {
		c.Pixel = metrics.Quantile(normal.peaks, opt.Quantile)
	}
	if opt.Validation != nil {
		labelled, err := scoreAll(ctx, d, opt.Validation, opt, "validation")
		if err != nil {
			return Calibration{}, err
		}
		if err := c.best(labelled, opt.Validation, opt.Normal); err != nil {
			return Calibration{}, err
		}
	}
	return c, c.write(m)
}

// alike says whether the scores of normal images tell nothing of how normal images
// differ: they are 0, but for rounding, or several are equal.
func alike(scores []float64) bool {
	const rounding = 1e-6
	least, most := slices.Min(scores), slices.Max(scores)
	return most <= rounding || len(scores) > 1 && most-least <= rounding*math.Abs(most)
}

// write puts the calibration into a detector's model.
func (c *Calibration) write(m *onnx.Model) error {
	info, err := onnx.ReadInfo(m)
	if err != nil {
		return err
	}
	info.ScoreRange = &c.Range
	if c.Pixel != 0 {
		info.PixelThresh = &c.Pixel
	}
	if err := info.WriteTo(m); err != nil {
		return err
	}
	return SetThreshold(m, c.Threshold, nil)
}

// SetThreshold writes another threshold into a detector's model: the default of its
// input and the metadata; pixel, unless nil, replaces that of the heatmap.
func SetThreshold(m *onnx.Model, threshold float64, pixel *float64) error {
	info, err := onnx.ReadInfo(m)
	if err != nil {
		return err
	}
	if info.Kind != onnx.KindDetector {
		return fmt.Errorf("detector: the model is of kind %q, want %s", info.Kind, onnx.KindDetector)
	}
	// As float32, so that metadata and decision agree in the last digit.
	value := float64(float32(threshold))
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return fmt.Errorf("detector: the threshold %g is not a number that scores could reach", threshold)
	}
	i := slices.IndexFunc(m.Graph.Initializers, func(t *onnx.Tensor) bool { return t.Name == InputThreshold })
	if i < 0 {
		return fmt.Errorf("detector: the model has no default for its input %q", InputThreshold)
	}
	m.Graph.Initializers[i] = onnx.FloatTensor(InputThreshold, nil, []float32{float32(value)})
	info.Threshold = &value
	if pixel != nil {
		info.PixelThresh = pixel
	}
	return info.WriteTo(m)
}

// scored are the results of a detector for a data set, by readable image.
type scored struct {
	index         []int
	scores, peaks []float64 // peaks: the largest values of the heatmaps
}

func scoreAll(ctx context.Context, d *runtime.Detector, src augment.Source, opt *Options, what string) (scored, error) {
	var s scored
	job := runtime.JobOptions{BatchSize: opt.BatchSize, Workers: opt.Workers, Skipped: opt.Skipped,
		Progress: func(done, total int) { opt.progress(what, done, total) }}
	_, err := runtime.DetectAll(ctx, d, src, job, func(i int, found runtime.Detection) error {
		s.index = append(s.index, i)
		s.scores = append(s.scores, float64(found.Score))
		if found.Heatmap != nil {
			s.peaks = append(s.peaks, float64(found.Heatmap.Max()))
		}
		return nil
	})
	return s, err
}

// best takes the threshold that separates labelled images with the best F1: half way
// between the scores on its two sides.
func (c *Calibration) best(s scored, src augment.Source, normal string) error {
	type labelled struct {
		score, peak float64
		bad         bool
	}
	all := make([]labelled, len(s.scores))
	bad := 0
	for k, i := range s.index {
		l := src.Label(i)
		if l < 0 {
			return fmt.Errorf("validation: %s has no class: put normal images into a folder %q and others into folders beside it", src.Name(i), normal)
		}
		all[k] = labelled{score: s.scores[k], bad: src.Classes()[l] != normal}
		if len(s.peaks) > 0 {
			all[k].peak = s.peaks[k]
		}
		if all[k].bad {
			bad++
		}
	}
	if bad == 0 || bad == len(all) {
		return fmt.Errorf("validation: %d of %d images are of class %q: want some that are and some that are not", len(all)-bad, len(all), normal)
	}
	cut := func(value func(labelled) float64) (threshold, f1 float64) {
		slices.SortFunc(all, func(a, b labelled) int { return cmpDescending(value(a), value(b)) })
		hits := 0
		f1 = -1
		for k, l := range all {
			if l.bad {
				hits++
			}
			next := math.Inf(-1)
			if k+1 < len(all) {
				next = value(all[k+1])
			}
			if next == value(l) {
				continue // the same score is the same decision
			}
			if f := 2 * float64(hits) / float64(k+1+bad); f > f1 {
				f1 = f
				threshold = (value(l) + next) / 2
				if math.IsInf(next, -1) {
					threshold = value(l) - max(math.Abs(value(l)), 1)*1e-3 // all are anomalous
				}
			}
		}
		return threshold, f1
	}
	c.Threshold, c.F1 = cut(func(l labelled) float64 { return l.score })
	c.Source = fmt.Sprintf("best F1 (%.4f) on %d labelled images", c.F1, len(all))
	if len(s.peaks) > 0 {
		c.Pixel, _ = cut(func(l labelled) float64 { return l.peak })
	}
	return nil
}

func cmpDescending(a, b float64) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}
