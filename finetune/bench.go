package finetune

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/finetune/trace"
	"github.com/sslrt/sslrt/finetune/train"
)

// StepBench says how long training steps take.
type StepBench struct {
	Engine  string
	Why     string    // why this machine
	Compile float64   // seconds to build the graph and compile it
	Times   []float64 // seconds of each step after the first, which sets up memory
	Median  float64   // of Times
	Peak    int64     // the process's largest resident size in bytes, 0 if unknown
	Trace   *Trace    // if asked for
}

// Trace is the profile of a step beside what this machine can do.
type Trace struct {
	*trace.Report
	Fastest trace.Rates // measured before and after the steps
}

// Floor returns the seconds that the step's convolutions and matrix products would
// take at the fastest rate of a convolution that was measured.
func (t *Trace) Floor() float64 { return t.FLOP / t.Fastest.Conv }

// BenchStep times steps of a configuration on random images after one that is not
// counted. Data and their decoding are left out. traced asks where the time goes,
// which only ONNX Runtime can tell and which makes steps a little slower. without names
// passes over the model that are left out (see engine.ORT), to see what they gain.
func BenchStep(ctx context.Context, c Config, steps int, traced bool, without ...string) (*StepBench, error) {
	if steps < 1 {
		return nil, fmt.Errorf("finetune: bench: the number of steps is %d, want 1 or more", steps)
	}
	if c.Method == MethodSupervised {
		return nil, fmt.Errorf("finetune: bench: method %s has labels, which random images have not: choose another", c.Method)
	}
	if c.BatchSize < 2 {
		return nil, fmt.Errorf("finetune: bench: the batch size is %d, want 2 or more", c.BatchSize)
	}
	if c.ImageSize == 0 {
		c.ImageSize = 32
	}
	if err := c.Resolve(emptyImages(c.BatchSize)); err != nil {
		return nil, err
	}
	machine, why, err := c.Machine()
	if err != nil {
		return nil, err
	}
	fast, ok := machine.(engine.ORT)
	switch {
	case ok:
		fast.Without = without
		machine = fast
	case traced:
		return nil, fmt.Errorf("finetune: bench: the %s engine has no trace: choose ort", machine.Name())
	case len(without) > 0:
		return nil, fmt.Errorf("finetune: bench: the %s engine has no passes to leave out: choose ort", machine.Name())
	}
	step, err := c.Step(1)
	if err != nil {
		return nil, err
	}
	b := &StepBench{Engine: machine.Name(), Why: why}
	if !traced {
		return b, b.run(ctx, machine, &c, step, steps)
	}
	if err := b.trace(ctx, fast, &c, step, steps); err != nil {
		return nil, fmt.Errorf("finetune: bench: %w", err)
	}
	return b, nil
}

// trace is run with a profile.
func (b *StepBench) trace(ctx context.Context, m engine.ORT, c *Config, step *train.Program, steps int) error {
	dir, err := os.MkdirTemp("", "sslrt-trace-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	before, err := trace.Measure(ctx, m.Options)
	if err != nil {
		return err
	}
	files := trace.NewFiles(dir)
	profiled := m
	profiled.Options.Profile, profiled.Options.Optimized = files.Profile, files.Optimized
	if err := b.run(ctx, profiled, c, step, steps); err != nil {
		return err
	}
	report, err := trace.Read(step.Function, files)
	if err != nil {
		return err
	}
	after, err := trace.Measure(ctx, m.Options)
	b.Trace = &Trace{report, before.Faster(after)}
	return err
}

// run compiles the step and times it. It closes the machine's program, which is
// when a profile is written.
func (b *StepBench) run(ctx context.Context, m engine.Machine, c *Config, step *train.Program, steps int) (err error) {
	started := time.Now()
	p, err := m.Compile(step.Function)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	b.Compile = time.Since(started).Seconds()
	if err := p.Load(engine.Tensors(step.Params.Init(c.Seed))); err != nil {
		return err
	}
	shape := []int{step.Views * c.BatchSize, c.Channels, c.ImageSize, c.ImageSize}
	views := make([]float32, shape[0]*shape[1]*shape[2]*shape[3])
	r := rand.New(rand.NewPCG(c.Seed, 0))
	for i := range views {
		views[i] = float32(r.NormFloat64())
	}
	for i := range steps + 1 {
		if err := ctx.Err(); err != nil {
			return err
		}
		in := step.Inputs(train.Step{Index: i, Total: steps + 1, Seed: c.Seed})
		in[train.InputViews] = engine.NewTensor(views, shape...)
		started := time.Now()
		if _, err := p.Run(ctx, in); err != nil {
			return err
		}
		if i > 0 {
			b.Times = append(b.Times, time.Since(started).Seconds())
		}
	}
	b.Median = metrics.Quantile(b.Times, 0.5)
	b.Peak = peakMemory()
	return nil
}

// emptyImages stands for a source of this many images where only their number
// counts.
type emptyImages int

func (n emptyImages) Len() int        { return int(n) }
func (emptyImages) Name(i int) string { return fmt.Sprint(i) }
func (emptyImages) Label(int) int     { return -1 }
func (emptyImages) Classes() []string { return nil }
func (emptyImages) Close() error      { return nil }
func (emptyImages) Image(i int) (*augment.Image, error) {
	return nil, fmt.Errorf("image %d: there are no pixels", i)
}
