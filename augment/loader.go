package augment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// LoaderOptions describe what a [Loader] yields. Preprocess and BatchSize must be set.
type LoaderOptions struct {
	BatchSize  int        // source images per batch
	Views      Views      // drawn anew for each image and epoch; nil is one view by Preprocess's resize and crop
	Preprocess Preprocess // size, normalisation and channels of a view
	Seed       uint64     // of everything random
	Epoch      int        // enters the order and every draw
	StartBatch int        // batches at the beginning of the epoch that are left out, at no cost
	Shuffle    bool       // visit the images in an order drawn from Seed and Epoch
	DropLast   bool       // leave out an incomplete last batch
	Workers    int        // goroutines that decode and augment; 0 means GOMAXPROCS. It changes no number
	Prefetch   int        // batches prepared ahead; 0 means 2
	Bytes      bool       // yield 8-bit samples instead of normalised float32
	KeepFailed bool       // leave the place of an unreadable image empty instead of taking the next image
}

// Batch is a number of images, read and prepared. Its slices belong to the caller until [Loader.Release].
type Batch struct {
	Index  []int       // index of each image in the source; of its replacement, where one was taken
	Labels []int       // of those images, -1 when unlabelled
	Views  [][]float32 // per view: [len(Index), Channels, Height, Width], normalised
	Pixels [][]uint8   // with Bytes, instead of Views: [len(Index), Height, Width, Channels]

	// Sizes holds the height and width of the views, each size once, in order of first use. Groups (or
	// PixelGroups) are the views by size, the memory of Views: [views of that size * len(Index),
	// Channels, Height, Width], the first view of all images first.
	Sizes       []Size
	Groups      [][]float32
	PixelGroups [][]uint8

	// Skipped lists the images of this batch that could not be read, by index; an image is listed once
	// in an epoch. Without KeepFailed its place holds the next readable image of the source. With it,
	// Failed[k] is the reason why place k is all zeros, nil for the others; Failed itself is nil when
	// all were read.
	Skipped []SkippedImage
	Failed  []error

	pending atomic.Int32
	done    chan struct{}
	err     error // fatal; written before done is closed
	mu      sync.Mutex
}

// SkippedImage is an image that could not be read.
type SkippedImage struct {
	Index int
	Name  string
	Err   error
}

// Loader reads a source with several goroutines, ahead of its consumer, and yields batches in a fixed
// order. What a batch holds depends on the options and the source alone, not on Workers or timing.
// Next, Release and Close may be called from different goroutines.
type Loader struct {
	src    Source
	opt    LoaderOptions
	order  []int32 // nil without Shuffle
	n      int     // images per epoch
	kinds  []viewKind
	sizes  []Size
	cancel context.CancelFunc
	ctx    context.Context
	wg     sync.WaitGroup
	queue  chan *Batch // in order, perhaps unfinished
	jobs   chan job
	free   chan *Batch

	badMu sync.Mutex
	bad   map[int]error // images that could not be read
}

type job struct {
	batch *Batch
	place int
	want  int // index in the source
}

// ErrClosed is what [Loader.Next] returns after [Loader.Close].
var ErrClosed = errors.New("augment: the loader is closed")

