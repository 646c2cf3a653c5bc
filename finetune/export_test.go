package finetune_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
	"github.com/sslrt/sslrt/runtime/ort"
)

// trained returns a run that was trained for a few steps.
func trained(t *testing.T, method string) (*finetune.Run, augment.Source) {
	t.Helper()
	src := open(t, pictures(t, 8))
	c := small("go")
	c.Method, c.Epochs = method, 1
	run := begin(t, c, src)
	if _, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{}); err != nil {
		t.Fatal(err)
	}
	return run, src
}

func needORT(t *testing.T) {
	t.Helper()
	if _, err := ort.Init(ort.FindOptions{}); errors.Is(err, ort.ErrNoLibrary) {
		t.Skip("no ONNX Runtime (run sslrt setup)")
	}
}

func outputs(t *testing.T, path string) []string {
	t.Helper()
	m, err := onnx.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range m.Graph.Outputs {
		names = append(names, o.Name)
	}
	return names
}

func TestExportParts(t *testing.T) {
	needORT(t)
	for _, c := range []struct {
		method, part, kind string
		outputs            []string
	}{
		{finetune.MethodSimCLR, "", onnx.KindEncoder, []string{"embedding"}},
		{finetune.MethodSimCLR, onnx.KindProjector, onnx.KindProjector, []string{"projection"}},
		{finetune.MethodSupervised, finetune.PartAuto, onnx.KindClassifier, []string{"logits", "probability"}},
		{finetune.MethodSupervised, onnx.KindEncoder, onnx.KindEncoder, []string{"embedding"}},
	} {
		run, src := trained(t, c.method)
		path := filepath.Join(t.TempDir(), "m.onnx")
		got, err := finetune.Export(context.Background(), run, path,
			finetune.ExportOptions{Part: c.part, Version: "v1", Check: finetune.CheckOptions{Images: src}})
		if err != nil {
			t.Fatal(c.method, c.part, err)
		}
		if got.Kind != c.kind || !got.Checked || got.MaxError == 0 || got.MaxError > engine.Tolerance || got.Images != 16 || got.Step != 2 {
			t.Errorf("%s %s: got %+v", c.method, c.part, got)
		}
		if names := outputs(t, path); !slices.Equal(names, c.outputs) {
			t.Errorf("%s %s: got the outputs %v, want %v", c.method, c.part, names, c.outputs)
		}
		var training struct {
			Encoder string
			Step    int
		}
		if err := json.Unmarshal(got.Info.Training, &training); err != nil || training.Encoder != "resnet18" || training.Step != 2 {
			t.Errorf("got the summary %s (%v)", got.Info.Training, err)
		}
		if c.kind == onnx.KindClassifier && !slices.Equal(got.Info.Classes, []string{"bright", "dark"}) {
			t.Errorf("got the classes %v", got.Info.Classes)
		}
		again, err := finetune.VerifyExported(context.Background(), run, path, finetune.CheckOptions{BatchSize: 2})
		if err != nil || again.Random != 3 || again.MaxError == 0 {
			t.Errorf("%s %s: verify: got %+v, %v", c.method, c.part, again, err)
		}
	}
}

// What was exported runs where nothing of training is known.
func TestExportedEncoderRuns(t *testing.T) {
	needORT(t)
	run, src := trained(t, finetune.MethodSimCLR)
	dir := t.TempDir()
	var first []float32
	for i, opt := range []export.ModelOptions{{}, {Input: onnx.InputUint8}, {KeepBatchNorm: true}} {
		path := filepath.Join(dir, string(rune('a'+i))+".onnx")
		if _, err := finetune.Export(context.Background(), run, path, finetune.ExportOptions{Model: opt}); err != nil {
			t.Fatal(err)
		}
		e, err := runtime.Load(path, runtime.Options{})
		if err != nil {
			t.Fatal(err)
		}
		m, err := src.Image(0)
		if err != nil {
			t.Fatal(err)
		}
		x, err := e.EmbedBatch(context.Background(), []*augment.Image{m})
		e.Close()
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = x
		}
		if len(x) != e.Info().EmbeddingSize || len(x) != len(first) {
			t.Fatalf("got %d values, want %d", len(x), e.Info().EmbeddingSize)
		}
		for k := range x {
			if d := x[k] - first[k]; d > 1e-5 || d < -1e-5 {
				t.Fatalf("%+v: value %d is %g, want %g", opt, k, x[k], first[k])
			}
		}
	}
}

