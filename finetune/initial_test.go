package finetune_test

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// twoNetworks has an encoder of two tensors, a target that follows it, a head and an
// optimiser's state.
func twoNetworks() *models.Params {
	p := models.NewParams(op.NewGraph())
	for _, name := range []string{"encoder", "target.encoder"} {
		s := models.NewScope(p, true).Sub(name)
		s.Weight("w", models.Constant(0), 2)
		s.Buffer("mean", models.Constant(0), 2)
	}
	models.NewScope(p, true).Sub("projector").Weight("w", models.Constant(7), 3)
	models.NewScope(p, true).Sub("optim").Sub("momentum").Buffer("encoder.w", models.Constant(0), 2)
	return p
}

func vector(v ...float32) *tensor.Dense {
	return tensor.New(tensor.WithShape(len(v)), tensor.WithBacking(v))
}

func weights(t *testing.T, state models.StateDict) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := models.WriteSafetensors(path, state, nil); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadInitial(t *testing.T) {
	for _, tc := range []struct {
		name                       string
		file                       models.StateDict
		missing, ignored, reshaped []string
		projector                  float32
		state                      int
	}{
		{
			name: "plain state dict",
			file: models.StateDict{"w": vector(1, 2), "mean": vector(3, 4), "fc.weight": vector(5),
				"n": tensor.New(tensor.WithShape(1), tensor.WithBacking([]int64{9}))},
			missing: []string{"projector.w"}, ignored: []string{"fc.weight", "n"}, projector: 7,
		},
		{
			name: "checkpoint",
			file: models.StateDict{"encoder.w": vector(1, 2), "encoder.mean": vector(3, 4), "projector.w": vector(8, 8, 8),
				"optim.momentum.encoder.w": vector(6, 6)},
			projector: 8, state: 1,
		},
		{
			name:     "head of another width",
			file:     models.StateDict{"encoder.w": vector(1, 2), "encoder.mean": vector(3, 4), "projector.w": vector(8)},
			reshaped: []string{"projector.w"}, projector: 7,
		},
	} {
		p := twoNetworks()
		state := p.Init(1)
		c, err := finetune.LoadInitial(weights(t, tc.file), p, state)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if err := p.Check(state); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		for name, want := range map[string][]float32{"encoder.w": {1, 2}, "target.encoder.w": {1, 2}, "encoder.mean": {3, 4},
			"target.encoder.mean": {3, 4}, "optim.momentum.encoder.w": {0, 0}, "projector.w": {tc.projector, tc.projector, tc.projector}} {
			if got := state[name].Float32s(); !slices.Equal(got, want) {
				t.Errorf("%s: %s is %v, want %v", tc.name, name, got, want)
			}
		}
		var reshaped []string
		for _, r := range c.Reshaped {
			reshaped = append(reshaped, r.Name)
		}
		if !slices.Equal(c.Missing, tc.missing) || !slices.Equal(c.Ignored, tc.ignored) || !slices.Equal(reshaped, tc.reshaped) || c.State != tc.state {
			t.Errorf("%s: got %+v", tc.name, c)
		}
		for _, name := range slices.Concat(tc.missing, tc.ignored, tc.reshaped) {
			if !strings.Contains(c.Table(), name) {
				t.Errorf("%s: the table does not name %s:\n%s", tc.name, name, c.Table())
			}
		}
	}
}

func TestLoadInitialErrors(t *testing.T) {
	good := models.StateDict{"w": vector(1, 2), "mean": vector(3, 4)}
	cut := weights(t, good)
	if err := os.Truncate(cut, 40); err != nil {
		t.Fatal(err)
	}
	zip := filepath.Join(t.TempDir(), "model.pt")
	if err := os.WriteFile(zip, []byte("PK\x03\x04 and so on, as PyTorch writes"), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, path := range map[string]string{
		`lacks 2 of the encoder's tensors: encoder.mean, target.encoder.mean;`: weights(t, models.StateDict{"encoder.w": vector(1, 2), "mean": vector(3, 4)}),
		`"encoder.w" is [3], the encoder's is [2]`:                             weights(t, models.StateDict{"w": vector(1, 2, 3), "mean": vector(3, 4)}),
		`tensor "mean": value 1 is NaN`:                                        weights(t, models.StateDict{"w": vector(1, 2), "mean": vector(3, float32(math.NaN()))}),
		`lacks 4`:                                                              weights(t, models.StateDict{"other": vector(1)}),
		`cut short`:                                                            cut,
		`damaged zip archive`:                                                  zip,
		`no such file`:                                                         filepath.Join(t.TempDir(), "none.safetensors"),
		`is a folder`:                                                          t.TempDir(),
	} {
		p := twoNetworks()
		_, err := finetune.LoadInitial(path, p, p.Init(1))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// finished runs a configuration to its end and returns its checkpoint file's bytes.
func finished(t *testing.T, c finetune.Config, src augment.Source) (*finetune.Run, []byte) {
	t.Helper()
	run := begin(t, c, src)
	if _, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(run.CheckpointPath())
	if err != nil {
		t.Fatal(err)
	}
	return run, data
}

func TestRerunFromConfigIsTheSameRun(t *testing.T) {
	src := open(t, pictures(t, 12))
	for _, engine := range engines(t) {
		c := small(engine)
		c.Epochs, c.Optimizer, c.LR, c.WarmupEpochs, c.ClipNorm = 2, "adamw", 0, 0.5, 1
		first, want := finished(t, c, src)
		text, err := os.ReadFile(filepath.Join(first.Dir, "config.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		again, err := finetune.ParseConfig(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := finished(t, again, src); !bytes.Equal(got, want) {
			t.Errorf("%s: the checkpoints differ", engine)
		}
		again.Seed++
		if _, got := finished(t, again, src); bytes.Equal(got, want) {
			t.Errorf("%s: another seed gives the same checkpoint", engine)
		}
	}
}

func TestRunStartsFromWeights(t *testing.T) {
	src := open(t, pictures(t, 12))
	c := small("go")
	c.Epochs = 1
	first, data := finished(t, c, src)
	want := checkpoint(t, first)

	plain := models.StateDict{}
	for name, v := range want {
		if rest, ok := strings.CutPrefix(name, "encoder."); ok {
			plain[rest] = v
		}
	}
	c.Init, c.Seed, c.Epochs = weights(t, plain), 99, 0
	second, _ := finished(t, c, src)
	got := checkpoint(t, second)
	compared := 0
	for name := range want {
		if strings.HasPrefix(name, "encoder.") {
			compared++
			if !slices.Equal(got[name].Float32s(), want[name].Float32s()) {
				t.Errorf("%s is not the file's", name)
			}
		}
	}
	if compared != len(plain) || compared == 0 {
		t.Errorf("compared %d tensors of %d", compared, len(plain))
	}
	if slices.Equal(got["projector.0.weight"].Float32s(), want["projector.0.weight"].Float32s()) {
		t.Error("the projector is not drawn anew")
	}

	// A flipped bit in a checkpoint is found.
	damaged := second.Config
	damaged.Init = filepath.Join(t.TempDir(), "damaged.safetensors")
	data[len(data)-2] ^= 1
	if err := os.WriteFile(damaged.Init, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := damaged.Initial(); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged checkpoint: %v", err)
	}

	// Once there is a checkpoint the file is not needed.
	if err := os.Remove(c.Init); err != nil {
		t.Fatal(err)
	}
	if _, err := finetune.Pretrain(context.Background(), second, src, finetune.Events{}); err != nil {
		t.Error(err)
	}
}
