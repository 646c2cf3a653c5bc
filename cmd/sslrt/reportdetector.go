package main

import (
	"bytes"
	"context"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/detector"
	"github.com/sslrt/sslrt/finetune/report"
	"github.com/sslrt/sslrt/runtime"
)

// ofDetector makes the page of a detector.
func (f *reportFlags) ofDetector(ctx context.Context, s streams, path string, src augment.Source) (*report.Page, error) {
	opt, err := f.options()
	if err != nil {
		return nil, err
	}
	d, err := runtime.LoadDetector(path, opt)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	info := d.Info()
	p := &report.Page{Title: path, Summary: fmt.Sprintf("anomaly detector, method %s, threshold %.6g", info.Method, d.Threshold())}
	about := [][]string{{"what", "value"}, {"method", info.Method}, {"features", info.Layer}, {"threshold", fmt.Sprintf("%.6g", d.Threshold())}}
	if r := info.ScoreRange; r != nil {
		about = append(about, []string{"scores of normal images that were held back", fmt.Sprintf("%.6g to %.6g", r[0], r[1])})
	}
	about = append(about, []string{"images", d.Preprocess().String()}, []string{"made by", string(info.Training)})
	p.Sections = append(p.Sections, report.Section{Title: "The detector", Table: about})
	if src == nil {
		return p, nil
	}
	job, bar := f.watch(s, "score", src.Len())
	defer bar.close()
	var all []scoredImage
	if _, err := runtime.DetectAll(ctx, d, src, job, func(i int, found runtime.Detection) error {
		all = append(all, scoredImage{i, float64(found.Score)})
		return nil
	}); err != nil {
		return nil, err
	}
	histogram, err := scoreHistogram(all, d.Threshold())
	if err != nil {
		return nil, err
	}
	p.Sections = append(p.Sections, report.Section{Title: "Scores", Images: []report.Image{histogram}})
	low, high := heatRange(d)
	sheets, err := detectorSheets(ctx, d, src, all, low, high)
	if err != nil {
		return nil, err
	}
	for _, sheet := range sheets {
		picture, err := report.Picture(sheet.caption, sheet.image.ToImage())
		if err != nil {
			return nil, err
		}
		p.Sections = append(p.Sections, report.Section{Title: sheet.title, Images: []report.Image{picture}})
	}
	if len(f.images) == 1 {
		if info, err := os.Stat(filepath.Join(f.images[0], "test")); err == nil && info.IsDir() {
			section, err := f.evaluation(ctx, d)
			if err != nil {
				return nil, err
			}
			p.Sections = append(p.Sections, section)
		}
	}
	return p, nil
}

// evaluation measures the detector by the test images of a category.
func (f *reportFlags) evaluation(ctx context.Context, d *runtime.Detector) (report.Section, error) {
	opt, err := f.data.options()
	if err != nil {
		return report.Section{}, err
	}
	c, err := detector.OpenCategory(f.images[0], "good", opt)
	if err != nil {
		return report.Section{}, err
	}
	defer c.Close()
	e, err := detector.Evaluate(ctx, d, c, f.job) // images that were scored before, and are counted
	if err != nil {
		return report.Section{}, err
	}
	table := [][]string{{"measure", "value"}, {"normal images", strconv.Itoa(e.Normal)}, {"anomalous images", strconv.Itoa(e.Anomalous)}}
	for _, v := range figures(e) {
		if !math.IsNaN(v.value) {
			table = append(table, []string{v.name, fmt.Sprintf("%.4f", v.value)})
		}
	}
	return report.Section{Title: "How well it does", Text: e.Protocol(), Table: table}, nil
}

// scoreHistogram draws how many images have which score, and the threshold.
func scoreHistogram(all []scoredImage, threshold float64) (report.Image, error) {
	values := make(plotter.Values, len(all))
	for i, s := range all {
		values[i] = s.score
	}
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "score", "images"
	h, err := plotter.NewHist(values, 40)
	if err != nil {
		return report.Image{}, fmt.Errorf("report: %w", err)
	}
	p.Add(h)
	top := 0.0
	for _, b := range h.Bins {
		top = max(top, b.Weight)
	}
	line, err := plotter.NewLine(plotter.XYs{{X: threshold, Y: 0}, {X: threshold, Y: top}})
	if err != nil {
		return report.Image{}, fmt.Errorf("report: %w", err)
	}
	line.Color, line.Width = color.RGBA{200, 30, 30, 255}, vg.Points(2)
	p.Add(line)
	p.Legend.Add(fmt.Sprintf("threshold %.4g", threshold), line)
	p.Legend.Top = true
	canvas := vgimg.New(8*vg.Inch, 3.5*vg.Inch)
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(&b); err != nil {
		return report.Image{}, fmt.Errorf("report: %w", err)
	}
	return report.Image{Caption: fmt.Sprintf("%d images; beyond the line they are anomalous", len(all)), PNG: b.Bytes()}, nil
}
