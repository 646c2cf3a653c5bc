package finetune_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/runtime/ort"
)

// pictures writes a folder with two classes of 10x10 images, bright and dark.
func pictures(t testing.TB, perClass int) string {
	t.Helper()
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(5, 5))
	for class, base := range map[string]int{"bright": 150, "dark": 20} {
		if err := os.Mkdir(filepath.Join(dir, class), 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range perClass {
			m := augment.NewImage(10, 10)
			for k := range m.Pix {
				m.Pix[k] = uint8(base + r.IntN(80))
			}
			if err := m.WritePNG(filepath.Join(dir, class, fmt.Sprintf("%03d.png", i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// small is a configuration that the machine in Go runs in no time.
func small(engine string) finetune.Config {
	c := finetune.DefaultConfig()
	c.Width, c.Epochs, c.BatchSize, c.LR, c.Seed, c.Engine = 0.05, 3, 8, 0.1, 3, engine
	return c
}

func engines(t *testing.T) []string {
	if _, err := ort.Init(ort.FindOptions{}); errors.Is(err, ort.ErrNoLibrary) {
		t.Log("skipping the ort machine: no ONNX Runtime (run sslrt setup)")
		return []string{"go"}
	}
	return []string{"go", "ort"}
}

func open(t testing.TB, dir string) augment.Source {
	t.Helper()
	src, err := augment.Open([]string{dir}, augment.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// begin resolves a configuration and makes its run directory.
func begin(t testing.TB, c finetune.Config, src augment.Source) *finetune.Run {
	t.Helper()
	if err := c.Resolve(src); err != nil {
		t.Fatal(err)
	}
	run, err := finetune.CreateRun(filepath.Join(t.TempDir(), "run"), c)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func checkpoint(t testing.TB, run *finetune.Run) models.StateDict {
	t.Helper()
	state, _, err := run.LoadCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func sameBits(t testing.TB, a, b models.StateDict) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%d and %d tensors", len(a), len(b))
	}
	for name, v := range a {
		w := b[name].Float32s()
		for i, x := range v.Float32s() {
			if x != w[i] {
				t.Fatalf("%s differs at %d: %g and %g", name, i, x, w[i])
			}
		}
	}
}

func TestStoppedRunGoesOnBitForBit(t *testing.T) {
	src := open(t, pictures(t, 20))
	for _, engine := range engines(t) {
		straight := begin(t, small(engine), src)
		if _, err := finetune.Pretrain(context.Background(), straight, src, finetune.Events{}); err != nil {
			t.Fatal(err)
		}
		stopped := begin(t, small(engine), src)
		for _, at := range []int{2, 5, 11} { // also in the middle of an epoch of 5
			ctx, cancel := context.WithCancel(context.Background())
			_, err := finetune.Pretrain(ctx, stopped, src, finetune.Events{Step: func(p finetune.Progress) {
				if p.Step == at {
					cancel()
				}
			}})
			cancel()
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: stopped at step %d: %v", engine, at, err)
			}
			_, info, err := stopped.LoadCheckpoint()
			if err != nil || info.Step != at || info.Total != 15 {
				t.Fatalf("%s: checkpoint %+v, %v; want step %d", engine, info, err, at)
			}
		}
		if _, err := finetune.Pretrain(context.Background(), stopped, src, finetune.Events{}); err != nil {
			t.Fatal(err)
		}
		sameBits(t, checkpoint(t, straight), checkpoint(t, stopped))
	}
}

func TestWorkersChangeNothing(t *testing.T) {
	src := open(t, pictures(t, 12))
	var first models.StateDict
	for _, workers := range []int{1, 3} {
		c := small("go")
		c.Workers, c.Epochs = workers, 1
		run := begin(t, c, src)
		if _, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{}); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = checkpoint(t, run)
			continue
		}
		sameBits(t, first, checkpoint(t, run))
	}
}

// The trainer knows no method: a classifier trains through it as well.
func TestSupervisedLearns(t *testing.T) {
	src := open(t, pictures(t, 20))
	for _, engine := range engines(t) {
		c := small(engine)
		c.Method, c.Epochs = finetune.MethodSupervised, 6
		run := begin(t, c, src)
		res, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{})
		if err != nil {
			t.Fatal(err)
		}
		if loss := res.Metrics["loss"]; loss > 0.3 { // ln 2 = 0.69 is chance
			t.Errorf("%s: the loss is %g after %d steps", engine, loss, res.Steps)
		}
		if _, ok := checkpoint(t, run)["fc.weight"]; !ok {
			t.Errorf("%s: no classifier in the checkpoint", engine)
		}
	}
}

func TestEveryOptimizerLearns(t *testing.T) {
	src := open(t, pictures(t, 20))
	for _, name := range []string{"sgd", "adam", "adamw", "rmsprop", "lars"} {
		c := small("go")
		c.Method, c.Optimizer, c.LR, c.Epochs = finetune.MethodSupervised, name, 0, 6
		c.ClipNorm, c.ExcludeNorms = 10, true
		if name == "sgd" || name == "lars" {
			c.LR = 0.1
		}
		run := begin(t, c, src)
		res, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{})
		if err != nil {
			t.Fatal(err)
		}
		if loss := res.Metrics["loss"]; loss > 0.45 { // ln 2 = 0.69 is chance
			t.Errorf("%s: the loss is %g after %d steps", name, loss, res.Steps)
		}
		if res.Metrics["grad_norm"] == 0 {
			t.Errorf("%s: no norm of the gradients among the metrics %v", name, res.Metrics)
		}
	}
}

func TestUnreadableImagesAreReplacedAndReported(t *testing.T) {
	dir := pictures(t, 10)
	if err := os.WriteFile(filepath.Join(dir, "bright", "003.png"), []byte("\x89PNG\r\n\x1a\nno"), 0o644); err != nil {
		t.Fatal(err)
	}
	src := open(t, dir)
	c := small("go")
	run := begin(t, c, src)
	var warnings []string
	if _, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{Warn: func(s string) {
		if strings.HasPrefix(s, "skipped") {
			warnings = append(warnings, s)
		}
	}}); err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "003.png") {
		t.Errorf("want one warning that names 003.png, got %q", warnings)
	}
}

func TestLossThatIsNoNumberStopsTheRun(t *testing.T) {
	src := open(t, pictures(t, 20))
	c := small("go")
	c.LR, c.Epochs = 1e30, 20
	run := begin(t, c, src)
	_, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{})
	if err == nil || !strings.Contains(err.Error(), "loss is") {
		t.Fatalf("got %v", err)
	}
}

