package finetune_test

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sbinet/npyio/npz"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
)

func TestEffectiveRankClosedForms(t *testing.T) {
	eye := make([]float32, 8*4)
	for i := range 8 {
		eye[i*4+i%4] = 3
	}
	same := make([]float32, 8*4)
	for i := range same {
		same[i] = 2
	}
	for name, c := range map[string]struct {
		x    []float32
		want float64
	}{"four equal directions": {eye, 4}, "one direction": {same, 1}} {
		if got := finetune.EffectiveRank(c.x, 4); math.Abs(got-c.want) > 1e-4 {
			t.Errorf("%s: %g, want %g", name, got, c.want)
		}
	}
}

// The values are those of the reference data, computed in float64.
func TestEffectiveRankOfReferenceData(t *testing.T) {
	shared := os.Getenv("SSLRT_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "shared")
	}
	files, err := filepath.Glob(filepath.Join(shared, "golden", "evalmetrics", "rankme_*.npz"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("no reference data (set SSLRT_SHARED)")
	}
	for _, file := range files {
		f, err := npz.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		var z []float32
		var want float64
		if err := errors.Join(f.Read("z.npy", &z), f.Read("rankme_f64.npy", &want)); err != nil {
			t.Fatal(err)
		}
		dim := f.Header("z.npy").Descr.Shape[1]
		f.Close()
		if got := finetune.EffectiveRank(z, dim); math.Abs(got-want) > 1e-6+1e-4*want {
			t.Errorf("%s: %g, want %g", filepath.Base(file), got, want)
		}
	}
}

// fashion returns the first training images that ship with the project.
func fashion(t *testing.T, n int) augment.Source {
	t.Helper()
	src, err := augment.Open([]string{"../testdata/fashion-mnist"}, augment.SourceOptions{Split: "train"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	first := make([]int, n)
	for i := range first {
		first[i] = i
	}
	return augment.Subset(src, first)
}

// warningsOf trains and returns what the run warned of.
func warningsOf(t *testing.T, c finetune.Config, src augment.Source) ([]string, error) {
	t.Helper()
	var warnings []string
	_, err := finetune.Pretrain(context.Background(), begin(t, c, src), src, finetune.Events{
		Warn: func(s string) { warnings = append(warnings, s) }})
	return warnings, err
}

func TestCollapseIsNamedInItsFirstEpoch(t *testing.T) {
	src := fashion(t, 800)
	engine := engines(t)
	for name, change := range map[string]func(*finetune.Config){
		"temperature far too high":   func(c *finetune.Config) { c.Temperature = 1000 },
		"temperature far too low":    func(c *finetune.Config) { c.Temperature = 0.001 },
		"learning rate far too high": func(c *finetune.Config) { c.LR = 300 },
		"the same, a linear head": func(c *finetune.Config) {
			c.LR, c.Loss, c.Projector = 300, "infonce", []int{16}
		},
	} {
		c := small(engine[len(engine)-1])
		c.Epochs, c.Width, c.BatchSize, c.ImageSize = 1, 0.05, 32, 14
		change(&c)
		warnings, err := warningsOf(t, c, src)
		if err != nil {
			t.Fatal(err)
		}
		if len(warnings) != 1 || !strings.Contains(warnings[0], "collapsing") {
			t.Errorf("%s: warnings %q", name, warnings)
		}
	}
}

func TestHealthyRunsAreNotCalledCollapsing(t *testing.T) {
	src := fashion(t, 800)
	engine := engines(t)
	for name, change := range map[string]func(*finetune.Config){
		"small":           func(c *finetune.Config) {},
		"twice as wide":   func(c *finetune.Config) { c.Width = 0.1 },
		"four times":      func(c *finetune.Config) { c.Width = 0.2 },
		"low temperature": func(c *finetune.Config) { c.Temperature = 0.1 }, // the loss is above chance
		"a linear head":   func(c *finetune.Config) { c.Loss, c.Projector = "infonce", []int{16} },
		"adam":            func(c *finetune.Config) { c.Optimizer = "adam" },
		"first epoch of a warm-up": func(c *finetune.Config) {
			c.Optimizer, c.WarmupEpochs = "lars", 1 // has not learnt much
		},
	} {
		c := small(engine[len(engine)-1])
		c.Epochs, c.BatchSize, c.ImageSize, c.LR = 1, 32, 14, 0
		change(&c)
		warnings, err := warningsOf(t, c, src)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v %q", name, err, warnings)
		}
	}
}

func TestBadLayerIsNamed(t *testing.T) {
	src := open(t, pictures(t, 20))
	for _, engine := range engines(t) {
		c := small(engine)
		c.LR, c.Epochs = 1e30, 20
		run := begin(t, c, src)
		_, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{})
		if err == nil || !strings.Contains(err.Error(), "in layer encoder.") {
			t.Errorf("%s: %v", engine, err)
		}
	}
}

func TestTwoProcessesDoNotTrainOneRun(t *testing.T) {
	src := open(t, pictures(t, 20))
	run := begin(t, small("go"), src)
	_, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{Step: func(p finetune.Progress) {
		if p.Step > 1 {
			return
		}
		if _, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{}); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("a second trainer: %v", err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamagedCheckpointFallsBackToTheOneBefore(t *testing.T) {
	src := open(t, pictures(t, 20))
	for name, damage := range map[string]func(data []byte) []byte{
		"cut in half": func(data []byte) []byte { return data[:len(data)/2] },
		"one flipped bit": func(data []byte) []byte {
			data[len(data)-5] ^= 4
			return data
		},
		"empty": func([]byte) []byte { return nil },
	} {
		straight := begin(t, small("go"), src)
		if _, err := finetune.Pretrain(context.Background(), straight, src, finetune.Events{}); err != nil {
			t.Fatal(err)
		}
		run := begin(t, small("go"), src)
		for _, at := range []int{3, 7} {
			ctx, cancel := context.WithCancel(context.Background())
			finetune.Pretrain(ctx, run, src, finetune.Events{Step: func(p finetune.Progress) {
				if p.Step == at {
					cancel()
				}
			}})
			cancel()
		}
		data, err := os.ReadFile(run.CheckpointPath())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(run.CheckpointPath(), damage(data), 0o644); err != nil {
			t.Fatal(err)
		}
		_, info, err := run.LoadCheckpoint()
		if err != nil || info.Step >= 7 || info.Step == 0 {
			t.Fatalf("%s: fell back to %+v, %v", name, info, err)
		}
		var warnings []string
		if _, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{Warn: func(s string) {
			if strings.Contains(s, "checkpoint") {
				warnings = append(warnings, s)
			}
		}}); err != nil {
			t.Fatal(err)
		}
		if len(warnings) != 1 || !strings.Contains(warnings[0], "going on from the one before") {
			t.Errorf("%s: warnings %q", name, warnings)
		}
		sameBits(t, checkpoint(t, straight), checkpoint(t, run))
	}
}

func TestDamagedCheckpointIsNoFreshStart(t *testing.T) {
	src := open(t, pictures(t, 20))
	run := begin(t, small("go"), src)
	if _, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{}); err != nil {
		t.Fatal(err)
	}
	// Killed between the two renames of a save, with the older file damaged.
	before := filepath.Join(filepath.Dir(run.CheckpointPath()), "before.safetensors")
	if err := errors.Join(os.Remove(run.CheckpointPath()), os.Truncate(before, 100)); err != nil {
		t.Fatal(err)
	}
	if _, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{}); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want the damage", err)
	}
}

func TestCheckpointThatCannotBeWrittenLeavesTheOneBefore(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("needs a user that permissions bind; disk-full is tested by hand")
	}
	src := open(t, pictures(t, 20))
	run := begin(t, small("go"), src)
	if _, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(run.CheckpointPath())
	os.Chmod(dir, 0o555)
	defer os.Chmod(dir, 0o755)
	state := checkpoint(t, run)
	if err := run.SaveCheckpoint(state, finetune.CheckpointInfo{}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
	sameBits(t, state, checkpoint(t, run))
}
