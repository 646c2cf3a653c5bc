package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/sslrt/sslrt/augment"
)

// JobOptions are the settings of a batch job. None changes a result.
type JobOptions struct {
	BatchSize int // images prepared together; 0 is 16
	Workers   int // goroutines that decode and prepare images; 0 is one per processor
	// Progress, if set, is called after each batch with the number of images done,
	// those skipped included, of the total.
	Progress func(done, total int)
	// Skipped, if set, is called for each image that cannot be read, or of which the
	// model gives NaN or Inf, in the order in which that is found.
	Skipped func(augment.SkippedImage)
}

// defaultBatch is the number of images prepared together: two runs of the model, so that
// little is left to do alone at a job's end.
const defaultBatch = 2 * runBatch

// Summary is what a batch job did.
type Summary struct {
	Done    int                    // images that have a result
	Skipped []augment.SkippedImage // images that have none, as they were found, with the reason
}

// job reads the images of src for a model, in order and in bounded memory, decoded by
// workers beside it.
type job struct {
	what  string // for messages: "embed"
	src   augment.Source
	pre   augment.Preprocess
	bytes bool // the model's input is 8-bit
	opt   JobOptions
	sum   Summary

	// compute, if set, gives each image of a batch its values, dim of them. Batches are
	// computed beside each other, runs at a time, and beside what is done with the
	// results of earlier ones.
	compute func(ctx context.Context, b *augment.Batch, out []float32) error
	dim     int
	runs    int
}

// run calls batch for each batch in order, with its values and the places of the images
// that could be read and have sound values: batch does its work and counts them in the
// summary. That there are none in the end is an error. When ctx or a call ends it, the
// summary says how far it came.
func (j *job) run(ctx context.Context, batch func(b *augment.Batch, out []float32, usable []int) error) error {
	fail := func(err error) error { return fmt.Errorf("runtime: %s: %w", j.what, err) }
	size := j.opt.BatchSize
	if size == 0 {
		size = defaultBatch
	}
	loader, err := augment.NewLoader(j.src, augment.LoaderOptions{BatchSize: min(size, max(j.src.Len(), 1)),
		Preprocess: j.pre, Workers: j.opt.Workers, Bytes: j.bytes, KeepFailed: true})
	if err != nil {
		return fail(err)
	}
	defer loader.Close()
	line := newLine(ctx, j, loader)
	defer line.stop()
	var usable []int
	for done := 0; ; {
		t, err := line.next(ctx)
		if errors.Is(err, io.EOF) {
			return j.finish()
		}
		if err != nil {
			return fail(err)
		}
		if t.err != nil {
			return t.err
		}
		b := t.Batch
		usable = usable[:0]
		for k, i := range b.Index {
			var err error
			if b.Failed != nil {
				err = b.Failed[k]
			}
			if err == nil && j.compute != nil {
				err = unsound(t.out[k*j.dim : (k+1)*j.dim])
			}
			if err != nil {
				j.skip(i, err)
				continue
			}
			usable = append(usable, k)
		}
		if err := batch(b, t.out, usable); err != nil {
			return err
		}
		done += len(b.Index)
		loader.Release(b)
		line.release(t)
		j.progress(done)
	}
}

// unsound returns an error for values of a model that hold NaN or +Inf; -Inf is a logit
// that says never.
func unsound(values []float32) error {
	for i, v := range values {
		if !(v < float32(math.Inf(1))) {
			return fmt.Errorf("the model gives %g at place %d: are its weights sound?", v, i)
		}
	}
	return nil
}

func (j *job) skip(i int, err error) {
	s := augment.SkippedImage{Index: i, Name: j.src.Name(i), Err: err}
	j.sum.Skipped = append(j.sum.Skipped, s)
	if j.opt.Skipped != nil {
		j.opt.Skipped(s)
	}
}

func (j *job) progress(done int) {
	if j.opt.Progress != nil {
		j.opt.Progress(done, j.src.Len())
	}
}

// finish returns an error if no image has a result.
func (j *job) finish() error {
	if j.sum.Done > 0 {
		return nil
	}
	return fmt.Errorf("runtime: %s: none of %d images has a result; the first: %w", j.what, j.src.Len(), j.sum.Skipped[0].Err)
}
