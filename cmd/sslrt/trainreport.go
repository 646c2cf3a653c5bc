package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/sslrt/sslrt/finetune"
)

// trainReport shows how a run goes: a line that is drawn anew on a terminal, a line
// an epoch and one every ten seconds elsewhere.
type trainReport struct {
	w      io.Writer
	config *finetune.Config
	width  func() int // of the terminal, 0 where there is none
	shown  time.Time
}

const (
	lineEvery = 10 * time.Second       // between two lines of progress where there is no bar
	barEvery  = 200 * time.Millisecond // between two drawings of the bar
)

func newTrainReport(w io.Writer, c *finetune.Config) *trainReport {
	r := &trainReport{w: w, config: c, width: func() int { return 0 }, shown: time.Now()}
	if isTerminal(w) {
		r.width = func() int {
			columns, _, err := term.GetSize(int(w.(*os.File).Fd()))
			if err != nil {
				return 80
			}
			return columns
		}
	}
	return r
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (r *trainReport) events() finetune.Events {
	return finetune.Events{Started: r.started, Step: r.step, Chunk: r.chunk, Epoch: r.epoch, Warn: r.warn}
}

func (r *trainReport) started(p finetune.Plan) {
	c := r.config
	batch := fmt.Sprint(c.BatchSize)
	if c.Accumulate > 1 {
		batch += fmt.Sprintf(" (%d of them a step)", c.Accumulate)
	}
	fmt.Fprintf(r.w, "run %s\n%s, %s, %d px, %.2f million weights\n%d images, %d epochs of %d steps, batch %s, learning rate %g, seed %d\nengine %s: %s\n",
		p.Dir, c.Method, c.EncoderText(), c.ImageSize, float64(p.Weights)/1e6,
		p.Images, c.Epochs, p.StepsPerEpoch, batch, c.LR, c.Seed, p.Engine, p.EngineWhy)
	if c.Chunk > 0 {
		fmt.Fprintln(r.w, chunkNote(c, p))
	}
	if p.Start.Step > 0 || p.Start.Batch > 0 {
		fmt.Fprintf(r.w, "goes on at step %d\n", p.Start.Step)
	}
}

// chunkNote says what chunks change.
func chunkNote(c *finetune.Config, p finetune.Plan) string {
	if !p.Statistics {
		return fmt.Sprintf("chunks of %d images; the network has no batch statistics: steps equal those of the whole batch", c.Chunk)
	}
	return fmt.Sprintf("batch statistics are over chunks of %d images; everything else equals the whole batch", c.Chunk)
}

// chunk shows how far a long step is.
func (r *trainReport) chunk(done, total int) {
	if time.Since(r.shown) < r.every() {
		return
	}
	r.shown = time.Now()
	text := fmt.Sprintf("this step: %d of %d passes over chunks", done, total)
	if r.width() > 0 {
		fmt.Fprintf(r.w, "\r\x1b[K%s", text[:min(len(text), r.width()-1)])
	} else {
		fmt.Fprintln(r.w, text)
	}
}

// every is the time between two reports of progress.
func (r *trainReport) every() time.Duration {
	if r.width() > 0 {
		return barEvery
	}
	return lineEvery
}

func (r *trainReport) step(p finetune.Progress) {
	width := r.width()
	if time.Since(r.shown) < r.every() {
		return
	}
	r.shown = time.Now()
	if width > 0 {
		fmt.Fprintf(r.w, "\r\x1b[K%s", bar(p, r.config.Epochs, width-1))
	} else {
		fmt.Fprintln(r.w, progressLine(p, r.config.Epochs))
	}
}

// progressLine says all that is known after a step.
func progressLine(p finetune.Progress, epochs int) string {
	return fmt.Sprintf("step %d/%d epoch %d/%d left %s %.0f images/s %.0f%% of the time waiting for data  %s",
		p.Step, p.Total, p.Epoch, epochs, p.Left.Round(time.Second), p.ImagesPerS, 100*p.DataWait, metricsText(p.Metrics))
}

// barMetrics are the metrics in the bar, the ones to lose last first.
var barMetrics = []struct{ name, short string }{
	{"loss", "loss %.4f"}, {"uniformity", "unif %.2f"}, {"alignment", "align %.2f"},
	{"effective_rank", "rank %.1f"}, {"grad_norm", "grad %.2g"},
}

// bar is progressLine in at most so many columns: what does not fit is left out.
func bar(p finetune.Progress, epochs, width int) string {
	parts := []string{fmt.Sprintf("epoch %d/%d", p.Epoch, epochs), "left " + p.Left.Round(time.Second).String(),
		fmt.Sprintf("%.0f img/s", p.ImagesPerS), fmt.Sprintf("wait %.0f%%", 100*p.DataWait)}
	for _, m := range barMetrics {
		if v, ok := p.Metrics[m.name]; ok {
			parts = append(parts, fmt.Sprintf(m.short, v))
		}
	}
	share := float64(p.Step) / float64(max(1, p.Total))
	line := fmt.Sprintf("%3.0f%%", 100*share)
	for _, part := range parts {
		if len(line)+1+len(part) > width {
			return line[:min(len(line), max(0, width))]
		}
		line += " " + part
	}
	if cells := min(40, width-len(line)-1); cells >= 8 {
		full := int(share * float64(cells))
		line = strings.Repeat("█", full) + strings.Repeat("░", cells-full) + " " + line
	}
	return line
}

func (r *trainReport) epoch(e finetune.EpochReport) {
	r.line(fmt.Sprintf("epoch %d/%d: %s", e.Epoch, r.config.Epochs, metricsText(e.Metrics)))
	r.shown = time.Now()
}

// metricsText lists metrics by name.
func metricsText(metrics map[string]float64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		parts = append(parts, fmt.Sprintf("%s %.4f", name, metrics[name]))
	}
	return strings.Join(parts, "  ")
}

