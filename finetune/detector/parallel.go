package detector

import (
	"runtime"
	"sync"
)

// parallel calls f for parts of [0, n) on all processors.
func parallel(n int, f func(lo, hi int)) {
	parts := min(n, runtime.GOMAXPROCS(0))
	if parts < 2 {
		f(0, n)
		return
	}
	var wg sync.WaitGroup
	for k := range parts {
		wg.Go(func() { f(k*n/parts, (k+1)*n/parts) })
	}
	wg.Wait()
}
