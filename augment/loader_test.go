package augment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// memorySource holds generated images; the indices in bad cannot be read.
type memorySource struct {
	n   int
	bad map[int]bool
}

func (s memorySource) Len() int          { return s.n }
func (s memorySource) Name(i int) string { return fmt.Sprintf("image%d", i) }
func (s memorySource) Label(i int) int   { return i % 3 }
func (s memorySource) Classes() []string { return []string{"a", "b", "c"} }
func (s memorySource) Close() error      { return nil }
func (s memorySource) Image(i int) (*Image, error) {
	if s.bad[i] {
		return nil, fmt.Errorf("augment: decode image%d: broken", i)
	}
	if i%5 == 0 {
		time.Sleep(time.Duration(i%7) * 100 * time.Microsecond) // finish out of order
	}
	return gradient(20+i%3, 24, i), nil
}

func drain(t *testing.T, src Source, opt LoaderOptions) []*Batch {
	t.Helper()
	l, err := NewLoader(src, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var out []*Batch
	for {
		b, err := l.Next(context.Background())
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
}

// same compares what batches hold, to the last bit.
func same(a, b *Batch) string {
	return cmp.Diff([]any{a.Index, a.Labels, a.Views, a.Pixels, fmt.Sprint(a.Skipped), fmt.Sprint(a.Failed)},
		[]any{b.Index, b.Labels, b.Views, b.Pixels, fmt.Sprint(b.Skipped), fmt.Sprint(b.Failed)})
}

var trainOptions = LoaderOptions{
	BatchSize: 7, Views: Alike(2, SimCLR(16)), Preprocess: EvalPreprocess(16),
	Seed: 5, Epoch: 3, Shuffle: true, Workers: 1,
}

func TestLoaderDoesNotDependOnWorkers(t *testing.T) {
	src := memorySource{n: 45, bad: map[int]bool{4: true, 5: true, 44: true}}
	want := drain(t, src, trainOptions)
	if len(want) != 7 || len(want[6].Index) != 3 {
		t.Fatalf("%d batches", len(want))
	}
	for _, workers := range []int{2, 3, 16} {
		for _, prefetch := range []int{1, 5} {
			opt := trainOptions
			opt.Workers, opt.Prefetch = workers, prefetch
			for k, b := range drain(t, src, opt) {
				if diff := same(want[k], b); diff != "" {
					t.Fatalf("%d workers, batch %d: %s", workers, k, diff)
				}
			}
		}
	}
}

// Starting in the middle gives the rest of the same epoch, and the order of images is a permutation.
func TestLoaderStartBatch(t *testing.T) {
	src := memorySource{n: 45}
	whole := drain(t, src, trainOptions)
	opt := trainOptions
	opt.StartBatch = 4
	for k, b := range drain(t, src, opt) {
		if diff := same(whole[4+k], b); diff != "" {
			t.Fatalf("batch %d: %s", k, diff)
		}
	}
	opt.StartBatch = 100
	if n := len(drain(t, src, opt)); n != 0 {
		t.Errorf("%d batches after the end", n)
	}
	var seen []int
	for _, b := range whole {
		seen = append(seen, b.Index...)
	}
	if slices.IsSorted(seen) {
		t.Error("not shuffled")
	}
	slices.Sort(seen)
	for i, v := range seen {
		if i != v {
			t.Fatalf("image %d is missing", i)
		}
	}
	opt = trainOptions
	opt.Epoch++
	if cmp.Equal(whole[0].Index, drain(t, src, opt)[0].Index) {
		t.Error("two epochs have the same order")
	}
	opt = trainOptions
	opt.Seed++
	if cmp.Equal(whole[0].Index, drain(t, src, opt)[0].Index) {
		t.Error("two seeds have the same order")
	}
}

// A view depends on seed, epoch, index and view alone, so an image has the same views in another order.
func TestLoaderViews(t *testing.T) {
	src := memorySource{n: 20}
	opt := trainOptions
	size := opt.Preprocess.Len()
	views := func(opt LoaderOptions) map[[2]int][]float32 {
		out := map[[2]int][]float32{}
		for _, b := range drain(t, src, opt) {
			for k, i := range b.Index {
				if b.Labels[k] != i%3 {
					t.Errorf("image %d has label %d", i, b.Labels[k])
				}
				for v := range b.Views {
					out[[2]int{i, v}] = b.Views[v][k*size : (k+1)*size]
				}
			}
		}
		return out
	}
	shuffled := views(opt)
	if cmp.Equal(shuffled[[2]int{3, 0}], shuffled[[2]int{3, 1}]) {
		t.Error("two views of an image are equal")
	}
	opt.Shuffle, opt.BatchSize = false, 9
	if diff := cmp.Diff(shuffled, views(opt)); diff != "" {
		t.Error(diff)
	}
	m, _ := src.Image(11)
	want := make([]float32, size)
	opt.Preprocess.Tensor(want, opt.Views[0].Policy.Apply(m, NewRand(opt.Seed, opt.Epoch, 11, 1)))
	if diff := cmp.Diff(want, shuffled[[2]int{11, 1}]); diff != "" {
		t.Error(diff)
	}
}

func TestLoaderReplacesUnreadable(t *testing.T) {
	src := memorySource{n: 10, bad: map[int]bool{3: true, 4: true, 9: true}}
	batches := drain(t, src, LoaderOptions{BatchSize: 5, Preprocess: EvalPreprocess(16), Workers: 3, DropLast: true})
	if diff := cmp.Diff([][]int{{0, 1, 2, 5, 5}, {5, 6, 7, 8, 0}}, [][]int{batches[0].Index, batches[1].Index}); diff != "" {
		t.Error(diff)
	}
	var skipped []string
	for _, b := range batches {
		for _, s := range b.Skipped {
			skipped = append(skipped, fmt.Sprint(s.Index, s.Name, s.Err))
		}
	}
	want := []string{"3image3augment: decode image3: broken", "4image4augment: decode image4: broken", "9image9augment: decode image9: broken"}
	if diff := cmp.Diff(len(want), len(skipped)); diff != "" {
		t.Errorf("%v", skipped)
	}
	for i := range want {
		if !strings.HasSuffix(skipped[i], "broken") || skipped[i][0] != want[i][0] {
			t.Errorf("skipped %v", skipped)
		}
	}
	all := memorySource{n: 3, bad: map[int]bool{0: true, 1: true, 2: true}}
	l, err := NewLoader(all, LoaderOptions{BatchSize: 2, Preprocess: EvalPreprocess(16)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Next(context.Background()); err == nil || !strings.Contains(err.Error(), "none of the 3 images could be read") {
		t.Errorf("got %v", err)
	}
}

func TestEvalLoader(t *testing.T) {
	src := memorySource{n: 11, bad: map[int]bool{6: true}}
	pre := EvalPreprocess(16)
	l, err := NewEvalLoader(src, pre, 4, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	next := 0
	want := make([]float32, pre.Len())
	for {
		b, err := l.Next(context.Background())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for k, i := range b.Index {
			if i != next {
				t.Fatalf("image %d, expected %d", i, next)
			}
			next++
			failed := b.Failed != nil && b.Failed[k] != nil
			if failed != (i == 6) {
				t.Errorf("image %d: failed %v", i, b.Failed)
			}
			clear(want)
			if m, err := src.Image(i); err == nil {
				pre.Tensor(want, m)
			}
			if !slices.Equal(want, b.Views[0][k*pre.Len():(k+1)*pre.Len()]) {
				t.Errorf("image %d: other values than Tensor's", i)
			}
		}
		l.Release(b)
	}
	if next != 11 {
		t.Errorf("%d images", next)
	}
	b := drain(t, src, LoaderOptions{BatchSize: 11, Preprocess: pre, Bytes: true, KeepFailed: true})[0]
	raw := make([]uint8, pre.Len())
	m, _ := src.Image(2)
	pre.Bytes(raw, m)
	if b.Views != nil || !slices.Equal(b.Pixels[0][2*pre.Len():3*pre.Len()], raw) {
		t.Error("Bytes: other samples than Preprocess.Bytes gives")
	}
}

func TestLoaderOptions(t *testing.T) {
	src := memorySource{n: 10}
	pre := EvalPreprocess(16)
	for want, opt := range map[string]LoaderOptions{
		"batch size 0":                           {Preprocess: pre},
		"larger than the data set of 10":         {Preprocess: pre, BatchSize: 11, DropLast: true},
		"start batch -1":                         {Preprocess: pre, BatchSize: 2, StartBatch: -1},
		"preprocessing: size 0x0":                {BatchSize: 2},
		"view 1 makes 8x8 pixels, the preproces": {BatchSize: 2, Preprocess: pre, Views: Alike(1, SimCLR(8))},
	} {
		l, err := NewLoader(src, opt)
		if err == nil {
			_, err = l.Next(context.Background())
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := NewLoader(memorySource{}, LoaderOptions{BatchSize: 1, Preprocess: pre}); !errors.Is(err, ErrNoImages) {
		t.Errorf("empty source: %v", err)
	}
}

func TestLoaderStops(t *testing.T) {
	before := runtime.NumGoroutine()
	l, err := NewLoader(memorySource{n: 1000}, trainOptions)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := l.Next(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := l.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	l.Close()
	l.Close()
	if _, err := l.Next(context.Background()); err != ErrClosed {
		t.Errorf("got %v", err)
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// A consumer that releases its batches makes the loader run in the memory of a few of them.
func TestLoaderReusesMemory(t *testing.T) {
	root := tree(t, "a/1.png", "b/2.png")
	var paths []string
	for range 500 {
		paths = append(paths, filepath.Join(root, "a", "1.png"), filepath.Join(root, "b", "2.png"))
	}
	src := Source(&fileSource{files: paths})
	pre := EvalPreprocess(64)
	l, err := NewEvalLoader(src, pre, 10, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seen := map[*float32]bool{}
	for {
		b, err := l.Next(context.Background())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		seen[&b.Views[0][0]] = true
		l.Release(b)
	}
	if len(seen) > 6 {
		t.Errorf("100 batches took %d buffers", len(seen))
	}
}
