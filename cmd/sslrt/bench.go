package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/finetune"
)

func newBench(s streams, g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench step|augment|embed",
		Short: "Measure how fast this machine is",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, args []string) error { return usagef("say what to measure: bench step") },
	}
	cmd.AddCommand(newBenchStep(s, g))
	for _, missing := range []string{"augment", "embed"} {
		cmd.AddCommand(&cobra.Command{
			Use:   missing,
			Short: "Not built yet",
			RunE: func(*cobra.Command, []string) error {
				return fmt.Errorf("bench %s is not built yet: choose step", missing)
			},
		})
	}
	return cmd
}

func newBenchStep(s streams, g *global) *cobra.Command {
	c := finetune.DefaultConfig()
	c.ImageSize = 32
	steps, trace := 10, false
	cmd := &cobra.Command{
		Use:   "step",
		Short: "Time training steps",
		Long: `Bench step times training steps (SimCLR, the default recipe) on random images, after
one step that is not counted, and prints the median and the largest memory of the
process. Decoding and augmentation are left out.

--trace prints the time by kind of operator as ONNX Runtime profiles it: for each
node the best of the steps. Profiling itself takes a little time.`,
		Example: `  sslrt bench step --batch-size 32
  sslrt bench step --encoder resnet50 --threads 2 --trace --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if steps < 1 {
				return usagef("--steps is %d, want 1 or more", steps)
			}
			return benchStep(cmd.Context(), c, steps, trace, s, g)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Encoder, "encoder", c.Encoder, encoderHelp())
	f.IntVar(&c.Patch, "patch", c.Patch, "of a vision transformer, in pixels (default: by image size)")
	f.Float64Var(&c.Width, "width", c.Width, "factor on the encoder's channels")
	f.IntVar(&c.BatchSize, "batch-size", c.BatchSize, "images; a step runs two views of each")
	f.IntVar(&c.ImageSize, "image-size", c.ImageSize, "pixels")
	f.StringVar(&c.Engine, "engine", c.Engine, "auto, ort (ONNX Runtime) or go")
	f.StringVar(&c.Device, "device", c.Device, "cpu or cuda:0")
	f.IntVar(&c.Threads, "threads", c.Threads, "of the machine (default: all processors)")
	f.IntVar(&steps, "steps", steps, "that are timed")
	f.BoolVar(&trace, "trace", trace, "print the time by kind of operator")
	return cmd
}

// benchResult is what bench step prints under --json.
type benchResult struct {
	Median    float64           `json:"median_s"`
	Peak      int64             `json:"peak_bytes"`
	Times     []float64         `json:"times_s"`
	Compile   float64           `json:"compile_s"`
	Engine    string            `json:"engine"`
	Encoder   string            `json:"encoder"`
	Width     float64           `json:"width"`
	BatchSize int               `json:"batch_size"`
	ImageSize int               `json:"image_size"`
	Threads   int               `json:"threads"` // 0: all processors
	Trace     []finetune.OpTime `json:"trace,omitempty"`
}

func benchStep(ctx context.Context, c finetune.Config, steps int, trace bool, s streams, g *global) error {
	b, err := finetune.BenchStep(ctx, c, steps, trace)
	if err != nil {
		return err
	}
	if g.json {
		return printJSON(s.out, benchResult{
			Median: b.Median, Peak: b.Peak, Times: b.Times, Compile: b.Compile, Engine: b.Engine, Encoder: c.Encoder,
			Width: c.Width, BatchSize: c.BatchSize, ImageSize: c.ImageSize, Threads: c.Threads, Trace: b.Trace,
		})
	}
	fmt.Fprintf(s.err, "engine: %s (%s); compiled in %.1f s\n", b.Engine, b.Why, b.Compile)
	fmt.Fprintf(s.out, "%s, %d images of %d px, %d steps: median %.3f s, fastest %.3f s, slowest %.3f s; %.1f images/s; peak memory %.0f MB\n",
		c.Encoder, c.BatchSize, c.ImageSize, steps, b.Median, slices.Min(b.Times), slices.Max(b.Times),
		float64(c.BatchSize)/b.Median, float64(b.Peak)/1e6)
	if !trace {
		return nil
	}
	total := 0.0
	for _, o := range b.Trace {
		total += o.Seconds
	}
	fmt.Fprintf(s.out, "%-28s %9s %6s %6s\n", "operator", "ms", "share", "nodes")
	for _, o := range b.Trace {
		fmt.Fprintf(s.out, "%-28s %9.1f %5.1f%% %6d\n", o.Op, 1e3*o.Seconds, 100*o.Seconds/total, o.Nodes)
	}
	_, err = fmt.Fprintf(s.out, "%-28s %9.1f\n", "all", 1e3*total)
	return err
}
