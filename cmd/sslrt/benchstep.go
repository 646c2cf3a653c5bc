package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/engine/ortpass"
	"github.com/sslrt/sslrt/finetune/trace"
)

func newBenchStep(s streams, g *global) *cobra.Command {
	c := finetune.DefaultConfig()
	c.ImageSize = 32
	steps, traced := 10, false
	var without []string
	cmd := &cobra.Command{
		Use:   "step",
		Short: "Time training steps",
		Long: `Bench step times training steps (SimCLR, the default recipe) on random images, after
one step that is not counted, and prints the median and the largest memory of the
process. Decoding and augmentation are left out.

--trace prints where the time goes as ONNX Runtime profiles it, for each of its nodes
the best of the steps: by operation of the network, by kind of kernel, by layer. Of
convolutions and matrix products it prints GFLOP/s, two operations for each
multiplication that they ask for; the time of an operation holds that of all nodes
that serve it. The floor is the time that they would take at the fastest rate of a
convolution, which is measured beside the steps. Profiling itself takes a little time.

--without leaves out passes, by which ONNX Runtime's graph is rewritten before it runs,
to see what they gain: ` + strings.Join(engine.PassNames(ortpass.WithKernels(16)), ", ") + `,
or without the kernels that setup compiles (SSLRT_NO_KERNELS=1): ` + strings.Join(engine.PassNames(ortpass.Default(16)), ", ") + `.`,
		Example: `  sslrt bench step --batch-size 32
  sslrt bench step --without batch-norm-kernel,elementwise-kernel
  sslrt bench step --encoder resnet50 --threads 2 --trace --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if steps < 1 {
				return usagef("--steps is %d, want 1 or more", steps)
			}
			return benchStep(cmd.Context(), c, steps, traced, without, s, g)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Method, "method", c.Method, "simclr, autoencoder or denoise")
	f.StringVar(&c.Encoder, "encoder", c.Encoder, encoderHelp())
	f.StringVar(&c.Stem, "stem", c.Stem, "of a ResNet: cifar or imagenet (default: by image size)")
	f.IntVar(&c.Patch, "patch", c.Patch, "of a vision transformer, in pixels (default: by image size)")
	f.Float64Var(&c.Width, "width", c.Width, "factor on the encoder's channels")
	f.IntVar(&c.BatchSize, "batch-size", c.BatchSize, "images; a step runs all views of each")
	f.IntVar(&c.ImageSize, "image-size", c.ImageSize, "pixels")
	f.StringVar(&c.Engine, "engine", c.Engine, "auto, ort (ONNX Runtime) or go")
	f.StringVar(&c.Device, "device", c.Device, "cpu or cuda:0")
	f.IntVar(&c.Threads, "threads", c.Threads, "of the machine (default: all processors)")
	f.IntVar(&steps, "steps", steps, "that are timed")
	f.StringSliceVar(&without, "without", nil, "passes to leave out")
	f.BoolVar(&traced, "trace", traced, "print where the time goes")
	return cmd
}

// benchResult is what bench step prints under --json.
type benchResult struct {
	Median     float64        `json:"median_s"`
	Peak       int64          `json:"peak_bytes"`
	Times      []float64      `json:"times_s"`
	Compile    float64        `json:"compile_s"`
	Engine     string         `json:"engine"`
	Method     string         `json:"method"`
	Encoder    string         `json:"encoder"`
	Width      float64        `json:"width"`
	BatchSize  int            `json:"batch_size"`
	ImageSize  int            `json:"image_size"`
	Threads    int            `json:"threads"` // 0: all processors
	Trace      []trace.Kernel `json:"trace,omitempty"`
	Operations []trace.Part   `json:"operations,omitempty"`
	Layers     []trace.Part   `json:"layers,omitempty"`
	Floor      *benchFloor    `json:"floor,omitempty"`
	Memory     *benchMemory   `json:"memory,omitempty"`
}

// benchFloor compares a step with the least that it could take.
type benchFloor struct {
	FLOP        float64 `json:"flop"`            // of convolutions and matrix products, of one step
	Conv        float64 `json:"conv_flop_per_s"` // the fastest convolution
	MatMul      float64 `json:"matmul_flop_per_s"`
	Seconds     float64 `json:"seconds"`         // flop / conv_flop_per_s
	Nodes       float64 `json:"nodes_s"`         // the best times of all nodes together
	ShareNodes  float64 `json:"share_of_nodes"`  // seconds / nodes_s
	ShareMedian float64 `json:"share_of_median"` // seconds / median_s
}

type benchMemory struct {
	InUse int64 `json:"in_use_bytes"` // the largest amount that values took at a time
	Arena int64 `json:"arena_bytes"`  // what ONNX Runtime's allocator held
}

func benchStep(ctx context.Context, c finetune.Config, steps int, traced bool, without []string, s streams, g *global) error {
	b, err := finetune.BenchStep(ctx, c, steps, traced, without...)
	if err != nil {
		return err
	}
	if g.json {
		r := benchResult{
			Median: b.Median, Peak: b.Peak, Times: b.Times, Compile: b.Compile, Engine: b.Engine, Method: c.Method,
			Encoder: c.Encoder, Width: c.Width, BatchSize: c.BatchSize, ImageSize: c.ImageSize, Threads: c.Threads,
		}
		if t := b.Trace; t != nil {
			r.Trace, r.Operations, r.Layers = t.Kernels, t.Operations, t.Layers
			r.Floor = &benchFloor{t.FLOP, t.Fastest.Conv, t.Fastest.MatMul, t.Floor(), t.Seconds,
				t.Floor() / t.Seconds, t.Floor() / b.Median}
			r.Memory = &benchMemory{t.InUse, t.Arena}
		}
		return printJSON(s.out, r)
	}
	fmt.Fprintf(s.err, "engine: %s (%s); compiled in %.1f s\n", b.Engine, b.Why, b.Compile)
	_, err = fmt.Fprintf(s.out, "%s, %d images of %d px, %d steps: median %.3f s, fastest %.3f s, slowest %.3f s; %.1f images/s; peak memory %.0f MB\n",
		c.Encoder, c.BatchSize, c.ImageSize, steps, b.Median, slices.Min(b.Times), slices.Max(b.Times),
		float64(c.BatchSize)/b.Median, float64(b.Peak)/1e6)
	if err != nil || b.Trace == nil {
		return err
	}
	_, err = s.out.Write([]byte(traceText(b)))
	return err
}

// traceText prints the profile of a step as tables.
func traceText(b *finetune.StepBench) string {
	t := b.Trace
	var out strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&out, format, args...) }
	p("work: %.1f GFLOP of convolutions and matrix products a step: %.0f GFLOP/s over the median step, %.0f over the sum of the nodes' best times (%.3f s)\n",
		t.FLOP/1e9, t.FLOP/b.Median/1e9, t.FLOP/t.Seconds/1e9, t.Seconds)
	p("floor: %.3f s at %.0f GFLOP/s, the fastest convolution that was measured beside the steps (matrix product: %.0f): %.0f %% of the median step, %.0f %% of the nodes' time\n",
		t.Floor(), t.Fastest.Conv/1e9, t.Fastest.MatMul/1e9, 100*t.Floor()/b.Median, 100*t.Floor()/t.Seconds)
	p("memory: values take %.0f MB at the most, ONNX Runtime holds %.0f MB, the process %.0f MB\n",
		float64(t.InUse)/1e6, float64(t.Arena)/1e6, float64(b.Peak)/1e6)

	const row = "%-24s %-16s %9.1f %5.1f%% %6d %8s %7.1f\n"
	p("\n%-24s %-16s %9s %6s %6s %8s %7s\n", "operation", "", "ms", "share", "nodes", "GFLOP/s", "GB/s")
	for _, o := range t.Operations {
		p(row, o.Operation, o.Phase, 1e3*o.Seconds, 100*o.Seconds/t.Seconds, o.Nodes, gflops(o.FLOP, o.Seconds), rate(float64(o.Bytes), o.Seconds))
	}
	p("\n%-24s %-16s %9s %6s %6s %8s %7s\n", "kernel", "", "ms", "share", "nodes", "GFLOP/s", "GB/s")
	for _, k := range t.Kernels {
		p(row, k.Op, "", 1e3*k.Seconds, 100*k.Seconds/t.Seconds, k.Nodes, gflops(k.FLOP, k.Seconds), rate(float64(k.Bytes), k.Seconds))
	}
	p("%-24s %-16s %9.1f\n", "all", "", 1e3*t.Seconds)

	p("\n%-36s %18s %18s %18s %9s %6s\n", "layer: ms and GFLOP/s", "forward", "input gradient", "weight gradient", "all", "share")
	for _, l := range t.ByLayer() {
		p("%-36s", l.Name)
		for _, phase := range []string{trace.Forward, trace.InputGradient, trace.WeightGradient} {
			x, ms := l.Phases[phase], ""
			if x.Nodes > 0 {
				ms = fmt.Sprintf("%.1f", 1e3*x.Seconds)
			}
			p(" %9s %8s", ms, gflops(x.FLOP, x.Seconds))
		}
		p(" %9.1f %5.1f%%\n", 1e3*l.Total.Seconds, 100*l.Total.Seconds/t.Seconds)
	}
	return out.String()
}

// gflops prints a rate of operations, nothing for what has none.
func gflops(flop, seconds float64) string {
	if flop == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", rate(flop, seconds))
}

// rate returns billions a second, 0 for no time.
func rate(amount, seconds float64) float64 {
	if seconds == 0 {
		return 0
	}
	return amount / seconds / 1e9
}
