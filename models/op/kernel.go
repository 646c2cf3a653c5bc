package op

import (
	"runtime"
	"sync"

	"gorgonia.org/tensor"
)

// Helpers that kernels share. Every tensor in a graph is contiguous, in C order.

func f32(t *tensor.Dense) []float32 { return t.Float32s() }

func i64(t *tensor.Dense) []int64 { return t.Int64s() }

// tensorOf wraps data without a copy.
func tensorOf[T float32 | int64](data []T, sizes []int) *tensor.Dense {
	return tensor.New(tensor.WithShape(sizes...), tensor.WithBacking(data))
}

func zeros(sizes ...int) (*tensor.Dense, []float32) {
	n := 1
	for _, s := range sizes {
		n *= s
	}
	data := make([]float32, n)
	return tensorOf(data, sizes), data
}

// parallel calls f on pieces of 0..n-1, on all processors when there is work
// for them (n*cost operations in all).
func parallel(n, cost int, f func(lo, hi int)) {
	const worthwhile = 1 << 15
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers < 2 || n*cost < worthwhile {
		f(0, n)
		return
	}
	var wg sync.WaitGroup
	var failed any
	var once sync.Once
	for w := range workers {
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					once.Do(func() { failed = r })
				}
			}()
			f(w*n/workers, (w+1)*n/workers)
		})
	}
	wg.Wait()
	if failed != nil {
		panic(failed) // in the caller's goroutine, which turns it into an error
	}
}
