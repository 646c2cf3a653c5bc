package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/disintegration/imaging"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/runtime"
)

// scoredImage is an image of a source and its score.
type scoredImage struct {
	index int
	score float64
}

const (
	sheetImages = 16
	sheetSide   = 224 // pixels of a picture on a sheet
)

// writeSheets writes the sheets of detectorSheets as worst.png and borderline.png.
func writeSheets(ctx context.Context, dir string, d *runtime.Detector, src augment.Source, all []scoredImage, low, high float64) error {
	sheets, err := detectorSheets(ctx, d, src, all, low, high)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("anomaly score: --sheets: %w", err)
	}
	for _, s := range sheets {
		if err := writePNG(filepath.Join(dir, s.file), s.image.ToImage()); err != nil {
			return err
		}
	}
	return nil
}

// contactSheet is a picture of several images.
type contactSheet struct {
	file, title, caption string
	image                *augment.Image
}

// detectorSheets draws the images with the highest scores, and those next to the
// threshold, each beside its heatmap where there is one.
func detectorSheets(ctx context.Context, d *runtime.Detector, src augment.Source, all []scoredImage, low, high float64) ([]contactSheet, error) {
	worst := slices.Clone(all)
	slices.SortStableFunc(worst, func(a, b scoredImage) int { return cmp.Compare(b.score, a.score) })
	border := slices.Clone(all)
	slices.SortStableFunc(border, func(a, b scoredImage) int {
		return cmp.Compare(math.Abs(a.score-d.Threshold()), math.Abs(b.score-d.Threshold()))
	})
	border = border[:min(sheetImages, len(border))]
	slices.SortStableFunc(border, func(a, b scoredImage) int { return cmp.Compare(b.score, a.score) })
	sheets := []contactSheet{
		{file: "worst.png", title: "Highest scores", caption: "the highest scores, row by row"},
		{file: "borderline.png", title: "Next to the threshold", caption: "the scores next to the threshold, the highest first"},
	}
	for k, images := range [][]scoredImage{worst[:min(sheetImages, len(worst))], border} {
		var pictures []*augment.Image
		for _, s := range images {
			m, err := src.Image(s.index)
			if err != nil {
				return nil, err
			}
			pictures = append(pictures, thumbnail(m))
			if !d.HasHeatmap() {
				continue
			}
			found, err := d.Detect(ctx, m)
			if err != nil {
				return nil, err
			}
			h := found.Heatmap.Over(m.W, m.H, float32(low))
			pictures = append(pictures, thumbnail(h.Overlay(m, low, high)))
		}
		sheets[k].image = augment.Sheet(pictures, 8, 1)
	}
	return sheets, nil
}

func thumbnail(m *augment.Image) *augment.Image {
	return augment.FromImage(imaging.Fit(m.ToImage(), sheetSide, sheetSide, imaging.Box))
}

// pictureNames gives the pictures about images names of their own.
type pictureNames map[string]string // the image of each name

// of turns the name of an image into that of a picture about it, which stays below the
// folder of the pictures whatever the name says: photos/cat.jpg is photos/cat.png, or
// photos/cat.jpg.png where another cat was before it; images.gz#7 is images.gz/7.png.
func (p pictureNames) of(name string) string {
	suffix := filepath.Ext(name)
	if strings.Contains(suffix, "#") { // the number of an image in a file
		suffix = ""
	}
	path := picturePath(strings.TrimSuffix(name, suffix))
	if image, taken := p[path]; taken && image != name {
		path = picturePath(name)
	}
	p[path] = name
	return path
}

func picturePath(name string) string {
	name = filepath.ToSlash(name)
	var parts []string
	for _, p := range strings.Split(strings.ReplaceAll(name, "#", "/"), "/") {
		if p != "" && p != "." && p != ".." && !strings.HasSuffix(p, ":") {
			parts = append(parts, p)
		}
	}
	return filepath.Join(parts...) + ".png"
}
