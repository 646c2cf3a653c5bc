package runtime

import (
	"context"
	"sync"

	"github.com/sslrt/sslrt/augment"
)

// task is a batch on its way through the model.
type task struct {
	*augment.Batch
	out  []float32 // [len(Index), dim]
	err  error     // of the computation; it counts once done is closed
	done chan struct{}
}

// line computes the batches of a loader, several beside each other, and yields them in
// order.
type line struct {
	job    *job
	loader *augment.Loader
	cancel context.CancelFunc
	wg     sync.WaitGroup
	tasks  chan *task     // in order, perhaps unfinished
	places chan struct{}  // one for each computation under way
	free   chan []float32 // memory of results
	err    error          // of the loader, once tasks is closed
}

func newLine(ctx context.Context, j *job, loader *augment.Loader) *line {
	runs := max(1, j.runs)
	l := &line{job: j, loader: loader, tasks: make(chan *task, runs),
		places: make(chan struct{}, runs), free: make(chan []float32, runs+2)}
	ctx, l.cancel = context.WithCancel(ctx)
	l.wg.Add(1)
	go l.feed(ctx)
	return l
}

// feed starts the computation of one batch after the other.
func (l *line) feed(ctx context.Context) {
	defer l.wg.Done()
	defer close(l.tasks)
	for {
		b, err := l.loader.Next(ctx)
		if err != nil {
			l.err = err
			return
		}
		t := &task{Batch: b, done: make(chan struct{})}
		select {
		case l.places <- struct{}{}:
		case <-ctx.Done():
			l.err = ctx.Err()
			return
		}
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			if l.job.compute != nil {
				t.out = l.values(len(b.Index) * l.job.dim)
				t.err = l.job.compute(ctx, b, t.out)
			}
			<-l.places
			close(t.done)
		}()
		select {
		case l.tasks <- t:
		case <-ctx.Done():
			l.err = ctx.Err()
			return
		}
	}
}

// next returns the next batch, computed, or io.EOF.
func (l *line) next(ctx context.Context) (*task, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, ok := <-l.tasks
	if !ok {
		return nil, l.err
	}
	<-t.done
	return t, nil
}

// values returns memory for results, any content.
func (l *line) values(n int) []float32 {
	select {
	case v := <-l.free:
		if cap(v) >= n {
			return v[:n]
		}
	default:
	}
	return make([]float32, n)
}

// release takes back the memory of a task.
func (l *line) release(t *task) {
	select {
	case l.free <- t.out:
	default:
	}
}

// stop ends all that is under way and waits for it.
func (l *line) stop() {
	l.cancel()
	l.wg.Wait()
}
