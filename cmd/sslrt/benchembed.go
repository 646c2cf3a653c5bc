package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/runtime"
)

// embedBench is what bench embed measures.
type embedBench struct {
	encoderFlags
	data   dataFlags
	images int
	rounds int
	cold   int
	lib    string // ONNX Runtime's, that the processes of cold starts take too
}

func newBenchEmbed(s streams, g *global) *cobra.Command {
	b := embedBench{rounds: 3, cold: 5}
	cmd := &cobra.Command{
		Use:   "embed MODEL.onnx DATA...",
		Short: "Time embedding: the whole job, the model alone, reading, a cold start",
		Long: `Bench embed measures how fast images become embeddings, as sslrt embed makes them,
results thrown away:

  job          the whole job, images a second, and its share of the session's rate
  session      ONNX Runtime alone, on images that are ready: one run after the other
               on all threads
  preparation  processor time of one core for an image: decode, resize, tensor
  cold start   from the start of a process to the embedding of one image

Job and session take turns, and the median of the rounds counts; of the preparation
and the cold start the least.`,
		Example: `  sslrt bench embed encoder.onnx photos/
  sslrt bench embed encoder.onnx photos/ --images 1000 --threads 2 --workers 2 --json`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if b.images < 0 || b.rounds < 1 || b.cold < 0 {
				return usagef("got --images %d, --rounds %d, --cold %d: want 0, 1, 0 or more", b.images, b.rounds, b.cold)
			}
			src, err := b.data.open(args[1:], "", s)
			if err != nil {
				return err
			}
			defer src.Close()
			b.lib = g.lib
			r, err := b.run(cmd.Context(), args[0], augment.First(src, b.images))
			if err != nil {
				return err
			}
			if g.json {
				return printJSON(s.out, r)
			}
			_, err = io.WriteString(s.out, r.text())
			return err
		},
	}
	b.register(cmd)
	f := cmd.Flags()
	f.IntVar(&b.images, "images", 0, "the first of the data; 0: all")
	f.IntVar(&b.rounds, "rounds", b.rounds, "of the job and the session alone")
	f.IntVar(&b.cold, "cold", b.cold, "cold starts; 0: none")
	b.data.register(f, true)
	leaveOut(cmd, "strict")
	return cmd
}

// embedResult is what bench embed prints under --json.
type embedResult struct {
	Images   int            `json:"images"`
	Job      float64        `json:"images_per_s"`         // of the whole job
	Session  float64        `json:"session_images_per_s"` // of ONNX Runtime alone
	Share    float64        `json:"share"`                // of the two
	Prepare  float64        `json:"prepare_cpu_ms"`       // of one core, an image
	PerCore  float64        `json:"prepare_images_per_s_core"`
	Stages   []augmentStage `json:"stages"`
	Cold     []float64      `json:"cold_s,omitempty"` // each cold start
	ColdBest float64        `json:"cold_best_s,omitempty"`
	Threads  int            `json:"threads"`
	Workers  int            `json:"workers"`
	Decoder  string         `json:"jpeg_decoder"`
}

