package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	goruntime "runtime"
	"sync/atomic"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/runtime/ort"
)

// plain is a source of n grey pictures; the one at i has the level i.
type plain int

func (s plain) Len() int        { return int(s) }
func (plain) Name(int) string   { return "" }
func (plain) Label(int) int     { return -1 }
func (plain) Classes() []string { return nil }
func (plain) Close() error      { return nil }
func (plain) Image(i int) (*augment.Image, error) {
	m := augment.NewImage(1, 1)
	m.Pix[0] = uint8(i)
	return m, nil
}

// letOthersRun gives goroutines that should not be there the time to show.
func letOthersRun() {
	for range 1000 {
		goruntime.Gosched()
	}
}

// Batches that are computed in another order come out in theirs, with no more under way than asked for.
func TestJobOrder(t *testing.T) {
	const n, runs = 20, 3
	var under, most atomic.Int32
	started := make([]chan struct{}, n)
	for i := range started {
		started[i] = make(chan struct{})
	}
	j := job{what: "test", src: plain(n), pre: augment.EvalPreprocess(1), opt: JobOptions{BatchSize: 1}, dim: 1, runs: runs}
	j.compute = func(ctx context.Context, b *augment.Batch, out []float32) error {
		most.Store(max(most.Load(), under.Add(1)))
		defer under.Add(-1)
		i := b.Index[0]
		close(started[i])
		letOthersRun()
		if i%2 == 0 { // the next one is first
			<-started[i+1]
		}
		out[0] = float32(i)
		return nil
	}
	next := 0
	err := j.run(context.Background(), func(b *augment.Batch, out []float32, readable []int) error {
		if b.Index[0] != next || out[0] != float32(next) {
			t.Errorf("got batch %d with %g, want %d", b.Index[0], out[0], next)
		}
		next++
		j.sum.Done++
		return nil
	})
	if err != nil || next != n || most.Load() > runs {
		t.Errorf("%d batches, %d beside each other: %v", next, most.Load(), err)
	}
}

// An error of a computation ends the job before what follows is taken, and nothing is under way after it.
func TestJobError(t *testing.T) {
	bad := errors.New("no memory left")
	var under atomic.Int32
	j := job{what: "test", src: plain(20), pre: augment.EvalPreprocess(1), opt: JobOptions{BatchSize: 1}, dim: 1, runs: 2}
	j.compute = func(ctx context.Context, b *augment.Batch, out []float32) error {
		under.Add(1)
		defer under.Add(-1)
		switch i := b.Index[0]; {
		case i == 7:
			return fmt.Errorf("batch 7: %w", bad)
		case i > 7:
			<-ctx.Done()
			letOthersRun()
		}
		return nil
	}
	taken := 0
	err := j.run(context.Background(), func(*augment.Batch, []float32, []int) error {
		taken++
		return nil
	})
	if !errors.Is(err, bad) || errors.Is(err, io.EOF) || taken != 7 || under.Load() != 0 {
		t.Errorf("got %v after %d batches, %d under way", err, taken, under.Load())
	}
}

func TestShareThreads(t *testing.T) {
	all := goruntime.GOMAXPROCS(0)
	for _, c := range []struct {
		runs          int
		so            ort.Options
		want, threads int
	}{
		{0, ort.Options{Threads: 4}, 1, 4},
		{1, ort.Options{}, 1, 0},
		{2, ort.Options{Threads: 4}, 2, 2},
		{3, ort.Options{Threads: 4, Device: "cpu"}, 3, 1},
		{8, ort.Options{Threads: 4}, 4, 1},
		{all, ort.Options{}, all, map[bool]int{true: 0, false: 1}[all == 1]},
		{2, ort.Options{Threads: 4, Device: "cuda:0"}, 1, 4},
		{2, ort.Options{Threads: 4, Providers: []ort.Provider{{Name: "x"}}}, 1, 4},
	} {
		so := c.so
		if got := (Options{Runs: c.runs, Session: so}).shareThreads(&so); got != c.want || so.Threads != c.threads {
			t.Errorf("%d runs of %+v: got %d with %d threads each, want %d with %d", c.runs, c.so, got, so.Threads, c.want, c.threads)
		}
	}
}
