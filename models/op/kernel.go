package op

import (
	"runtime"
	"sync"

	"gorgonia.org/tensor"
)

// Helpers that kernels share. Every tensor in a graph is contiguous, in C order.

func f32(t *tensor.Dense) []float32 { return t.Float32s() }

func i64(t *tensor.Dense) []int64 { return t.Int64s() }

// element is a Go type that the elements of a tensor can have.
type element interface{ float32 | int64 | int32 | bool }

// elements returns the elements of a tensor, without a copy.
func elements[T element](t *tensor.Dense) []T {
	var out any
	switch any(*new(T)).(type) {
	case float32:
		out = t.Float32s()
	case int64:
		out = t.Int64s()
	case int32:
		out = t.Int32s()
	default:
		out = t.Bools()
	}
	return out.([]T)
}

// tensorOf wraps data without a copy.
func tensorOf[T element](data []T, sizes []int) *tensor.Dense {
	return tensor.New(tensor.WithShape(sizes...), tensor.WithBacking(data))
}

// blank returns a tensor of zeros, or of false.
func blank(d DType, sizes []int) *tensor.Dense {
	n := Dims(sizes...).Size()
	switch d {
	case Int64:
		return tensorOf(make([]int64, n), sizes)
	case Int32:
		return tensorOf(make([]int32, n), sizes)
	case Bool:
		return tensorOf(make([]bool, n), sizes)
	}
	return tensorOf(make([]float32, n), sizes)
}

// blankLike returns a tensor of zeros with the element type of x.
func blankLike(x *tensor.Dense, sizes []int) *tensor.Dense {
	d, _ := DTypeOf(x)
	return blank(d, sizes)
}

// run is a row of elements on their way: n of them, from every step-th place after
// at in a tensor, to the places after to in another.
type run struct{ to, at, n, step int }

// move copies rows of elements of any type from x to y: row(i) for i in 0..rows-1.
// Rows must not meet in y.
func move(y, x *tensor.Dense, rows, cost int, row func(i int) run) {
	switch x.Dtype() {
	case tensor.Int64:
		moveElements[int64](y, x, rows, cost, row)
	case tensor.Int32:
		moveElements[int32](y, x, rows, cost, row)
	case tensor.Bool:
		moveElements[bool](y, x, rows, cost, row)
	default:
		moveElements[float32](y, x, rows, cost, row)
	}
}

func moveElements[T element](yt, xt *tensor.Dense, rows, cost int, row func(i int) run) {
	y, x := elements[T](yt), elements[T](xt)
	parallel(rows, cost, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			r := row(i)
			if r.step == 1 {
				copy(y[r.to:r.to+r.n], x[r.at:])
				continue
			}
			at := r.at
			for k := range r.n {
				y[r.to+k] = x[at]
				at += r.step
			}
		}
	})
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
