package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sslrt/sslrt/augment"
)

// JobOptions are the settings of EmbedAll. None changes an embedding.
type JobOptions struct {
	BatchSize int // images prepared together; 0 is 64
	Workers   int // goroutines that decode and prepare images; 0 is one per processor
	// Progress, if set, is called after each batch with the number of images done,
	// those skipped included, of the total.
	Progress func(done, total int)
	// Skipped, if set, is called for each image that cannot be read, in order.
	Skipped func(augment.SkippedImage)
}

// Summary is what a batch job did.
type Summary struct {
	Embedded int                    // images that have a result
	Skipped  []augment.SkippedImage // images that could not be read, in order, with the reason
}

// EmbedAll writes the embeddings of all images of src to sink, in the order of
// src. Images are decoded by workers beside the model; memory does not grow with
// their number. An image that cannot be read is left out and reported. That no
// image can be read is an error. When ctx ends or the sink fails EmbedAll stops:
// the Summary says how far it came, and the sink holds that many rows.
func EmbedAll(ctx context.Context, e *Encoder, src augment.Source, sink Sink, opt JobOptions) (Summary, error) {
	var sum Summary
	size := opt.BatchSize
	if size == 0 {
		size = 64
	}
	loader, err := augment.NewLoader(src, augment.LoaderOptions{
		BatchSize:  min(size, max(src.Len(), 1)),
		Preprocess: e.net.pre,
		Workers:    opt.Workers,
		Bytes:      e.net.bytes,
		KeepFailed: true,
	})
	if err != nil {
		return sum, fmt.Errorf("runtime: embed: %w", err)
	}
	defer loader.Close()
	out := make([]float32, size*e.net.dim)
	classes := src.Classes()
	for done := 0; ; {
		b, err := loader.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return sum, fmt.Errorf("runtime: embed: %w", err)
		}
		for _, s := range b.Skipped {
			sum.Skipped = append(sum.Skipped, s)
			if opt.Skipped != nil {
				opt.Skipped(s)
			}
		}
		x := images{count: len(b.Index)}
		if e.net.bytes {
			x.pixels = b.Pixels[0]
		} else {
			x.floats = b.Views[0]
		}
		if err := e.net.run(ctx, out, x); err != nil {
			return sum, err
		}
		for k, i := range b.Index {
			if b.Failed != nil && b.Failed[k] != nil {
				continue
			}
			if err := sink.Write(src.Name(i), className(classes, src.Label(i)), out[k*e.net.dim:(k+1)*e.net.dim]); err != nil {
				return sum, fmt.Errorf("runtime: embed: %w", err)
			}
			sum.Embedded++
		}
		done += len(b.Index)
		loader.Release(b)
		if opt.Progress != nil {
			opt.Progress(done, src.Len())
		}
	}
	return sum, sum.none(src, "embed")
}

// none is the error of a job of which no image could be read.
func (s *Summary) none(src augment.Source, what string) error {
	if s.Embedded > 0 {
		return nil
	}
	return fmt.Errorf("runtime: %s: none of %d images could be read; the first: %w", what, src.Len(), s.Skipped[0].Err)
}

// className returns a class by name, "" for none.
func className(classes []string, label int) string {
	if label < 0 {
		return ""
	}
	return classes[label]
}
