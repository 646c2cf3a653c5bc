package main

import (
	"context"
	"fmt"
	"time"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
)

// dryRunResult is what pretrain --dry-run prints under --json.
type dryRunResult struct {
	Method        string  `json:"method"`
	Encoder       string  `json:"encoder"`
	Width         float64 `json:"width"`
	Stem          string  `json:"stem,omitempty"`
	Patch         int     `json:"patch,omitempty"`
	ImageSize     int     `json:"image_size"`
	Parameters    int     `json:"parameters"`
	Images        int     `json:"images"`
	BatchSize     int     `json:"batch_size"`
	Chunk         int     `json:"chunk,omitempty"`
	Epochs        int     `json:"epochs"`
	StepsPerEpoch int     `json:"steps_per_epoch"`
	Steps         int     `json:"steps"`
	Engine        string  `json:"engine"`
	Compile       float64 `json:"compile_s"`
	Batch         float64 `json:"batch_s"`
	Step          float64 `json:"step_s"`
	Total         float64 `json:"total_s"`
	Memory        int64   `json:"memory_bytes"` // 0: unknown
}

// dryRun prints what a run would do.
func dryRun(ctx context.Context, c finetune.Config, src augment.Source, s streams, g *global) error {
	f, err := finetune.DryRun(ctx, c, src)
	if err != nil {
		return err
	}
	if g.json {
		return printJSON(s.out, dryRunResult{
			Method: c.Method, Encoder: c.Encoder, Width: c.Width, Stem: c.Stem, Patch: c.Patch, ImageSize: c.ImageSize,
			Parameters: f.Weights, Images: f.Images, BatchSize: c.BatchSize, Chunk: c.Chunk, Epochs: c.Epochs,
			StepsPerEpoch: f.StepsPerEpoch, Steps: f.Steps, Engine: f.Engine, Compile: f.Compile.Seconds(),
			Batch: f.Batch.Seconds(), Step: f.Step.Seconds(), Total: f.Total.Seconds(), Memory: f.Memory,
		})
	}
	batch := fmt.Sprint(c.BatchSize)
	if c.Chunk > 0 {
		batch += ", " + chunkNote(&c, f.Plan)
	}
	memory := "unknown on this system"
	if f.Memory > 0 {
		memory = fmt.Sprintf("%.0f MB, the most that this trial used", float64(f.Memory)/1e6)
	}
	_, err = fmt.Fprintf(s.out, `dry run: nothing was written
encoder      %s, %d px, %d channels
method       %s, optimizer %s, learning rate %g, schedule %s
parameters   %d
images       %d
batch        %s
steps        %d: %d epochs of %d
engine       %s (%s)
memory       %s
compiling    %v
one batch    %v to decode and augment, beside the steps
one step     %v
all steps    %v; measuring after each epoch comes on top
`,
		c.EncoderText(), c.ImageSize, c.Channels,
		c.Method, c.Optimizer, c.LR, c.Schedule,
		f.Weights, f.Images, batch, f.Steps, c.Epochs, f.StepsPerEpoch, f.Engine, f.EngineWhy, memory,
		f.Compile.Round(time.Millisecond), f.Batch.Round(time.Millisecond), f.Step.Round(100*time.Microsecond), f.Total.Round(100*time.Millisecond))
	return err
}
