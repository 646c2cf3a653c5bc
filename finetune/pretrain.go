package finetune

import (
	"context"
	"errors"
	"time"

	"github.com/sslrt/sslrt/augment"
)

// Plan says what a run will do.
type Plan struct {
	Dir           string
	Engine        string // name of the machine
	EngineWhy     string
	Weights       int // trainable values
	Images        int
	StepsPerEpoch int
	Statistics    bool           // the network normalises by statistics of the batch
	Start         CheckpointInfo // where it begins; zero without --resume
}

// Progress is the report of a batch.
type Progress struct {
	Step, Total int // steps done, and of the whole run
	Epoch       int // 1-based
	Loss        float64

	// Metrics are the means over the epoch so far, and the effective rank as it was
	// measured last.
	Metrics map[string]float64

	ImagesPerS float64       // since the start of this process
	DataWait   float64       // share of the time spent waiting for data
	Left       time.Duration // for the steps that are left, at the speed so far
}

// EpochReport sums up an epoch.
type EpochReport struct {
	Epoch   int                // 1-based
	Metrics map[string]float64 // means over the epoch's steps, and what was measured after it
}

// Events tell how a run goes. A nil function is not called.
type Events struct {
	Started func(Plan)
	Step    func(Progress)        // after each batch: a step has several where gradients accumulate
	Chunk   func(done, total int) // after each pass of a chunk, where a step has chunks
	Epoch   func(EpochReport)
	Warn    func(string)
}

// Result is what a finished run leaves.
type Result struct {
	Dir        string
	Steps      int // of the whole run
	Trained    int // of them by this process
	Epochs     int
	Metrics    map[string]float64 // of the last epoch
	Best       Best               // by Config.BestBy
	Stopped    bool               // before its last epoch: Config.Patience epochs brought nothing better
	Images     int                // that were trained on
	Skipped    int                // and could not be read
	Seconds    float64            // of this process, like the two that follow
	ImagesPerS float64
	DataWait   float64
}

// Pretrain trains until the run's epochs are done, from its newest checkpoint if
// there is one. When ctx ends, the step under way is finished, a checkpoint is
// written, and the error wraps the context's.
func Pretrain(ctx context.Context, run *Run, src augment.Source, ev Events) (*Result, error) {
	t, err := newTrainer(run, src, ev)
	if err != nil {
		return nil, err
	}
	res, err := t.train(ctx)
	if err := errors.Join(err, t.close()); err != nil {
		return nil, err
	}
	return res, nil
}