// The exported step, run alone on its file and the state beside it, does what the
// machine does: the same losses to the last bit.
func TestExportedStepTrains(t *testing.T) {
	needORT(t)
	for _, method := range []string{finetune.MethodSimCLR, finetune.MethodSupervised} {
		run, _ := trained(t, method)
		path := filepath.Join(t.TempDir(), "step.onnx")
		warned := 0
		got, err := finetune.Export(context.Background(), run, path, finetune.ExportOptions{Part: onnx.KindTrainStep,
			Check: finetune.CheckOptions{Slow: func(images int) { warned = images }}})
		if err != nil {
			t.Fatal(method, err)
		}
		if warned != 8 || got.Info.Batch != 8 || got.State != strings.TrimSuffix(path, ".onnx")+".safetensors" || got.ChangeError == 0 {
			t.Errorf("%s: got %+v, warned of %d images", method, got, warned)
		}
		if _, err := finetune.VerifyExported(context.Background(), run, path, finetune.CheckOptions{}); err != nil {
			t.Errorf("%s: verify: %v", method, err)
		}
		state, _, err := models.ReadSafetensors(got.State)
		if err != nil {
			t.Fatal(err)
		}
		program, step := compiled(t, run, state)
		session, err := ort.OpenFile(path, ort.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			in := step.Inputs(train.Step{Index: i, Total: 5})
			for _, info := range session.Inputs() {
				switch {
				case info.Name == train.InputViews:
					x := make([]float32, info.Shape[0]*info.Shape[1]*info.Shape[2]*info.Shape[3])
					for k := range x {
						x[k] = float32((k*7+i)%23)/11 - 1
					}
					in[info.Name] = engine.NewTensor(x, info.Shape...)
				case info.Name == train.InputLabels:
					in[info.Name] = engine.NewTensor([]int64{0, 1, 0, 1, 1, 0, 0, 1}, 8)
				}
			}
			feed := map[string]*ort.Tensor{}
			for _, info := range session.Inputs() {
				v := in[info.Name]
				if v == nil {
					v = state[info.Name]
				}
				if info.Type == ort.Int64 {
					feed[info.Name], err = ort.NewTensor(v.Shape(), v.Int64s())
				} else {
					feed[info.Name], err = ort.NewTensor(v.Shape(), v.Float32s())
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			out, err := session.RunMap(context.Background(), feed)
			if err != nil {
				t.Fatal(err)
			}
			want, err := program.Run(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			loss, err := ort.Data[float32](out[train.OutputLoss])
			if err != nil {
				t.Fatal(err)
			}
			if loss[0] != want[train.OutputLoss].Float32s()[0] {
				t.Fatalf("%s: step %d: got the loss %g, want %g", method, i, loss[0], want[train.OutputLoss].Float32s()[0])
			}
			for name, v := range out {
				if param, ok := engine.CarriedName(name); ok {
					x, err := ort.Data[float32](v)
					if err != nil {
						t.Fatal(err)
					}
					state[param] = engine.NewTensor(x, v.Shape()...)
				}
			}
		}
		session.Close()
		program.Close()
	}
}

func compiled(t *testing.T, run *finetune.Run, state models.StateDict) (engine.Program, *train.Program) {
	t.Helper()
	step, err := run.Config.Step(1)
	if err != nil {
		t.Fatal(err)
	}
	program, err := engine.ORT{}.Compile(step.Function)
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Load(engine.Tensors(state)); err != nil {
		t.Fatal(err)
	}
	return program, step
}

func TestExportRefuses(t *testing.T) {
	run, _ := trained(t, finetune.MethodSimCLR)
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken.onnx")
	for _, f := range []string{taken, filepath.Join(dir, "step.safetensors")} {
		if err := os.WriteFile(f, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	noProjector := *run
	noProjector.Config.Projector = nil
	empty := begin(t, small("go"), open(t, pictures(t, 8)))
	for _, c := range []struct {
		run  *finetune.Run
		path string
		opt  finetune.ExportOptions
		want string
	}{
		{run, "a.onnx", finetune.ExportOptions{Part: onnx.KindClassifier}, "has no classifier"},
		{run, "a.onnx", finetune.ExportOptions{Part: onnx.KindDecoder}, "has no decoder"},
		{run, "a.onnx", finetune.ExportOptions{Part: "head"}, `unknown part "head"`},
		{&noProjector, "a.onnx", finetune.ExportOptions{Part: onnx.KindProjector}, "has no projector"},
		{run, "a.onnx", finetune.ExportOptions{Model: export.ModelOptions{Opset: 12}}, "opset 12"},
		{run, "a.onnx", finetune.ExportOptions{Part: onnx.KindTrainStep, Model: export.ModelOptions{Opset: 13}}, "choose 14 or more"},
		{run, "a.onnx", finetune.ExportOptions{Part: onnx.KindTrainStep, Model: export.ModelOptions{Input: onnx.InputUint8}}, "uint8"},
		{run, "taken.onnx", finetune.ExportOptions{}, "--force"},
		{run, "step.onnx", finetune.ExportOptions{Part: onnx.KindTrainStep}, "step.safetensors, which exists"},
		{empty, "a.onnx", finetune.ExportOptions{}, "has no checkpoint yet"},
	} {
		c.opt.NoVerify = true
		_, err := finetune.Export(context.Background(), c.run, filepath.Join(dir, c.path), c.opt)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("%d files are left, want 2", len(entries))
	}
	if data, err := os.ReadFile(taken); err != nil || string(data) != "mine" {
		t.Errorf("the file that was there is now %q (%v)", data, err)
	}
}

// A file of other weights, of another preprocessing or of another program does not
// pass for this run's.
func TestVerifyExportedFinds(t *testing.T) {
	needORT(t)
	run, _ := trained(t, finetune.MethodSimCLR)
	path := filepath.Join(t.TempDir(), "m.onnx")
	if _, err := finetune.Export(context.Background(), run, path, finetune.ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	check := func(want string) {
		t.Helper()
		if _, err := finetune.VerifyExported(context.Background(), run, path, finetune.CheckOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	m, err := onnx.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	good := *m.Graph.Initializers[0]
	values, err := good.Floats()
	if err != nil {
		t.Fatal(err)
	}
	values[0] += 1
	*m.Graph.Initializers[0] = *onnx.FloatTensor(good.Name, good.Dims, values)
	if err := onnx.WriteFile(path, m); err != nil {
		t.Fatal(err)
	}
	check("of the file and of the graph differ")
	*m.Graph.Initializers[0] = good
	m.SetMeta(onnx.KeyPreprocess+"mean", "0,0,0")
	if err := onnx.WriteFile(path, m); err != nil {
		t.Fatal(err)
	}
	check("its metadata say")
	m.Metadata = nil
	if err := onnx.WriteFile(path, m); err != nil {
		t.Fatal(err)
	}
	check("was not written by sslrt export")
}
