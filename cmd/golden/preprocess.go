package main

import (
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/engine"
)

// preprocessCase holds the keys that only cases of group preprocess have.
type preprocessCase struct {
	SourceFile string `json:"source_file"`
	Tolerance  struct {
		DecoderMax    float64 `json:"decoder_max_abs"`
		DecoderMean   float64 `json:"decoder_mean_abs"`
		PipelineMax   float64 `json:"pipeline_max_abs"`
		PipelineMean  float64 `json:"pipeline_mean_abs"`
		NormalizeOnly float64 `json:"normalize_only"`
		EndToEnd      map[string]struct {
			Max  float64 `json:"max_abs"`
			Mean float64 `json:"mean_abs"`
		} `json:"end_to_end"`
	}
}

// runPreprocess checks three things: the decoder, the preprocessing of the pixels
// that Pillow decoded, and both together.
func runPreprocess(c *Case, _ engine.Machine) error {
	if c.Op != "preprocess" {
		return uncovered("no such kind")
	}
	var extra preprocessCase
	if err := json.Unmarshal(c.raw, &extra); err != nil {
		return err
	}
	var p struct {
		Resize, Crop int
		Mean, Std    [3]float32
	}
	if err := c.params(&p); err != nil {
		return err
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	prefix, reference, err := decoded(a, p.Crop)
	if err != nil {
		return err
	}
	file := filepath.Join(c.dir, extra.SourceFile)
	own, err := augment.DecodeFile(file)
	if err != nil {
		return err
	}
	limit := extra.Tolerance
	worst, mean, err := pixelDistance("decoded", own, reference)
	if err != nil {
		return err
	}
	c.measure("decoded by %s: differs by up to %g levels, mean %.4f", augment.Decoders, worst, mean)
	if err := c.measureStandard(file, reference); err != nil {
		return err
	}
	if worst > limit.DecoderMax || mean > limit.DecoderMean {
		return fmt.Errorf("decoder: differs by up to %g levels, mean %.4g, allowed %g and %g", worst, mean, limit.DecoderMax, limit.DecoderMean)
	}
	for _, out := range c.Outputs {
		pre, ok := preprocessing(out, p.Resize)
		if !ok || !a.has(prefix+out) {
			continue
		}
		pre.Mean, pre.Std = p.Mean, p.Std
		want, err := a.floats(prefix + out)
		if err != nil {
			return err
		}
		if err := closeTo(out, pre, reference, want, limit.PipelineMax, limit.PipelineMean); err != nil {
			return err
		}
		size := strings.TrimSuffix(strings.TrimPrefix(out, "out"), "sq")
		if e, ok := limit.EndToEnd[size]; ok {
			if err := closeTo("file to "+out, pre, own, want, e.Max, e.Mean); err != nil {
				return err
			}
			if !a.has(turnedPrefix + out) {
				continue
			}
			turned, err := augment.DecodeFileWith(file, augment.DecodeOptions{Orient: true})
			if err != nil {
				return err
			}
			if want, err = a.floats(turnedPrefix + out); err != nil {
				return err
			}
			if err := closeTo("turned file to "+out, pre, turned, want, e.Max, e.Mean); err != nil {
				return err
			}
		}
	}
	return nil
}

// turnedPrefix starts the names of arrays whose picture was turned upright first.
const turnedPrefix = "exif_transposed_"

// measureStandard reports how far Go's own decoder and colours are off, to compare.
func (c *Case) measureStandard(file string, reference *augment.Image) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	src, _, err := image.Decode(f)
	if err != nil {
		c.measure("Go's standard library: %v", err)
		return nil
	}
	m := augment.NewImage(src.Bounds().Dx(), src.Bounds().Dy())
	for y := range m.H {
		for x := range m.W {
			p := color.NRGBAModel.Convert(src.At(src.Bounds().Min.X+x, src.Bounds().Min.Y+y)).(color.NRGBA)
			copy(m.Pix[(y*m.W+x)*3:], []uint8{p.R, p.G, p.B})
		}
	}
	worst, mean, err := pixelDistance("decoded", m, reference)
	if err == nil {
		c.measure("by Go's standard library: up to %g, mean %.4f", worst, mean)
	}
	return err
}

// decoded returns the pixels that the reference decoded. A 16-bit image was
// decoded twice, clipped as Pillow does and scaled as everybody expects; the
// second is ours, and its arrays have a prefix.
func decoded(a *arrays, crop int) (prefix string, m *augment.Image, err error) {
	if m, err = a.image("decoded_rgb_u8"); err != nil {
		return "", nil, err
	}
	if !a.has(fmt.Sprintf("scaled8_out%d", crop)) {
		return "", m, nil
	}
	raw, err := a.floats("raw_u16")
	if err != nil {
		return "", nil, err
	}
	for i, v := range raw {
		high := uint8(int(v) >> 8)
		m.Pix[3*i], m.Pix[3*i+1], m.Pix[3*i+2] = high, high, high
	}
	return "scaled8_", m, nil
}

// preprocessing returns what output outNNN or outNNNsq went through: resized to
// resize pixels and cropped, or, for small sizes, to the size itself; sq without
// keeping the aspect ratio.
func preprocessing(out string, resize int) (augment.Preprocess, bool) {
	var size int
	if n, _ := fmt.Sscanf(out, "out%d", &size); n != 1 {
		return augment.Preprocess{}, false
	}
	pre := augment.EvalPreprocess(size)
	switch {
	case out == fmt.Sprintf("out%dsq", size):
		pre.Resize, pre.ResizeTo, pre.Crop = augment.ResizeExact, 0, augment.CropNone
	case out != fmt.Sprintf("out%d", size):
		return augment.Preprocess{}, false
	case size <= 64:
		pre.Resize, pre.ResizeTo, pre.Crop = augment.ResizeShorter, size, augment.CropCenter
	default:
		pre.ResizeTo = resize
	}
	return pre, true
}

func closeTo(what string, pre augment.Preprocess, m *augment.Image, want []float64, maxAbs, meanAbs float64) error {
	got := make([]float32, pre.Len())
	pre.Tensor(got, m)
	if len(got) != len(want) {
		return fmt.Errorf("%s: got %d values, want %d", what, len(got), len(want))
	}
	worst, mean := 0.0, 0.0
	for i, v := range got {
		d := math.Abs(float64(v) - want[i])
		worst = max(worst, d)
		mean += d / float64(len(got))
	}
	if !(worst <= maxAbs && mean <= meanAbs) {
		return fmt.Errorf("%s: differs by up to %.4g, mean %.4g, allowed %g and %g", what, worst, mean, maxAbs, meanAbs)
	}
	return nil
}
