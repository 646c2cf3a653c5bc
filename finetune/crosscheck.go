package finetune

import (
	"context"
	"fmt"
	"math"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/train"
)

// Agreement says how far two machines agree on the same training steps.
type Agreement struct {
	Machines [2]string
	Losses   [2][]float64
	// MaxLoss is the largest difference of two losses.
	MaxLoss float64
	// FirstStep is the largest difference of a weight after the first step, beside
	// the largest weight. Later steps of a ReLU network separate for any two float32
	// programs.
	FirstStep float64
}

// CrossCheck runs the first steps of a configuration on both machines, with the
// same batches of batchSize images.
func CrossCheck(ctx context.Context, c Config, src augment.Source, batchSize, steps int) (Agreement, error) {
	c.BatchSize = min(batchSize, src.Len())
	var a Agreement
	var states [2]engine.Tensors
	for i, machine := range []string{"ort", "go"} {
		c.Engine = machine
		a.Machines[i] = machine
		var err error
		if a.Losses[i], states[i], err = firstSteps(ctx, c, src, steps); err != nil {
			return a, err
		}
	}
	for i := range a.Losses[0] {
		a.MaxLoss = math.Max(a.MaxLoss, math.Abs(a.Losses[0][i]-a.Losses[1][i]))
	}
	largest := 0.0
	for name, v := range states[0] {
		w := states[1][name].Float32s()
		for i, x := range v.Float32s() {
			a.FirstStep = math.Max(a.FirstStep, math.Abs(float64(x)-float64(w[i])))
			largest = math.Max(largest, math.Abs(float64(x)))
		}
	}
	a.FirstStep /= largest
	return a, nil
}

// firstSteps returns the losses of the first steps and the state after the first
// one.
func firstSteps(ctx context.Context, c Config, src augment.Source, steps int) ([]float64, engine.Tensors, error) {
	machine, _, err := c.Machine()
	if err != nil {
		return nil, nil, err
	}
	step, err := c.Step(src.Len() / c.BatchSize)
	if err != nil {
		return nil, nil, err
	}
	program, err := machine.Compile(step.Function)
	if err != nil {
		return nil, nil, err
	}
	defer program.Close()
	if err := program.Load(engine.Tensors(step.Params.Init(c.Seed))); err != nil {
		return nil, nil, err
	}
	o, err := c.Objective()
	if err != nil {
		return nil, nil, err
	}
	loader, err := augment.NewLoader(src, augment.LoaderOptions{BatchSize: c.BatchSize, Views: o.Views(),
		Policy: c.Policy(), Preprocess: c.Preprocess(), Seed: c.Seed, Shuffle: true, DropLast: true, Workers: c.Workers})
	if err != nil {
		return nil, nil, err
	}
	defer loader.Close()
	var losses []float64
	var first engine.Tensors
	for i := range steps {
		b, err := loader.Next(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("finetune: cross-check: batch %d: %w", i, err)
		}
		in := step.Inputs(train.Step{Index: i, Total: steps, Seed: c.Seed})
		if err := addBatch(in, step, b, &c); err != nil {
			return nil, nil, err
		}
		out, err := program.Run(ctx, in)
		if err != nil {
			return nil, nil, err
		}
		losses = append(losses, float64(out[train.OutputLoss].Float32s()[0]))
		if i == 0 {
			first = program.State()
		}
	}
	return losses, first, nil
}
