package finetune

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/train"
)

// Forecast is what a run would do and cost.
type Forecast struct {
	Plan      // without a directory
	Steps int // of the whole run

	Compile time.Duration // to build the graph and compile it
	Batch   time.Duration // to decode and augment a batch, which is done beside the steps
	Step    time.Duration // one step, with all the batches that it accumulates
	Total   time.Duration // Steps of them; measuring and saving come on top
	Memory  int64         // the process's largest resident size in bytes, 0 if unknown
}

// DryRun takes the first batch of a resolved configuration, runs two steps on it and
// times the second. It writes nothing.
func DryRun(ctx context.Context, c Config, src augment.Source) (f *Forecast, err error) {
	src, _, err = c.parts(src)
	if err != nil {
		return nil, err
	}
	perEpoch := c.stepsPerEpoch(src.Len())
	started := time.Now()
	step, err := c.Step(perEpoch)
	if err != nil {
		return nil, err
	}
	machine, why, err := c.Machine()
	if err != nil {
		return nil, err
	}
	program, err := step.Compile(machine)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, program.Close()) }()
	f = &Forecast{Plan: Plan{Engine: machine.Name(), EngineWhy: why, Images: src.Len(), StepsPerEpoch: perEpoch, Statistics: len(step.Statistics) > 0},
		Steps: c.Epochs * perEpoch, Compile: time.Since(started)}
	for _, s := range step.Params.Trainable() {
		f.Weights += s.Node.Size()
	}
	state, _, err := c.initialState(step.Params)
	if err != nil {
		return nil, err
	}
	if err := program.Load(engine.Tensors(state)); err != nil {
		return nil, err
	}
	started = time.Now()
	batch, err := firstBatch(ctx, &c, step, src)
	if err != nil {
		return nil, err
	}
	f.Batch = time.Since(started)
	for range 2 { // the first one sets up memory
		in := step.Inputs(train.Step{Total: max(2, f.Steps), Batch: c.Accumulate - 1, Seed: c.Seed})
		if err := addBatch(in, step, batch, &c); err != nil {
			return nil, err
		}
		started = time.Now()
		if _, err := program.Run(ctx, in); err != nil {
			return nil, err
		}
		f.Step = time.Duration(c.Accumulate) * time.Since(started)
	}
	f.Total = time.Duration(f.Steps) * f.Step
	f.Memory = peakMemory()
	return f, nil
}

// firstBatch returns the batch that a run starts with.
func firstBatch(ctx context.Context, c *Config, step *train.Program, src augment.Source) (*augment.Batch, error) {
	loader, err := c.loader(src, step, 0, 0)
	if err != nil {
		return nil, err
	}
	defer loader.Close()
	b, err := loader.Next(ctx)
	if err != nil {
		return nil, fmt.Errorf("finetune: first batch: %w", err)
	}
	return b, nil
}
