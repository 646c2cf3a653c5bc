package augment

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"math"
	"path/filepath"
	"testing"

	"github.com/disintegration/imaging"
)

func BenchmarkLoaderTwoViews(b *testing.B) {
	src, err := Open([]string{shared(b, "data", "cifar10-subset", "cifar10-10k-2k.zip")}, SourceOptions{Split: "train"})
	if err != nil {
		b.Fatal(err)
	}
	defer src.Close()
	b.ReportAllocs()
	images := 0
	for epoch := 0; images < b.N; epoch++ {
		l, err := NewLoader(src, LoaderOptions{
			BatchSize: 128, Views: Alike(2, SimCLR(32)), Preprocess: EvalPreprocess(32),
			Epoch: epoch, Shuffle: true, DropLast: true,
		})
		if err != nil {
			b.Fatal(err)
		}
		for images < b.N {
			batch, err := l.Next(context.Background())
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			images += len(batch.Index)
			l.Release(batch)
		}
		l.Close()
	}
	b.ReportMetric(float64(images)/b.Elapsed().Seconds(), "images/s")
}

// BenchmarkLoaderFiles prepares JPEG files of 500x375 for an encoder of 224 pixels: what sslrt embed does for
// an image beside the model.
func BenchmarkLoaderFiles(b *testing.B) {
	dir := b.TempDir()
	for i := range 32 {
		write(b, filepath.Join(dir, fmt.Sprintf("%d.jpg", i)), jpegBytes(b, benchPhoto(500, 375).ToImage()))
	}
	src, err := Open([]string{dir}, SourceOptions{})
	if err != nil {
		b.Fatal(err)
	}
	l, err := NewLoader(&repeated{src, 1 << 30}, LoaderOptions{BatchSize: 16, Preprocess: EvalPreprocess(224), KeepFailed: true})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	next := func() {
		batch, err := l.Next(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		l.Release(batch)
	}
	for range 8 { // until all memory is there
		next()
	}
	b.ReportAllocs()
	b.ResetTimer()
	start := processTime()
	images := 0
	for ; images < b.N; images += 16 {
		next()
	}
	b.ReportMetric((processTime()-start).Seconds()*1e3/float64(images), "cpu-ms/image")
}

// repeated is a source over and over.
type repeated struct {
	Source
	n int
}

func (r *repeated) Len() int                    { return r.n }
func (r *repeated) Name(i int) string           { return r.Source.Name(i % r.Source.Len()) }
func (r *repeated) Label(i int) int             { return -1 }
func (r *repeated) Image(i int) (*Image, error) { return r.imageInto(i, nil) }
func (r *repeated) imageInto(i int, s *Scratch) (*Image, error) {
	return imageInto(r.Source, i%r.Source.Len(), s)
}

// benchPhoto has smooth colours with some noise; testdata/pytorch/augment_speed.py draws the same.
func benchPhoto(w, h int) *Image {
	m := NewImage(w, h)
	for y := range h {
		for x := range w {
			noise := float64(uint32(x*7919+y*104729) * 2654435761 >> 28)
			for c, k := range [3][2]float64{{31, 23}, {47, 19}, {17, 41}} {
				v := 128 + 90*math.Sin(float64(x)/k[0]+float64(c))*math.Cos(float64(y)/k[1])
				m.Pix[(y*w+x)*3+c] = clip8(int(v + noise))
			}
		}
	}
	return m
}

// cpuTime reports what the process spent a repetition, which a busy machine disturbs less than wall time.
func cpuTime(b *testing.B, run func()) {
	start := processTime()
	for b.Loop() {
		run()
	}
	b.ReportMetric((processTime()-start).Seconds()*1e3/float64(b.N), "cpu-ms/op")
}

// One SimCLR pair, from pixels or a file to two tensors: what a worker of the loader does for an image.
func BenchmarkPair(b *testing.B) {
	small, large := benchPhoto(32, 32), benchPhoto(500, 375)
	var file bytes.Buffer
	if err := jpeg.Encode(&file, large.ToImage(), &jpeg.Options{Quality: 90}); err != nil {
		b.Fatal(err)
	}
	simclr, _ := Preset("simclr", 224)
	pair := func(b *testing.B, policy Policy, size int, read func() *Image) {
		pre := EvalPreprocess(size)
		k := viewKind{policy: policy, pre: pre, norm: pre.normalizer()}
		w, dst, i := newWorker(), make([]float32, pre.Len()), 0
		b.ReportAllocs()
		cpuTime(b, func() {
			m := read()
			for v := range 2 {
				view := k.draw(m, 0, 0, i, v, w)
				k.norm.tensor(dst, view)
				w.Release(view)
			}
			i++
		})
	}
	b.Run("32/memory", func(b *testing.B) { pair(b, SimCLR(32), 32, func() *Image { return small }) })
	b.Run("224/memory", func(b *testing.B) { pair(b, simclr[0].Policy, 224, func() *Image { return large }) })
	b.Run("224/jpeg", func(b *testing.B) {
		pair(b, simclr[0].Policy, 224, func() *Image {
			m, err := Decode(bytes.NewReader(file.Bytes()))
			if err != nil {
				b.Fatal(err)
			}
			return m
		})
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		cpuTime(b, func() {
			if _, err := Decode(bytes.NewReader(file.Bytes())); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// Each adjustment of a view of 224 pixels.
func BenchmarkAdjust(b *testing.B) {
	m := benchPhoto(224, 224)
	for _, c := range []struct {
		name string
		run  func(m *Image)
	}{
		{"brightness", func(m *Image) { m.AdjustBrightness(1.1) }},
		{"contrast", func(m *Image) { m.AdjustContrast(0.9) }},
		{"saturation", func(m *Image) { m.AdjustSaturation(0.9) }},
		{"hue", func(m *Image) { m.AdjustHue(0.05) }},
		{"grey", func(m *Image) { m.Grayscale() }},
		{"flip", func(m *Image) { m.FlipHorizontal() }},
		{"blur23", func(m *Image) { m.blur(23, 1) }},
		{"pillowblur", func(m *Image) { m.pillowBlur(1, nil) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			x := m.Clone()
			cpuTime(b, func() {
				copy(x.Pix, m.Pix)
				c.run(x)
			})
		})
	}
	b.Run("crop", func(b *testing.B) {
		photo, out := benchPhoto(500, 375), NewImage(224, 224)
		cpuTime(b, func() { photo.resizeInto(out, 50, 30, 400, 330, Bilinear) })
	})
	b.Run("tensor", func(b *testing.B) {
		n := EvalPreprocess(224).normalizer()
		dst := make([]float32, n.p.Len())
		cpuTime(b, func() { n.tensor(dst, m) })
	})
}

func BenchmarkEvalPreprocess224(b *testing.B) {
	m, p := benchPhoto(500, 375), EvalPreprocess(224)
	dst := make([]float32, p.Len())
	b.ReportAllocs()
	for b.Loop() {
		p.Tensor(dst, m)
	}
}

func BenchmarkResize256(b *testing.B) {
	m := benchPhoto(500, 375)
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			Resize(m, 341, 256, Bilinear)
		}
	})
	nrgba := imaging.Clone(m.ToImage())
	b.Run("imaging", func(b *testing.B) {
		for b.Loop() {
			imaging.Resize(nrgba, 341, 256, imaging.Linear)
		}
	})
}

func BenchmarkYCbCr420(b *testing.B) {
	src := image.NewYCbCr(image.Rect(0, 0, 500, 375), image.YCbCrSubsampleRatio420)
	b.ReportAllocs()
	for b.Loop() {
		FromImage(src)
	}
}

func BenchmarkDecodeJPEG(b *testing.B) {
	data := jpegBytes(b, gradient(500, 375, 1).ToImage())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}
