package finetune

import (
	"errors"
	"math"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	now := 7 * time.Hour
	p := newPace(func() time.Duration { return now })
	if images, wait, left := p.report(8, 100); images != 0 || wait != 0 || left != 0 {
		t.Errorf("before the first batch: %g images/s, %g, %v", images, wait, left)
	}
	for range 4 {
		err := p.wait(func() error { now += time.Second; return errors.ErrUnsupported })
		if err != errors.ErrUnsupported {
			t.Fatal(err)
		}
		now += 3 * time.Second
		p.batches++
	}
	images, wait, left := p.report(8, 100)
	if images != 2 || wait != 0.25 || left != 400*time.Second {
		t.Errorf("%g images/s, %g of the time waiting, %v left; want 2, 0.25, 400 s", images, wait, left)
	}
	if _, _, left := p.report(8, math.MaxInt); left < 0 {
		t.Errorf("%v left of a very long run", left)
	}
}

// A computer's clock that is set does not move this one: it is read as a duration
// from Go's monotonic clock, and never as a time of day.
func TestClockOnlyGoesForward(t *testing.T) {
	if processStart.Round(0) == processStart {
		t.Error("the start of the process was taken without a monotonic reading")
	}
	last := sinceStart()
	for range 1000 {
		if now := sinceStart(); now < last {
			t.Fatalf("%v after %v", now, last)
		} else {
			last = now
		}
	}
}
