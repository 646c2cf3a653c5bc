package finetune

import (
	"context"
	"fmt"
	"math"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
)

// Agreement says how far two machines agree on the same training steps.
type Agreement struct {
	Machines [2]string
	Losses   [2][]float64

	// Loss and Weight are the largest differences of a loss and of a weight after a
	// step, the latter beside the largest weight.
	Loss, Weight float64
}

// CrossCheck runs the first steps of a configuration on both machines, with the
// same batches of batchSize images. Each step starts from the same state on both:
// left alone, a ReLU network separates for any two float32 programs.
func CrossCheck(ctx context.Context, c Config, src augment.Source, batchSize, steps int) (Agreement, error) {
	c.BatchSize, c.Accumulate = min(batchSize, src.Len()), 1
	if c.Chunk > 0 { // two of them, or more
		c.Chunk = min(c.Chunk, max(1, c.BatchSize/2))
		c.BatchSize -= c.BatchSize % c.Chunk
	}
	var a Agreement
	var programs [2]engine.Program
	var step *train.Program
	for i, name := range []string{"ort", "go"} {
		c.Engine = name
		a.Machines[i] = name
		machine, _, err := c.Machine()
		if err != nil {
			return a, err
		}
		if step, err = c.Step(src.Len() / c.BatchSize); err != nil {
			return a, err
		}
		if programs[i], err = step.Compile(machine); err != nil {
			return a, err
		}
		defer programs[i].Close()
	}
	loader, err := c.loader(src, step, 0, 0)
	if err != nil {
		return a, err
	}
	defer loader.Close()
	initial, _, err := c.initialState(step.Params)
	if err != nil {
		return a, err
	}
	state := engine.Tensors(initial)
	for i := range steps {
		b, err := loader.Next(ctx)
		if err != nil {
			return a, fmt.Errorf("finetune: cross-check: batch %d: %w", i, err)
		}
		in := step.Inputs(train.Step{Index: i, Total: steps, Seed: c.Seed})
		if err := addBatch(in, step, b, &c); err != nil {
			return a, err
		}
		var after [2]engine.Tensors
		for k, p := range programs {
			if err := p.Load(state); err != nil {
				return a, err
			}
			out, err := p.Run(ctx, in)
			if err != nil {
				return a, err
			}
			a.Losses[k] = append(a.Losses[k], float64(out[train.OutputLoss].Float32s()[0]))
			after[k] = p.State()
		}
		a.Loss = math.Max(a.Loss, math.Abs(a.Losses[0][i]-a.Losses[1][i]))
		a.Weight = math.Max(a.Weight, weightDifference(step.Params, after))
		state = after[0]
	}
	return a, nil
}

// weightDifference is the largest difference of a weight in two states beside the
// largest weight.
func weightDifference(p *models.Params, states [2]engine.Tensors) float64 {
	worst, largest := 0.0, 0.0
	for _, s := range p.Trainable() {
		w := states[1][s.Name].Float32s()
		for i, v := range states[0][s.Name].Float32s() {
			worst = math.Max(worst, math.Abs(float64(v)-float64(w[i])))
			largest = math.Max(largest, math.Abs(float64(v)))
		}
	}
	return worst / largest
}
