package augment

import (
	"context"
	"image"
	"io"
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

func benchPhoto() *Image {
	m := NewImage(500, 375)
	for i := range m.Pix {
		m.Pix[i] = uint8(i*7 + i>>8)
	}
	return m
}

func BenchmarkEvalPreprocess224(b *testing.B) {
	m, p := benchPhoto(), EvalPreprocess(224)
	dst := make([]float32, p.Len())
	b.ReportAllocs()
	for b.Loop() {
		p.Tensor(dst, m)
	}
}

func BenchmarkResize256(b *testing.B) {
	m := benchPhoto()
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

func BenchmarkSimCLRView(b *testing.B) {
	for _, size := range []int{32, 224} {
		b.Run(map[int]string{32: "32", 224: "224"}[size], func(b *testing.B) {
			m, p := benchPhoto(), SimCLR(size)
			if size == 32 {
				m = Resize(m, 32, 32, Bilinear)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				p.Apply(m, NewRand(0, 0, i, 0))
				i++
			}
		})
	}
}

func BenchmarkYCbCr420(b *testing.B) {
	src := image.NewYCbCr(image.Rect(0, 0, 500, 375), image.YCbCrSubsampleRatio420)
	b.ReportAllocs()
	for b.Loop() {
		FromImage(src)
	}
}
