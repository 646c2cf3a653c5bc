package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sslrt/sslrt/augment"
)

// DetectAll judges all images of src, in order, and hands each result to each with
// the image's index. Images are decoded beside the model; memory does not grow with
// their number. An image that cannot be read is left out and reported; that none can
// be read is an error.
func DetectAll(ctx context.Context, d *Detector, src augment.Source, opt JobOptions, each func(i int, found Detection) error) (Summary, error) {
	if d.tile > 0 {
		return detectAllTiles(ctx, d, src, opt, each)
	}
	var sum Summary
	loader, err := augment.NewLoader(src, augment.LoaderOptions{BatchSize: min(max(opt.BatchSize, 1), src.Len()),
		Preprocess: d.pre, Workers: opt.Workers, Bytes: d.bytes, KeepFailed: true})
	if err != nil {
		return sum, fmt.Errorf("runtime: detect: %w", err)
	}
	defer loader.Close()
	size := d.pre.Len()
	for done := 0; ; {
		b, err := loader.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return sum, fmt.Errorf("runtime: detect: %w", err)
		}
		for _, s := range b.Skipped {
			sum.Skipped = append(sum.Skipped, s)
			if opt.Skipped != nil {
				opt.Skipped(s)
			}
		}
		for k, i := range b.Index {
			if b.Failed != nil && b.Failed[k] != nil {
				continue
			}
			var found Detection
			if d.bytes {
				found, err = run(ctx, d, b.Pixels[0][k*size:(k+1)*size])
			} else {
				found, err = run(ctx, d, b.Views[0][k*size:(k+1)*size])
			}
			if err == nil {
				err = each(i, found)
			}
			if err != nil {
				return sum, err
			}
			sum.Embedded++
		}
		done += len(b.Index)
		loader.Release(b)
		if opt.Progress != nil {
			opt.Progress(done, src.Len())
		}
	}
	return sum, sum.none(src, "detect")
}

// detectAllTiles is DetectAll for images in tiles: one is decoded while the one before
// is judged.
func detectAllTiles(ctx context.Context, d *Detector, src augment.Source, opt JobOptions, each func(i int, found Detection) error) (Summary, error) {
	type decoded struct {
		m   *augment.Image
		err error
	}
	read := func(i int) chan decoded {
		c := make(chan decoded, 1)
		go func() {
			m, err := src.Image(i)
			c <- decoded{m, err}
		}()
		return c
	}
	var sum Summary
	next := read(0)
	for i := range src.Len() {
		if err := ctx.Err(); err != nil {
			return sum, fmt.Errorf("runtime: detect: %w", err)
		}
		image := <-next
		if i+1 < src.Len() {
			next = read(i + 1)
		}
		if image.err != nil {
			skipped := augment.SkippedImage{Index: i, Name: src.Name(i), Err: image.err}
			sum.Skipped = append(sum.Skipped, skipped)
			if opt.Skipped != nil {
				opt.Skipped(skipped)
			}
		} else {
			found, err := d.Detect(ctx, image.m)
			if err == nil {
				err = each(i, found)
			}
			if err != nil {
				return sum, err
			}
			sum.Embedded++
		}
		if opt.Progress != nil {
			opt.Progress(i+1, src.Len())
		}
	}
	return sum, sum.none(src, "detect")
}
