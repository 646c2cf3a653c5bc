package finetune_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
)

// trainStopping trains, and stops the run after each of some numbers of batches.
func trainStopping(t *testing.T, run *finetune.Run, src augment.Source, batches ...int) *finetune.Result {
	t.Helper()
	for _, n := range batches {
		ctx, cancel := context.WithCancel(context.Background())
		seen := 0
		_, err := finetune.Pretrain(ctx, run, src, finetune.Events{Step: func(finetune.Progress) {
			if seen++; seen == n {
				cancel()
			}
		}})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped after %d batches: %v", n, err)
		}
	}
	res, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func readFile(t *testing.T, run *finetune.Run, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(run.Dir, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Also at the end of an epoch, and between the batches of a step.
func TestInterruptedRunLeavesTheSameFiles(t *testing.T) {
	src := open(t, pictures(t, 20)) // 40 images: 5 batches of 8
	for name, change := range map[string]func(*finetune.Config){
		"plain":       func(*finetune.Config) {},
		"accumulated": func(c *finetune.Config) { c.Accumulate, c.Optimizer, c.LR = 2, "adam", 0 },
		"in chunks":   func(c *finetune.Config) { c.Accumulate, c.Chunk = 2, 2 },
		"averaged":    func(c *finetune.Config) { c.EMA, c.BestBy, c.ClipNorm = 0.9, "knn", 1 },
	} {
		for _, engine := range engines(t) {
			c := small(engine)
			change(&c)
			straight, stopped := begin(t, c, src), begin(t, c, src)
			a := trainStopping(t, straight, src)
			b := trainStopping(t, stopped, src, 1, 2, 2, 3) // at 1, 3, 5 and 8 of 15 batches, or of 12
			if a.Best != b.Best || a.Steps != b.Steps {
				t.Errorf("%s on %s: %+v and %+v", name, engine, a, b)
			}
			for _, file := range []string{"metrics.jsonl", "checkpoints/last.safetensors", "checkpoints/best.safetensors", "curves.png"} {
				if readFile(t, straight, file) != readFile(t, stopped, file) {
					t.Errorf("%s on %s: %s differs", name, engine, file)
				}
			}
			if lines := strings.Count(readFile(t, straight, "metrics.jsonl"), "\n"); lines != c.Epochs {
				t.Errorf("%s on %s: %d lines of metrics, want %d", name, engine, lines, c.Epochs)
			}
		}
	}
}

// A step in chunks takes long: it is given up where it is.
func TestInterruptedWithinAStep(t *testing.T) {
	src := open(t, pictures(t, 20))
	for _, engine := range engines(t) {
		c := small(engine)
		c.Chunk = 2 // of 8: a step has 8 passes
		straight, stopped := begin(t, c, src), begin(t, c, src)
		trainStopping(t, straight, src)
		for _, pass := range []int{2, 7, 8 + 5} {
			ctx, cancel := context.WithCancel(context.Background())
			seen, steps := 0, 0
			_, err := finetune.Pretrain(ctx, stopped, src, finetune.Events{
				Step: func(finetune.Progress) { steps++ },
				Chunk: func(done, total int) {
					if seen++; seen == pass {
						cancel()
					}
				}})
			cancel()
			if !errors.Is(err, context.Canceled) || steps != pass/8 {
				t.Errorf("%s, stopped in pass %d: %d steps, %v", engine, pass, steps, err)
			}
		}
		trainStopping(t, stopped, src)
		for _, file := range []string{"metrics.jsonl", "checkpoints/last.safetensors", "checkpoints/best.safetensors"} {
			if readFile(t, straight, file) != readFile(t, stopped, file) {
				t.Errorf("%s: %s differs", engine, file)
			}
		}
	}
}

// A run that was killed after it recorded an epoch and before it saved records it
// again, in place of the first time.
func TestKilledBetweenMetricsAndCheckpoint(t *testing.T) {
	src := open(t, pictures(t, 20))
	straight, killed := begin(t, small("go"), src), begin(t, small("go"), src)
	trainStopping(t, straight, src)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	finetune.Pretrain(ctx, killed, src, finetune.Events{Step: func(p finetune.Progress) {
		if p.Step == 7 {
			cancel()
		}
	}})
	f, err := os.OpenFile(filepath.Join(killed.Dir, "metrics.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(`{"epoch":2,"step":10,"loss":9}` + "\n" + `{"epoch":3,"st`)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	trainStopping(t, killed, src)
	if want, got := readFile(t, straight, "metrics.jsonl"), readFile(t, killed, "metrics.jsonl"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestPlateauEndsTheRun(t *testing.T) {
	src := open(t, pictures(t, 20))
	c := small("go")
	c.Method, c.LR, c.Epochs, c.Patience = finetune.MethodSupervised, 1e-30, 60, 2 // the loss is noise
	straight, stopped := begin(t, c, src), begin(t, c, src)
	res := trainStopping(t, straight, src)
	if !res.Stopped || res.Best.Epoch != res.Epochs-c.Patience || res.Steps != 5*res.Epochs || res.Epochs >= c.Epochs {
		t.Fatalf("got %+v, want an end %d epochs after the best", res, c.Patience)
	}
	if again := trainStopping(t, stopped, src, 4, 7); again.Best != res.Best || again.Steps != res.Steps {
		t.Errorf("interrupted: %+v, want %+v", again, res)
	}
	// Nothing is left to do, and the result is what it was.
	if again := trainStopping(t, straight, src); again.Best != res.Best || again.Steps != res.Steps || !again.Stopped || again.Metrics["loss"] != res.Metrics["loss"] {
		t.Errorf("gone on with: %+v, want %+v", again, res)
	}
	state, info, err := straight.LoadWeights(finetune.WeightsBest)
	if err != nil || info.Epoch != res.Best.Epoch || info.Step != 5*res.Best.Epoch {
		t.Errorf("the best checkpoint is %+v, %v; want epoch %d", info, err, res.Best.Epoch)
	}
	if err := state["encoder.conv1.weight"]; err == nil {
		t.Error("the best checkpoint has no weights")
	}
}

func TestBestIsByTheNamedMetric(t *testing.T) {
	src := open(t, pictures(t, 20))
	for metric, larger := range map[string]bool{"effective_rank": true, "alignment": false} {
		c := small("go")
		c.BestBy, c.Epochs = metric, 5
		run := begin(t, c, src)
		res := trainStopping(t, run, src)
		best, epoch := 0.0, 0
		for line := range strings.Lines(readFile(t, run, "metrics.jsonl")) {
			var m map[string]float64
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			if v := m[metric]; epoch == 0 || (v > best) == larger && v != best {
				best, epoch = v, int(m["epoch"])
			}
		}
		if res.Best.Metric != metric || res.Best.Value != best || res.Best.Epoch != epoch {
			t.Errorf("%s: best %+v, want %g of epoch %d", metric, res.Best, best, epoch)
		}
		if _, info, err := run.LoadWeights(finetune.WeightsBest); err != nil || info.Epoch != epoch {
			t.Errorf("%s: best.safetensors is of epoch %d (%v), want %d", metric, info.Epoch, err, epoch)
		}
	}
}

func TestBestByUnknownMetric(t *testing.T) {
	labelled := open(t, pictures(t, 4))
	flat := t.TempDir()
	for i := range 4 {
		if err := augment.NewImage(10, 10).WritePNG(filepath.Join(flat, string(rune('a'+i))+".png")); err != nil {
			t.Fatal(err)
		}
	}
	for want, c := range map[string]struct {
		src augment.Source
		by  string
	}{
		`best_by is "acc": an epoch of this run has alignment, effective_rank, grad_norm, knn, loss, uniformity`:       {labelled, "acc"},
		"best_by is knn, which needs images of two classes or more (class subfolders); without them choose alignment,": {open(t, flat), "knn"},
	} {
		config := small("go")
		config.BatchSize, config.BestBy = 4, c.by
		if err := config.Resolve(c.src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestAveragesAreWhatIsExported(t *testing.T) {
	src := open(t, pictures(t, 20))
	c := small("go")
	c.EMA = 0.9
	run := begin(t, c, src)
	trainStopping(t, run, src)
	state := checkpoint(t, run)
	averages := 0
	for name, v := range state {
		if of, ok := strings.CutPrefix(name, models.AveragePrefix); ok {
			averages++
			if slices.Equal(v.Float32s(), state[of].Float32s()) {
				t.Errorf("%s is the last value, no average", of)
			}
		}
	}
	if averages == 0 {
		t.Fatal("no averages in the checkpoint")
	}
	path := filepath.Join(t.TempDir(), "encoder.onnx")
	if _, err := finetune.Export(context.Background(), run, path, finetune.ExportOptions{NoVerify: true}); err != nil {
		t.Fatal(err)
	}
	// The same network with the averages for weights, saved as another run's.
	plain := small("go")
	other := begin(t, plain, src)
	for name := range state {
		if of, ok := strings.CutPrefix(name, models.AveragePrefix); ok {
			state[of] = state[name]
			delete(state, name)
		}
	}
	_, info, err := run.LoadCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.SaveCheckpoint(state, info); err != nil {
		t.Fatal(err)
	}
	same := filepath.Join(t.TempDir(), "encoder.onnx")
	if _, err := finetune.Export(context.Background(), other, same, finetune.ExportOptions{NoVerify: true}); err != nil {
		t.Fatal(err)
	}
	if got, want := constants(t, path), constants(t, same); got != want {
		t.Error("the exported weights are not the averages")
	}
	// A run that starts from these weights starts from the averages.
	plain.Init = run.CheckpointPath()
	plain.Epochs = 0
	from := begin(t, plain, src)
	trainStopping(t, from, src)
	for name, v := range checkpoint(t, from) {
		if strings.HasPrefix(name, "encoder.") && !slices.Equal(v.Float32s(), state[name].Float32s()) {
			t.Errorf("--init: %s is not the average", name)
		}
	}
}

// constants prints the tensors of an ONNX file.
func constants(t *testing.T, path string) string {
	t.Helper()
	m, err := onnx.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Graph.Initializers) == 0 {
		t.Fatal("no weights in the file")
	}
	var b strings.Builder
	for _, v := range m.Graph.Initializers {
		fmt.Fprintln(&b, v.Name, v.Dims, v.Raw)
	}
	return b.String()
}
