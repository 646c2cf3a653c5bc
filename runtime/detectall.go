package runtime

import (
	"context"
	"fmt"

	"github.com/sslrt/sslrt/augment"
)

// DetectAll judges all images of src, in order, and hands each result to each with
// the image's index. Images are decoded beside the model; memory does not grow with
// their number. An image that cannot be read, or whose score is NaN or Inf, is left
// out and reported; that none has a score is an error.
func DetectAll(ctx context.Context, d *Detector, src augment.Source, opt JobOptions, each func(i int, found Detection) error) (Summary, error) {
	j := job{what: "detect", src: src, pre: d.pre, bytes: d.bytes, opt: opt}
	if d.tile > 0 {
		err := j.tiles(ctx, d, each)
		return j.sum, err
	}
	size := d.pre.Len()
	err := j.run(ctx, func(b *augment.Batch, _ []float32, usable []int) error {
		for _, k := range usable {
			var found Detection
			var err error
			if d.bytes {
				found, err = run(ctx, d, b.Pixels[0][k*size:(k+1)*size])
			} else {
				found, err = run(ctx, d, b.Views[0][k*size:(k+1)*size])
			}
			if err == nil {
				err = j.judged(b.Index[k], found, each)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return j.sum, err
}

// judged hands on the result of image i, unless its score is no number.
func (j *job) judged(i int, found Detection, each func(i int, found Detection) error) error {
	if err := unsound([]float32{found.Score}); err != nil {
		j.skip(i, err)
		return nil
	}
	if err := each(i, found); err != nil {
		return err
	}
	j.sum.Done++
	return nil
}

// tiles is run for images that are looked at in tiles: one is decoded while the one
// before is judged.
func (j *job) tiles(ctx context.Context, d *Detector, each func(i int, found Detection) error) error {
	type decoded struct {
		m   *augment.Image
		err error
	}
	read := func(i int) chan decoded {
		c := make(chan decoded, 1)
		go func() {
			m, err := j.src.Image(i)
			c <- decoded{m, err}
		}()
		return c
	}
	next := read(0)
	for i := range j.src.Len() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("runtime: %s: %w", j.what, err)
		}
		image := <-next
		if i+1 < j.src.Len() {
			next = read(i + 1)
		}
		if image.err != nil {
			j.skip(i, image.err)
		} else {
			found, err := d.Detect(ctx, image.m)
			if err == nil {
				err = j.judged(i, found, each)
			}
			if err != nil {
				return err
			}
		}
		j.progress(i + 1)
	}
	return j.finish()
}
