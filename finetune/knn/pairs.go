package knn

import (
	"context"
	"runtime"
	"sync"

	"github.com/sslrt/sslrt/finetune/distance"
)

// roundingOf32 is how far a float32 similarity may be from the exact one.
const roundingOf32 = 1e-5

// Pairs calls found for each pair i < j of vectors whose similarity is at least
// threshold, one call at a time, in no particular order. It compares all pairs.
func (ix *Index) Pairs(ctx context.Context, threshold float64, found func(i, j int, similarity float64)) error {
	n := ix.Len()
	blocks := make(chan int)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range min(runtime.GOMAXPROCS(0), (n+queryBlock-1)/queryBlock) {
		wg.Go(func() {
			sims := make([]float32, queryBlock*trainBlock)
			for lo := range blocks {
				hi := min(lo+queryBlock, n)
				for from := lo; from < n; from += trainBlock {
					cols := min(trainBlock, n-from)
					distance.Dots(sims, ix.rows(lo, hi), ix.rows(from, from+cols), ix.dim)
					for i := lo; i < hi; i++ {
						for c, s := range sims[(i-lo)*cols : (i-lo+1)*cols] {
							j := from + c
							if j <= i || float64(s) < threshold-roundingOf32 {
								continue
							}
							if exact := ix.Similarity(i, j); exact >= threshold {
								mu.Lock()
								found(i, j, exact)
								mu.Unlock()
							}
						}
					}
				}
			}
		})
	}
	var err error
	for lo := 0; lo < n && err == nil; lo += queryBlock {
		select {
		case blocks <- lo:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	close(blocks)
	wg.Wait()
	return err
}

func (ix *Index) rows(lo, hi int) []float32 { return ix.unit[lo*ix.dim : hi*ix.dim] }

// Similarity is the cosine of two vectors of the index.
func (ix *Index) Similarity(i, j int) float64 {
	sum := 0.0
	for k, v := range ix.unit[i*ix.dim : (i+1)*ix.dim] {
		sum += float64(v) * float64(ix.unit[j*ix.dim+k])
	}
	return sum
}
