package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
)

// augmentBench is what bench augment measures.
type augmentBench struct {
	size    int
	policy  string
	images  int
	passes  int
	workers int
	data    dataFlags
}

func newBenchAugment(s streams, g *global) *cobra.Command {
	b := augmentBench{passes: 5}
	cmd := &cobra.Command{
		Use:   "augment [DATA...]",
		Short: "Time augmentation: SimCLR's two views of an image",
		Long: `Bench augment measures what it costs to make the two views of an image, from its
file or from memory to the two tensors that a network takes: processor time of one
core by stage (decode, each transform, tensor), and the images a second of all workers
together.

Without DATA it draws images itself: of 32 pixels in memory, by simclr_cifar, and JPEG
files of 500x375, of which it makes 224 pixels by simclr. Times of a core are the
least of several passes.`,
		Example: `  sslrt bench augment
  sslrt bench augment photos/ --image-size 224 --augment moco_v2 --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if b.images < 0 || b.passes < 1 || b.workers < 0 || b.size < 0 {
				return usagef("got --images %d, --passes %d, --workers %d, --image-size %d: want 0, 1, 0, 0 or more", b.images, b.passes, b.workers, b.size)
			}
			scratch, err := os.MkdirTemp("", "sslrt-bench-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(scratch)
			cases, err := b.cases(args, scratch, s)
			if err != nil {
				return err
			}
			var results []augmentResult
			for _, c := range cases {
				r, err := b.run(cmd.Context(), c)
				if err := errors.Join(err, c.src.Close()); err != nil {
					return err
				}
				results = append(results, r)
				if !g.json {
					if _, err := io.WriteString(s.out, r.text()); err != nil {
						return err
					}
				}
			}
			if !g.json {
				return nil
			}
			return printJSON(s.out, struct {
				Cases []augmentResult `json:"cases"`
			}{results})
		},
	}
	f := cmd.Flags()
	f.IntVar(&b.size, "image-size", 0, "pixels of a view (default: 32 and 224; of DATA 224)")
	f.StringVar(&b.policy, "augment", "", "preset, file with a policy, or policy (default: simclr_cifar up to 64 pixels, above simclr)")
	f.IntVar(&b.images, "images", 0, "of the data, for the time of one core (default: 256 up to 64 pixels, above 64)")
	f.IntVar(&b.passes, "passes", b.passes, "over the images, of which the fastest counts")
	f.IntVar(&b.workers, "workers", 0, "for the images a second (default: all processors)")
	b.data.register(f, true)
	return cmd
}

type augmentCase struct {
	name  string
	src   augment.Source
	size  int
	views augment.Views
}

// cases are the data given, or those that are drawn, files in scratch.
func (b *augmentBench) cases(args []string, scratch string, s streams) ([]augmentCase, error) {
	if len(args) > 0 {
		src, err := b.data.open(args, "train", s)
		if err != nil {
			return nil, err
		}
		size := b.size
		if size == 0 {
			size = 224
		}
		views, err := b.views(size)
		return []augmentCase{{"data", src, size, views}}, err
	}
	var out []augmentCase
	for _, size := range []int{32, 224} {
		if b.size != 0 && (b.size <= 64) != (size <= 64) {
			continue
		}
		if b.size != 0 {
			size = b.size
		}
		views, err := b.views(size)
		if err != nil {
			return nil, err
		}
		if size <= 64 {
			out = append(out, augmentCase{"memory", drawn(drawPictures(64, size, size)), size, views})
			continue
		}
		src, err := drawFiles(scratch, 32, 500, 375)
		if err != nil {
			return nil, err
		}
		out = append(out, augmentCase{"500x375 JPEG", src, size, views})
	}
	return out, nil
}

// views are the two of a size, checked.
func (b *augmentBench) views(size int) (augment.Views, error) {
	policy := b.policy
	if policy == "" {
		policy = "simclr"
		if size <= 64 {
			policy = "simclr_cifar"
		}
	}
	text, err := augmentText(policy)
	if err != nil {
		return nil, err
	}
	c := finetune.DefaultConfig()
	c.ImageSize = size
	if err := c.Set("augment", text); err != nil {
		return nil, usagef("--augment: %w", err)
	}
	views, err := c.PreviewViews(2)
	if err != nil {
		return nil, err
	}
	return views, views.Check(size)
}

// augmentResult is one case of bench augment under --json.
type augmentResult struct {
	Data    string         `json:"data"`
	Size    int            `json:"image_size"`
	Policy  string         `json:"policy"`
	Views   int            `json:"views"`
	CPU     float64        `json:"cpu_ms"`            // of one core, for all views of an image
	PerCore float64        `json:"images_per_s_core"` // 1000 / cpu_ms
	Rate    float64        `json:"images_per_s"`      // of all workers
	Workers int            `json:"workers"`
	Stages  []augmentStage `json:"stages"`
	Decoder string         `json:"jpeg_decoder"`
}

type augmentStage struct {
	Stage string  `json:"stage"`
	CPU   float64 `json:"cpu_ms"`
}

func (b *augmentBench) run(ctx context.Context, c augmentCase) (augmentResult, error) {
	pre := augment.EvalPreprocess(c.size)
	n := b.images
	if n == 0 {
		n = 64
		if c.size <= 64 {
			n = 256
		}
	}
	n = min(n, c.src.Len())
	seconds, stages, err := augment.MeasureViews(ctx, c.src, c.views, pre, n, b.passes)
	if err != nil {
		return augmentResult{}, err
	}
	r := augmentResult{Data: c.name, Size: c.size, Policy: c.views.String(), Views: c.views.Len(), CPU: 1e3 * seconds, PerCore: 1 / seconds,
		Workers: b.workers, Decoder: augment.Decoders}
	if r.Workers == 0 {
		r.Workers = runtime.GOMAXPROCS(0)
	}
	for _, st := range stages {
		r.Stages = append(r.Stages, augmentStage{st.Name, 1e3 * st.Seconds})
	}
	r.Rate, err = loadRate(ctx, c, pre, r.Workers, seconds)
	return r, err
}

// loadRate returns the images a second that a loader with workers yields, the fastest of
// three tries of half a second each.
func loadRate(ctx context.Context, c augmentCase, pre augment.Preprocess, workers int, seconds float64) (float64, error) {
	batch := max(1, min(64, c.src.Len()))
	want := max(2*batch, int(0.5*float64(workers)/seconds))
	best := 0.0
	for range 3 {
		images, elapsed := 0, 0.0
		for epoch := 0; images < want; epoch++ {
			loader, err := augment.NewLoader(c.src, augment.LoaderOptions{BatchSize: batch, Views: c.views, Preprocess: pre,
				Epoch: epoch, Shuffle: true, Workers: workers})
			if err != nil {
				return 0, err
			}
			n, took, err := drain(ctx, loader, want-images)
			if err := errors.Join(err, loader.Close()); err != nil {
				return 0, err
			}
			images, elapsed = images+n, elapsed+took
		}
		best = max(best, float64(images)/elapsed)
	}
	return best, nil
}

// drain reads at least want images of a loader, if it has as many, and returns their
// number and the seconds.
func drain(ctx context.Context, l *augment.Loader, want int) (int, float64, error) {
	started, images := time.Now(), 0
	for images < want {
		b, err := l.Next(ctx)
		if errors.Is(err, io.EOF) {
			return images, time.Since(started).Seconds(), nil
		}
		if err != nil {
			return 0, 0, err
		}
		images += len(b.Index)
		l.Release(b)
	}
	return images, time.Since(started).Seconds(), nil
}

func (r augmentResult) text() string {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%d views of %d px, from %s: %.3f ms of one core an image (%.0f images/s a core); %.0f images/s with %d workers\n",
		r.Views, r.Size, r.Data, r.CPU, r.PerCore, r.Rate, r.Workers)
	for _, st := range r.Stages {
		fmt.Fprintf(&out, "  %-24s %8.3f ms %5.1f%%\n", st.Stage, st.CPU, 100*st.CPU/r.CPU)
	}
	return out.String()
}

// drawn is a source of pictures in memory.
type drawn []*augment.Image

func (d drawn) Len() int                            { return len(d) }
func (drawn) Name(i int) string                     { return fmt.Sprintf("drawn %d", i) }
func (drawn) Label(int) int                         { return -1 }
func (drawn) Classes() []string                     { return nil }
func (drawn) Close() error                          { return nil }
func (d drawn) Image(i int) (*augment.Image, error) { return d[i], nil }

// drawPictures draws smooth colours with some noise.
func drawPictures(n, w, h int) []*augment.Image {
	var out []*augment.Image
	for i := range n {
		m := augment.NewImage(w, h)
		for y := range h {
			for x := range w {
				noise := float64((uint32(x)*7919 + uint32(y)*104729 + uint32(i)*15485863) * 2654435761 >> 28)
				for c, k := range [3][2]float64{{31, 23}, {47, 19}, {17, 41}} {
					v := 128 + 90*math.Sin(float64(x)/k[0]+float64(c+i))*math.Cos(float64(y)/k[1]) + noise
					m.Pix[(y*w+x)*3+c] = uint8(min(max(v, 0), 255))
				}
			}
		}
		out = append(out, m)
	}
	return out
}

// drawFiles draws pictures and opens them as JPEG files in a folder.
func drawFiles(dir string, n, w, h int) (augment.Source, error) {
	for i, m := range drawPictures(n, w, h) {
		var file bytes.Buffer
		if err := jpeg.Encode(&file, m.ToImage(), &jpeg.Options{Quality: 90}); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.jpg", i)), file.Bytes(), 0o600); err != nil {
			return nil, err
		}
	}
	return augment.Open([]string{dir}, augment.SourceOptions{})
}