// NewLoader starts reading src for one epoch. Close it to stop.
func NewLoader(src Source, opt LoaderOptions) (*Loader, error) {
	if err := opt.Preprocess.Validate(); err != nil {
		return nil, err
	}
	if opt.Workers < 1 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.Prefetch < 1 {
		opt.Prefetch = 2
	}
	n := src.Len()
	switch {
	case opt.BatchSize < 1:
		return nil, fmt.Errorf("augment: batch size %d: want 1 or more", opt.BatchSize)
	case n == 0:
		return nil, fmt.Errorf("augment: the source is empty: %w", ErrNoImages)
	case opt.DropLast && opt.BatchSize > n:
		return nil, fmt.Errorf("augment: batch size %d is larger than the data set of %d images: lower it or keep incomplete batches", opt.BatchSize, n)
	case opt.StartBatch < 0:
		return nil, fmt.Errorf("augment: start batch %d: want 0 or more", opt.StartBatch)
	}
	l := &Loader{
		src: src, opt: opt, n: n,
		queue: make(chan *Batch, opt.Prefetch),
		jobs:  make(chan job),
		free:  make(chan *Batch, opt.Prefetch+2),
		bad:   map[int]error{},
	}
	if err := l.planViews(); err != nil {
		return nil, err
	}
	if opt.Shuffle {
		l.order = permutation(opt.Seed, opt.Epoch, n)
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.wg.Add(1 + opt.Workers)
	go l.dispatch()
	for range opt.Workers {
		go l.work()
	}
	return l, nil
}

// NewEvalLoader yields all images of src in order, once, resized, cropped and normalised by pre. What
// cannot be read is reported in its place, see [Batch].
func NewEvalLoader(src Source, pre Preprocess, batchSize, workers int) (*Loader, error) {
	return NewLoader(src, LoaderOptions{
		BatchSize: batchSize, Preprocess: pre, Workers: workers, KeepFailed: true,
	})
}

// Batches is the number of batches in a whole epoch, those before StartBatch included.
func (l *Loader) Batches() int {
	if l.opt.DropLast {
		return l.n / l.opt.BatchSize
	}
	return (l.n + l.opt.BatchSize - 1) / l.opt.BatchSize
}

// Next returns the next batch, or io.EOF after the last one. An error other than io.EOF or ctx's ends
// the epoch.
func (l *Loader) Next(ctx context.Context) (*Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l.ctx.Err() != nil {
		return nil, ErrClosed
	}
	var b *Batch
	var ok bool
	select {
	case b, ok = <-l.queue:
		if !ok {
			if l.ctx.Err() != nil {
				return nil, ErrClosed
			}
			return nil, io.EOF
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	// A batch taken from the queue is awaited whatever happens to ctx, or it would be lost; the wait is
	// at most that for the batch's own images.
	select {
	case <-b.done:
	case <-l.ctx.Done():
		return nil, ErrClosed
	}
	if b.err != nil {
		l.cancel()
		return nil, b.err
	}
	return b, nil
}

// Release gives a batch's memory back for reuse. It is optional; the batch must not be used afterwards.
func (l *Loader) Release(b *Batch) {
	select {
	case l.free <- b:
	default:
	}
}

// Close stops the workers and waits for them. It does not close the source.
func (l *Loader) Close() error {
	l.cancel()
	l.wg.Wait()
	return nil
}

func (l *Loader) dispatch() {
	defer l.wg.Done()
	defer close(l.jobs)
	defer close(l.queue)
	for k := l.opt.StartBatch; k < l.Batches(); k++ {
		first := k * l.opt.BatchSize
		b := l.newBatch(min(l.opt.BatchSize, l.n-first))
		select {
		case l.queue <- b:
		case <-l.ctx.Done():
			return
		}
		for place := range b.Index {
			want := first + place
			if l.order != nil {
				want = int(l.order[want])
			}
			select {
			case l.jobs <- job{b, place, want}:
			case <-l.ctx.Done():
				return
			}
		}
	}
}

func (l *Loader) newBatch(n int) *Batch {
	b := &Batch{Index: make([]int, n), Labels: make([]int, n), done: make(chan struct{})}
	b.pending.Store(int32(n))
	select {
	case old := <-l.free:
		b.Groups, b.PixelGroups = old.Groups, old.PixelGroups
	default:
		b.Groups, b.PixelGroups = make([][]float32, len(l.sizes)), make([][]uint8, len(l.sizes))
	}
	b.Sizes = l.sizes
	l.layOut(b, n)
	return b
}

func (l *Loader) work() {
	defer l.wg.Done()
	w := newWorker()
	for j := range l.jobs {
		if l.ctx.Err() == nil {
			if err := l.fill(j, w); err != nil {
				j.batch.mu.Lock()
				j.batch.err = err
				j.batch.mu.Unlock()
			}
		}
		if j.batch.pending.Add(-1) == 0 {
			j.batch.finish()
		}
	}
}

// finish puts the skipped images in order, which is that of the source and not of the workers.
func (b *Batch) finish() {
	slices.SortFunc(b.Skipped, func(x, y SkippedImage) int { return x.Index - y.Index })
	close(b.done)
}

// fill prepares all views of one place of a batch.
func (l *Loader) fill(j job, w *worker) error {
	index := j.want
	m, err := l.read(index, w)
	if err != nil {
		j.batch.mu.Lock()
		j.batch.Skipped = append(j.batch.Skipped, SkippedImage{Index: index, Name: l.src.Name(index), Err: err})
		j.batch.mu.Unlock()
	}
	for err != nil {
		if l.opt.KeepFailed {
			l.leaveEmpty(j, err)
			return nil
		}
		// The neighbour in the source, rather than in the order of this epoch, is seldom in the same
		// batch, where it would be a false negative.
		if index = (index + 1) % l.n; index == j.want {
			return fmt.Errorf("augment: none of the %d images could be read; the first: %w", l.n, err)
		}
		if l.ctx.Err() != nil {
			return l.ctx.Err()
		}
		m, err = l.read(index, w)
	}
	defer w.pictures.Release(m)
	j.batch.Index[j.place], j.batch.Labels[j.place] = index, l.src.Label(index)
	for v := range l.kinds {
		k := &l.kinds[v]
		view := k.draw(m, l.opt.Seed, l.opt.Epoch, index, v, w)
		if view.W != k.pre.Width || view.H != k.pre.Height {
			return fmt.Errorf("augment: the policy of view %d makes %dx%d pixels, the preprocessing wants %dx%d",
				v+1, view.W, view.H, k.pre.Width, k.pre.Height)
		}
		if size := k.pre.Len(); l.opt.Bytes {
			k.pre.pack(j.batch.Pixels[v][j.place*size:(j.place+1)*size], view)
		} else {
			k.norm.tensor(j.batch.Views[v][j.place*size:(j.place+1)*size], view)
		}
		w.Release(view)
	}
	return nil
}

// read decodes an image, and remembers those that fail: a neighbour may ask for them again.
func (l *Loader) read(index int, w *worker) (*Image, error) {
	l.badMu.Lock()
	err := l.bad[index]
	l.badMu.Unlock()
	if err != nil {
		return nil, err
	}
	m, err := imageInto(l.src, index, &w.pictures)
	if err != nil {
		l.badMu.Lock()
		l.bad[index] = err
		l.badMu.Unlock()
	}
	return m, err
}

func (l *Loader) leaveEmpty(j job, err error) {
	b := j.batch
	b.Index[j.place], b.Labels[j.place] = j.want, l.src.Label(j.want)
	for v, k := range l.kinds {
		if size := k.pre.Len(); l.opt.Bytes {
			clear(b.Pixels[v][j.place*size : (j.place+1)*size])
		} else {
			clear(b.Views[v][j.place*size : (j.place+1)*size])
		}
	}
	b.mu.Lock()
	if b.Failed == nil {
		b.Failed = make([]error, len(b.Index))
	}
	b.Failed[j.place] = err
	b.mu.Unlock()
}
