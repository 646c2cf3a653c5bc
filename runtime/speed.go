package runtime

import (
	"context"
	"time"
)

// MeasureRuns runs the model alone, on images that are ready in memory, one run after the
// other as [Encoder.EmbedBatch] does, until n images are done, and returns how long that
// took. After it a batch job's own time tells what reading and preparing images cost.
func (e *Encoder) MeasureRuns(ctx context.Context, n int) (time.Duration, error) {
	net := e.net
	s := net.slots.Get().(*slot)
	defer net.slots.Put(s)
	for i := range s.floats { // no zeros, which might be fast
		s.floats[i] = float32(i%251)/125 - 1
	}
	for i := range s.pixels {
		s.pixels[i] = uint8(i % 251)
	}
	started := time.Now()
	for done := 0; done < n; done += net.filled {
		if err := net.session.Run(ctx, s.in, s.out); err != nil {
			return 0, err
		}
	}
	return time.Since(started), nil
}