func TestRunDirectory(t *testing.T) {
	src := open(t, pictures(t, 10))
	run := begin(t, small("go"), src)
	if _, err := finetune.CreateRun(run.Dir, run.Config); err == nil {
		t.Error("a run directory was used twice")
	}
	if _, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{}); err != nil {
		t.Fatal(err)
	}
	lines, err := os.ReadFile(filepath.Join(run.Dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(lines)), "\n") {
		var m map[string]float64
		if err := json.Unmarshal([]byte(line), &m); err != nil || m["epoch"] != float64(i+1) || m["loss"] == 0 {
			t.Errorf("metrics line %d: %s (%v)", i, line, err)
		}
	}
	again, err := finetune.OpenRun(run.Dir)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := run.Config.Marshal()
	b, _ := again.Config.Marshal()
	if string(a) != string(b) {
		t.Errorf("the configuration read back differs:\n%s\n%s", a, b)
	}
	if _, err := finetune.OpenRun(t.TempDir()); err == nil {
		t.Error("an empty directory was opened as a run")
	}
}

func TestConfigErrors(t *testing.T) {
	src := open(t, pictures(t, 3))
	for want, change := range map[string]func(*finetune.Config){
		"larger than the data": func(c *finetune.Config) { c.BatchSize = 64 },
		"batch size":           func(c *finetune.Config) { c.BatchSize = 1 },
		"unknown encoder":      func(c *finetune.Config) { c.Encoder = "vgg" },
		"unknown method":       func(c *finetune.Config) { c.Method = "moon" },
		"unknown loss":         func(c *finetune.Config) { c.Loss = "hinge" },
		"unknown optimizer":    func(c *finetune.Config) { c.Optimizer = "newton" },
		"temperature":          func(c *finetune.Config) { c.Temperature = -1 },
		"image size":           func(c *finetune.Config) { c.ImageSize = 4 },
		"projector widths":     func(c *finetune.Config) { c.Projector = []int{8, 0} },
		"channels":             func(c *finetune.Config) { c.Channels = 2 },
		"nesterov":             func(c *finetune.Config) { c.Nesterov, c.Momentum = true, 0 },
		"has version 9":        func(c *finetune.Config) { c.Version = 9 },
	} {
		c := small("go")
		c.BatchSize = 4
		change(&c)
		if err := c.Resolve(src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
	if _, err := finetune.ParseConfig([]byte("epochs: 3\nepoch: 4\n")); err == nil || !strings.Contains(err.Error(), "epoch") {
		t.Errorf("unknown key: %v", err)
	}
}

func Example() {
	c := finetune.DefaultConfig()
	c.Epochs, c.Width = 10, 0.25
	fmt.Println(c.Method, c.Encoder, c.BatchSize, c.Temperature)
	// Output: simclr resnet18 128 0.5
}
