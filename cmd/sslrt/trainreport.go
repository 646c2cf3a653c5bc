package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/sslrt/sslrt/finetune"
)

// trainReport shows how a run goes: a bar on a terminal, a line an epoch and one
// every ten seconds elsewhere.
type trainReport struct {
	w      io.Writer
	config *finetune.Config
	bar    *progressbar.ProgressBar
	shown  time.Time
}

// lineEvery is the pause between two lines of progress where there is no bar.
const lineEvery = 10 * time.Second

func newTrainReport(w io.Writer, c *finetune.Config) *trainReport {
	return &trainReport{w: w, config: c, shown: time.Now()}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (r *trainReport) events() finetune.Events {
	return finetune.Events{Started: r.started, Step: r.step, Epoch: r.epoch, Warn: r.warn}
}

func (r *trainReport) started(p finetune.Plan) {
	c := r.config
	fmt.Fprintf(r.w, "run %s\n%s, %s width %g, %s stem, %d px, %.2f million weights\n%d images, %d epochs of %d steps, batch %d, learning rate %g, seed %d\nengine %s: %s\n",
		p.Dir, c.Method, c.Encoder, c.Width, c.Stem, c.ImageSize, float64(p.Weights)/1e6,
		p.Images, c.Epochs, p.StepsPerEpoch, c.BatchSize, c.LR, c.Seed, p.Engine, p.EngineWhy)
	switch {
	case p.Start.Step > 0:
		fmt.Fprintf(r.w, "goes on at step %d\n", p.Start.Step)
	}
	if isTerminal(r.w) && c.Epochs > 0 {
		r.bar = progressbar.NewOptions(c.Epochs*p.StepsPerEpoch, progressbar.OptionSetWriter(r.w),
			progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
		_ = r.bar.Set(p.Start.Step)
	}
}

func (r *trainReport) step(p finetune.Progress) {
	text := fmt.Sprintf("epoch %d/%d loss %.4f %.0f images/s data wait %.0f%% left %s",
		p.Epoch, r.config.Epochs, p.Loss, p.ImagesPerS, 100*p.DataWait, p.Left.Round(time.Second))
	if r.bar != nil {
		r.bar.Describe(text)
		_ = r.bar.Set(p.Step)
		return
	}
	if time.Since(r.shown) >= lineEvery {
		r.shown = time.Now()
		fmt.Fprintf(r.w, "step %d/%d %s\n", p.Step, p.Total, text)
	}
}

func (r *trainReport) epoch(e finetune.EpochReport) {
	if r.bar != nil {
		_ = r.bar.Clear()
	}
	names := make([]string, 0, len(e.Metrics))
	for name := range e.Metrics {
		names = append(names, name)
	}
	slices.Sort(names)
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%s %.4f", name, e.Metrics[name])
	}
	fmt.Fprintf(r.w, "epoch %d/%d: %s\n", e.Epoch, r.config.Epochs, strings.Join(parts, "  "))
	r.shown = time.Now()
}

func (r *trainReport) warn(message string) {
	if r.bar != nil {
		_ = r.bar.Clear()
	}
	fmt.Fprintln(r.w, message)
}

func (r *trainReport) finish() {
	if r.bar != nil {
		_ = r.bar.Finish()
	}
}
