package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sslrt/sslrt/finetune"
)

func TestBarFitsTheTerminal(t *testing.T) {
	p := finetune.Progress{Step: 340, Total: 1000, Epoch: 4, ImagesPerS: 650.4, DataWait: 0.034, Left: 3725*time.Second + 400*time.Millisecond,
		Metrics: map[string]float64{"loss": 3.70039, "alignment": 0.5028, "uniformity": -2.5732, "effective_rank": 31.16, "grad_norm": 0.8349, "other": 1}}
	for width, want := range map[int]string{
		160: "█████████████░░░░░░░░░░░░░░░░░░░░░░░░░░░  34% epoch 4/10 left 1h2m5s 650 img/s wait 3% loss 3.7004 unif -2.57 align 0.50 rank 31.2 grad 0.83",
		99:  " 34% epoch 4/10 left 1h2m5s 650 img/s wait 3% loss 3.7004 unif -2.57 align 0.50 rank 31.2 grad 0.83",
		79:  " 34% epoch 4/10 left 1h2m5s 650 img/s wait 3% loss 3.7004 unif -2.57 align 0.50",
		20:  " 34% epoch 4/10",
		3:   " 34",
		0:   "",
	} {
		if got := bar(p, 10, width); got != want {
			t.Errorf("%d columns: %q, want %q", width, got, want)
		}
	}
	for width := range 200 {
		if n := utf8.RuneCountInString(bar(p, 10, width)); n > width {
			t.Errorf("%d columns for %d", n, width)
		}
	}
}

func TestShellWord(t *testing.T) {
	for word, want := range map[string]string{
		"runs/first": "runs/first", "my run": "'my run'", "it's": `'it'\''s'`, "": "''", "läufe/a": "läufe/a", "$HOME": "'$HOME'",
	} {
		if got := shellWord(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}

func TestSummarySaysWhatToTypeNext(t *testing.T) {
	c := finetune.DefaultConfig()
	c.Patience, c.BestBy = 3, "knn"
	var b strings.Builder
	err := printSummary(&b, &c, &finetune.Result{Dir: "my run", Steps: 20, Trained: 20, Epochs: 10, Seconds: 61.3, ImagesPerS: 99.6, DataWait: 0.5,
		Best: finetune.Best{Metric: "knn", Value: 0.5, Epoch: 7}, Stopped: true, Skipped: 2}, "")
	want := `my run: 20 steps in 1m1s, 100 images/s, 50% of the time waiting for data
best knn: 0.5000 in epoch 7 of 10
stopped early: 3 epochs brought no better knn
2 images could not be read (named above) and were replaced by others
next: sslrt export encoder.onnx --run 'my run' --weights best
`
	if err != nil || b.String() != want {
		t.Errorf("got %v\n%swant\n%s", err, b.String(), want)
	}
}
