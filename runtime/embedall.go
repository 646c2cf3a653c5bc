package runtime

import (
	"context"
	"fmt"

	"github.com/sslrt/sslrt/augment"
)

// EmbedAll writes the embeddings of all images of src to sink, in the order of
// src. Images are decoded by workers beside the model; memory does not grow with
// their number. An image that cannot be read, or of which the model gives NaN or
// Inf, is left out and reported. That no image has an embedding is an error. When ctx ends or the sink fails EmbedAll stops:
// the Summary says how far it came, and the sink holds that many rows.
func EmbedAll(ctx context.Context, e *Encoder, src augment.Source, sink Sink, opt JobOptions) (Summary, error) {
	classes, dim := src.Classes(), e.net.dim
	j := job{what: "embed", src: src, pre: e.net.pre, bytes: e.net.bytes, opt: opt, dim: dim, runs: e.net.runs}
	j.compute = func(ctx context.Context, b *augment.Batch, out []float32) error {
		x := images{count: len(b.Index)}
		if e.net.bytes {
			x.pixels = b.Pixels[0]
		} else {
			x.floats = b.Views[0]
		}
		return e.net.run(ctx, out, x)
	}
	err := j.run(ctx, func(b *augment.Batch, out []float32, usable []int) error {
		for _, k := range usable {
			i := b.Index[k]
			if err := sink.Write(src.Name(i), className(classes, src.Label(i)), out[k*dim:(k+1)*dim]); err != nil {
				return fmt.Errorf("runtime: embed: %w", err)
			}
			j.sum.Done++
		}
		return nil
	})
	return j.sum, err
}

// className returns a class by name, "" for none.
func className(classes []string, label int) string {
	if label < 0 {
		return ""
	}
	return classes[label]
}
