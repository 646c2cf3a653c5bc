package finetune

import "time"

// pace measures how fast a run goes. Its clock counts from an arbitrary moment and
// never goes back: no change of the computer's time of day moves it.
type pace struct {
	now     func() time.Duration
	started time.Duration
	waited  time.Duration // for data
	batches int           // done by this process
}

var processStart = time.Now()

// sinceStart is a clock that only goes forward.
func sinceStart() time.Duration { return time.Since(processStart) }

func newPace(now func() time.Duration) *pace { return &pace{now: now, started: now()} }

// wait measures what a function takes as waiting for data.
func (p *pace) wait(f func() error) error {
	asked := p.now()
	err := f()
	p.waited += p.now() - asked
	return err
}

// report says how fast the run goes, how much of the time it waits for data, and how
// long a number of batches will take at this speed.
func (p *pace) report(batchSize, batchesLeft int) (imagesPerS, dataWait float64, left time.Duration) {
	spent := p.now() - p.started
	if p.batches == 0 || spent <= 0 {
		return 0, 0, 0
	}
	imagesPerS = float64(p.batches*batchSize) / spent.Seconds()
	dataWait = p.waited.Seconds() / spent.Seconds()
	seconds := spent.Seconds() / float64(p.batches) * float64(batchesLeft)
	const most = 1e9 // what is longer than 30 years says no more, and does not fit
	return imagesPerS, dataWait, time.Duration(min(seconds, most) * float64(time.Second))
}
