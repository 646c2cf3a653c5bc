package augment

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
)

// countedSource counts what is decoded.
type countedSource struct {
	memorySource
	size    int
	decoded *atomic.Int64
}

func (s countedSource) Image(i int) (*Image, error) {
	if s.bad[i] {
		return nil, errors.New("broken")
	}
	s.decoded.Add(1)
	return gradient(s.size, s.size, i), nil
}

func TestCached(t *testing.T) {
	const size = 10 // 300 bytes and their record
	for _, c := range []struct {
		name             string
		n                int
		limit            Memory
		decoded          int64 // in three visits of all
		bad              map[int]bool
		visits, decoders int
	}{
		{"all fit", 100, 1 << 20, 100, nil, 3, 1},
		{"half fit", 100, 50 * 364, 50*3 + 50, nil, 3, 1},
		{"a tenth fits and is given up", 1000, 100 * 364, 3000, nil, 3, 1},
		{"one image is too large", 3, 100, 9, nil, 3, 1},
		{"no cache", 10, 0, 30, nil, 3, 1},
		{"failures are not kept", 10, 1 << 20, 8, map[int]bool{3: true, 4: true}, 3, 1},
	} {
		var decoded atomic.Int64
		s := Cached(countedSource{memorySource{n: c.n, bad: c.bad}, size, &decoded}, c.limit)
		for range c.visits {
			for i := range c.n {
				m, err := s.Image(i)
				if (err != nil) != c.bad[i] {
					t.Fatalf("%s: image %d: %v", c.name, i, err)
				}
				if err == nil && m.Pix[1] != gradient(size, size, i).Pix[1] {
					t.Fatalf("%s: image %d is another", c.name, i)
				}
			}
		}
		if got := decoded.Load(); got != c.decoded {
			t.Errorf("%s: %d decoded, want %d", c.name, got, c.decoded)
		}
		if k, ok := s.(*cachedSource); ok && k.used.Load() > int64(c.limit) {
			t.Errorf("%s: %d bytes used of %d", c.name, k.used.Load(), c.limit)
		}
	}
}

func TestCachedConcurrently(t *testing.T) {
	var decoded atomic.Int64
	s := Cached(countedSource{memorySource{n: 500}, 10, &decoded}, 400*364)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				if m, err := s.Image((i*7 + w) % 500); err != nil || m.Pix[1] != gradient(10, 10, (i*7+w)%500).Pix[1] {
					t.Errorf("image %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	if used := s.(*cachedSource).used.Load(); used > 400*364 {
		t.Errorf("%d bytes used", used)
	}
}

// Batches from a cache are those without, epoch after epoch: nothing changes the images that are kept.
func TestLoaderCached(t *testing.T) {
	var decoded atomic.Int64
	plain := countedSource{memorySource{n: 20}, 24, &decoded}
	cached := Cached(plain, 1<<20)
	policy, err := ParsePolicy([]byte("[RandomInvert, RandomHorizontalFlip, ColorJitter: {brightness: 0.5, hue: 0.1}, RandomCrop: {size: 16}, GaussianBlur: {kernel_size: 3}]"))
	if err != nil {
		t.Fatal(err)
	}
	opt := LoaderOptions{BatchSize: 5, Views: Views{{Policy: policy}, {Policy: SimCLR(16)}, {}}, Preprocess: EvalPreprocess(16), Seed: 1}
	for epoch := range 3 {
		opt.Epoch = epoch
		want := drain(t, plain, opt)
		before := decoded.Load()
		got := drain(t, cached, opt)
		if n := decoded.Load() - before; epoch == 0 && n != 20 || epoch > 0 && n != 0 {
			t.Errorf("epoch %d: %d images decoded", epoch, n)
		}
		for i := range want {
			if diff := same(want[i], got[i]); diff != "" {
				t.Fatalf("epoch %d, batch %d: %s", epoch, i, diff)
			}
		}
	}
}

// Once it runs, the loader takes no memory for an image: some for a batch only.
func TestLoaderAllocations(t *testing.T) {
	var decoded atomic.Int64
	src := Cached(countedSource{memorySource{n: 64}, 40, &decoded}, 1<<20)
	run := func(images int) float64 {
		return testing.AllocsPerRun(5, func() {
			l, err := NewLoader(src, LoaderOptions{BatchSize: images, Views: Alike(2, SimCLR(70)), Preprocess: EvalPreprocess(70), Workers: 1, Prefetch: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			for {
				b, err := l.Next(context.Background())
				if err == io.EOF {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				l.Release(b)
			}
		})
	}
	run(64)
	// 64 images either way: one batch of 64, then 32 batches of 2. An allocation an image would be 64.
	one, many := run(64), run(2)
	if one > 60 {
		t.Errorf("%g allocations for one batch of 64 images", one)
	}
	t.Logf("%g allocations for one batch of 64 images, %g for 32 batches", one, many)
}

func TestMemory(t *testing.T) {
	for text, want := range map[string]Memory{"512MiB": 512 << 20, "2GiB": 2 << 30, "3 KiB": 3 << 10, "1000": 1000, "0": 0} {
		got, err := ParseMemory(text)
		if err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
		if again, err := ParseMemory(got.String()); err != nil || again != got {
			t.Errorf("%s became %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5GiB", "9999999999GiB", "512MB", "1e9"} {
		if m, err := ParseMemory(text); err == nil {
			t.Errorf("%q gave %v", text, m)
		}
	}
}