func (b *embedBench) run(ctx context.Context, model string, src augment.Source) (*embedResult, error) {
	r := &embedResult{Images: src.Len(), Threads: b.threads, Workers: b.job.Workers, Decoder: augment.Decoders}
	for _, n := range []*int{&r.Threads, &r.Workers} {
		if *n == 0 {
			*n = goruntime.GOMAXPROCS(0)
		}
	}
	var err error
	if r.Cold, err = b.coldStarts(ctx, model, src); err != nil {
		return nil, err
	}
	if len(r.Cold) > 0 {
		r.ColdBest = slices.Min(r.Cold)
	}
	job, err := b.loadFor(model, src.Len())
	if err != nil {
		return nil, err
	}
	defer job.Close()
	alone, err := b.load(model)
	if err != nil {
		return nil, err
	}
	defer alone.Close()
	var jobs, runs []float64
	for range b.rounds {
		started := time.Now()
		sum, err := runtime.EmbedAll(ctx, job, src, nowhere{}, b.job)
		if err != nil {
			return nil, err
		}
		if len(sum.Skipped) > 0 {
			return nil, fmt.Errorf("bench embed: %d images cannot be read; the first: %w", len(sum.Skipped), sum.Skipped[0].Err)
		}
		jobs = append(jobs, float64(src.Len())/time.Since(started).Seconds())
		// A third of the images tells the rate as well.
		n := max(src.Len()/3, 1)
		took, err := alone.MeasureRuns(ctx, n)
		if err != nil {
			return nil, err
		}
		runs = append(runs, float64(n)/took.Seconds())
	}
	r.Job, r.Session = metrics.Quantile(jobs, 0.5), metrics.Quantile(runs, 0.5)
	r.Share = r.Job / r.Session
	seconds, stages, err := augment.MeasureViews(ctx, src, augment.Views{{}}, job.Preprocess(), min(src.Len(), 128), 3)
	if err != nil {
		return nil, err
	}
	r.Prepare, r.PerCore = 1e3*seconds, 1/seconds
	for _, st := range stages {
		r.Stages = append(r.Stages, augmentStage{st.Name, 1e3 * st.Seconds})
	}
	return r, nil
}

// nowhere is a sink of embeddings that keeps none.
type nowhere struct{}

func (nowhere) Write(string, string, []float32) error { return nil }

// coldStarts runs this program on the first image, again and again, and returns the
// seconds that each took.
func (b *embedBench) coldStarts(ctx context.Context, model string, src augment.Source) ([]float64, error) {
	if b.cold == 0 {
		return nil, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sslrt-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	image := src.Name(0)
	if info, err := os.Stat(image); err != nil || !info.Mode().IsRegular() { // a part of an archive
		m, err := src.Image(0)
		if err != nil {
			return nil, err
		}
		image = filepath.Join(dir, "image.png")
		if err := m.WritePNG(image); err != nil {
			return nil, err
		}
	}
	args := []string{os.Args[0], "embed", model, image, "--output", filepath.Join(dir, "image.npy"), "--device", b.device, "--threads", fmt.Sprint(b.threads)}
	for _, f := range []struct{ flag, value string }{{"--layer", b.layer}, {"--image-size", b.size}, {"--mean", b.mean}, {"--std", b.std}, {"--ort-lib", b.lib}} {
		if f.value != "" {
			args = append(args, f.flag, f.value)
		}
	}
	for _, p := range b.preprocess {
		args = append(args, "--preprocess", p)
	}
	var seconds []float64
	for range b.cold {
		cmd := exec.CommandContext(ctx, self)
		cmd.Args = args // also the name by which it was started
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		started := time.Now()
		if err := cmd.Run(); err != nil {
			return nil, errors.Join(fmt.Errorf("bench embed: a cold start: %w", err), errors.New(stderr.String()))
		}
		seconds = append(seconds, time.Since(started).Seconds())
	}
	return seconds, nil
}

func (r *embedResult) text() string {
	var out bytes.Buffer
	fmt.Fprintf(&out, "job: %.1f images/s of %d, %d threads, %d workers; session alone: %.1f images/s; share %.1f %%\n",
		r.Job, r.Images, r.Threads, r.Workers, r.Session, 100*r.Share)
	fmt.Fprintf(&out, "preparation: %.3f ms of one core an image, %.0f images/s a core (JPEG by %s)\n", r.Prepare, r.PerCore, r.Decoder)
	for _, st := range r.Stages {
		fmt.Fprintf(&out, "  %-24s %8.3f ms %5.1f%%\n", st.Stage, st.CPU, 100*st.CPU/r.Prepare)
	}
	if len(r.Cold) > 0 {
		fmt.Fprintf(&out, "cold start to one embedding: %.3f s, the fastest of %d\n", r.ColdBest, len(r.Cold))
	}
	return out.String()
}
