package finetune

import (
	"fmt"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/train"
)

// loader reads an epoch (from 0 up) of a source for a step, from one of its batches
// on.
func (c *Config) loader(src augment.Source, step *train.Program, epoch, batch int) (*augment.Loader, error) {
	prefetch := 0 // the loader's default
	if c.Chunk > 0 {
		prefetch = 1 // such batches are large, and their steps long
	}
	return augment.NewLoader(src, augment.LoaderOptions{
		BatchSize: c.BatchSize, Views: c.ViewPlan(step.Views), Preprocess: c.Preprocess(),
		Seed: c.Seed, Epoch: epoch, StartBatch: batch,
		Shuffle: true, DropLast: true, Workers: c.Workers, Prefetch: prefetch,
	})
}

// sources returns the images that training measures itself on, the same as they are read
// for training, and those that are held out, nil where there are none.
func (c *Config) sources(src augment.Source) (full, learn, valid augment.Source, err error) {
	if !c.FastDecode {
		full, valid, err = c.parts(augment.Cached(src, c.Cache))
		return full, full, valid, err
	}
	reduced := augment.Reduced(src, 2*c.ImageSize)
	if learn, _, err = c.parts(augment.Cached(reduced, c.Cache)); err != nil {
		return nil, nil, nil, err
	}
	full, valid, err = c.parts(src)
	return full, learn, valid, err
}

// addBatch adds the views, and the labels where the step takes them, to its inputs.
// The views are the batch's own memory.
func addBatch(in engine.Tensors, step *train.Program, b *augment.Batch, c *Config) error {
	n := len(b.Index)
	if len(b.Groups) != 1 {
		return fmt.Errorf("finetune: method %s takes views of one size, got %v", c.Method, b.Sizes)
	}
	in[train.InputViews] = engine.NewTensor(b.Groups[0], len(b.Views)*n, c.Channels, c.ImageSize, c.ImageSize)
	if step.Labels {
		labels := make([]int64, n)
		for i, l := range b.Labels {
			if l < 0 {
				return fmt.Errorf("finetune: method %s needs labels, image number %d has none", c.Method, b.Index[i])
			}
			labels[i] = int64(l)
		}
		in[train.InputLabels] = engine.NewTensor(labels, n)
	}
	return nil
}