func (r *trainReport) warn(message string) { r.line(message) }

// line writes a whole line, over the bar where there is one.
func (r *trainReport) line(text string) {
	if r.width() > 0 {
		fmt.Fprint(r.w, "\r\x1b[K")
	}
	fmt.Fprintln(r.w, text)
}

// finish takes the bar away.
func (r *trainReport) finish() {
	if r.width() > 0 {
		fmt.Fprint(r.w, "\r\x1b[K")
	}
}

// printSummary says what a run left and what to type next; classifier is the file of it
// that was written already, if any.
func printSummary(w io.Writer, c *finetune.Config, res *finetune.Result, classifier string) error {
	var b strings.Builder
	switch {
	case res.Steps == 0:
		fmt.Fprintf(&b, "%s: no epochs, the initial weights are kept\n", res.Dir)
	case res.Trained == 0:
		fmt.Fprintf(&b, "%s: nothing was left to do after %d steps\n", res.Dir, res.Steps)
	default:
		fmt.Fprintf(&b, "%s: %d steps in %s, %.0f images/s, %.0f%% of the time waiting for data\n",
			res.Dir, res.Trained, time.Duration(res.Seconds*float64(time.Second)).Round(time.Second), res.ImagesPerS, 100*res.DataWait)
	}
	next := "sslrt export " + exportName(c) + " --run " + shellWord(res.Dir)
	if best := res.Best; best.Epoch > 0 {
		fmt.Fprintf(&b, "best %s: %.4f in epoch %d of %d\n", best.Metric, best.Value, best.Epoch, res.Epochs)
		if res.Stopped {
			fmt.Fprintf(&b, "stopped early: %d epochs brought no better %s\n", c.Patience, best.Metric)
		}
		if res.Stopped || c.BestBy != finetune.DefaultConfig().BestBy && best.Epoch < res.Epochs {
			next += " --weights " + finetune.WeightsBest // what was asked for, and not the last
		}
	}
	if res.Skipped > 0 {
		fmt.Fprintf(&b, "%d images could not be read (named above) and were replaced by others\n", res.Skipped)
	}
	if classifier != "" {
		fmt.Fprintf(&b, "wrote %s\n", classifier)
		next = "sslrt classify " + shellWord(classifier) + " IMAGES"
	}
	fmt.Fprintf(&b, "next: %s\n", next)
	_, err := io.WriteString(w, b.String())
	return err
}

// exportName is a usual name for what a run is for.
func exportName(c *finetune.Config) string {
	switch c.Method {
	case finetune.MethodSupervised:
		return "classifier.onnx"
	case finetune.MethodAutoencoder, finetune.MethodDenoise:
		return "autoencoder.onnx"
	}
	return "encoder.onnx"
}

// shellWord writes an argument so that a shell reads it as one word.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= utf8.RuneSelf || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-./:@%+=,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
