package engine_test

import (
	"context"
	"errors"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
	"github.com/sslrt/sslrt/runtime/ort"
)

func needORT(t *testing.T) {
	t.Helper()
	if _, err := ort.Init(ort.FindOptions{}); errors.Is(err, ort.ErrNoLibrary) {
		t.Skip("no ONNX Runtime (run sslrt setup)")
	} else if err != nil {
		t.Fatal(err)
	}
}

// part is a small trained-looking network: BatchNorm's statistics and weights are
// random, so that folding them wrongly shows.
func part(t *testing.T, kind string) (export.Part, models.StateDict) {
	t.Helper()
	encoder := models.ResNet{Blocks: []int{1, 1}, Widths: []int{6, 8}, Stem: models.StemCIFAR}
	p := export.Part{Kind: kind, Preprocess: augment.EvalPreprocess(10), Method: "simclr", Version: "test",
		Stages: []export.Stage{{Name: "encoder", Forward: encoder.Forward}}}
	switch kind {
	case onnx.KindProjector:
		head := models.Projector{Widths: []int{7, 5}, Bias: true, LastNorm: true}
		p.Stages = append(p.Stages, export.Stage{Name: "projector", Forward: head.Forward})
	case onnx.KindClassifier:
		p.Classes = []string{"cat", "dog", "hen"}
		p.Stages = append(p.Stages, export.Stage{Name: "fc", Forward: func(s models.Scope, x *op.Node) *op.Node {
			return models.Linear(s, x, 3, true)
		}})
	}
	_, params, err := p.Outputs(2)
	if err != nil {
		t.Fatal(err)
	}
	weights := params.Init(1)
	r := rand.New(rand.NewPCG(3, 4))
	for name, v := range weights {
		if !strings.HasSuffix(name, ".weight") || v.Dims() == 1 {
			for i := range v.Float32s() {
				v.Float32s()[i] = 0.5 + r.Float32()
			}
		}
	}
	return p, weights
}

func reference(p export.Part) engine.Reference {
	return func(n int) (engine.Function, error) {
		outputs, _, err := p.Outputs(n)
		return engine.Function{Outputs: outputs}, err
	}
}

func TestWriteVerified(t *testing.T) {
	needORT(t)
	images, err := augment.Open([]string{pictures(t)}, augment.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{onnx.KindEncoder, onnx.KindProjector, onnx.KindClassifier} {
		for _, opt := range []export.ModelOptions{{}, {KeepBatchNorm: true}, {Input: onnx.InputUint8}, {Opset: 13}, {Opset: 22}} {
			p, weights := part(t, kind)
			m, err := p.Model(weights, opt)
			if err != nil {
				t.Fatal(kind, err)
			}
			path := filepath.Join(t.TempDir(), "model.onnx")
			var found engine.Verification
			err = engine.WriteVerified(path, m, false, func(file string) (err error) {
				if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s: the file has its name before it is checked", kind)
				}
				found, err = engine.Verify(context.Background(), file, reference(p), engine.Tensors(weights),
					engine.VerifyOptions{Preprocess: p.Preprocess, Images: images})
				return err
			})
			if err != nil {
				t.Fatalf("%s %+v: %v", kind, opt, err)
			}
			if found.MaxError == 0 || found.Random != 4 || found.Images != 4 || len(found.Skipped) != 1 {
				t.Errorf("%s %+v: got %+v", kind, opt, found)
			}
			entries, err := os.ReadDir(filepath.Dir(path))
			if err != nil || len(entries) != 1 {
				t.Errorf("%s: %d files are left, want 1 (%v)", kind, len(entries), err)
			}
		}
	}
}

// pictures returns a folder of four images and one that is broken.
func pictures(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i, name := range []string{"a.png", "b.png", "c.png", "d.png"} {
		m := image.NewNRGBA(image.Rect(0, 0, 12+i, 10))
		for k := range m.Pix {
			m.Pix[k] = uint8(k*(i+3)) | 0x80*uint8(k%4/3) // not transparent
		}
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, m); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if err := os.WriteFile(filepath.Join(dir, "broken.png"), []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What is wrong must show, and leave no file.
func TestVerifyFindsDifferences(t *testing.T) {
	needORT(t)
	p, weights := part(t, onnx.KindEncoder)
	check := func(what, want string, m *onnx.Model, ref export.Part, params models.StateDict) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "model.onnx")
		err := engine.WriteVerified(path, m, false, func(file string) error {
			_, err := engine.Verify(context.Background(), file, reference(ref), engine.Tensors(params), engine.VerifyOptions{Preprocess: p.Preprocess})
			return err
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", what, err, want)
		}
		if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 0 {
			t.Errorf("%s: left %d files", what, len(entries))
		}
	}
	model := func(p export.Part, w models.StateDict) *onnx.Model {
		m, err := p.Model(w, export.ModelOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	other := models.StateDict{}
	for name, v := range weights {
		other[name] = v
	}
	w := "encoder.layer2.0.bn2.running_mean"
	shifted := append([]float32(nil), weights[w].Float32s()...)
	shifted[3] += 0.01
	other[w] = engine.NewTensor(shifted, len(shifted))
	check("another weight", `output "embedding" of the file and of the graph differ by`, model(p, other), p, weights)

	head, headWeights := part(t, onnx.KindProjector)
	check("another part", "no output", model(head, headWeights), p, weights)

	pre := p
	pre.Preprocess.Mean[1] += 0.01
	m, err := pre.Model(weights, export.ModelOptions{Input: onnx.InputUint8})
	if err != nil {
		t.Fatal(err)
	}
	check("another mean", "differ by", m, p, weights)
}

func TestWriteVerifiedKeepsWhatIsThere(t *testing.T) {
	p, weights := part(t, onnx.KindEncoder)
	m, err := p.Model(weights, export.ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := engine.WriteVerified(path, m, false, nil); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("an existing file: got %v", err)
	}
	broken := errors.New("broken")
	if err := engine.WriteVerified(path, m, true, func(string) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	missing := engine.WriteVerified(path, m, true, func(string) error { return ort.ErrNoLibrary })
	if missing == nil || !strings.Contains(missing.Error(), "--no-verify") {
		t.Errorf("without a library: got %v", missing)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "mine" {
		t.Errorf("the file is now %q (%v)", data, err)
	}
	if err := engine.WriteVerified(path, m, true, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := onnx.ReadFile(path); err != nil {
		t.Error(err)
	}
	if err := engine.WriteVerified(filepath.Dir(path), m, true, nil); err == nil || !strings.Contains(err.Error(), "is no file") {
		t.Errorf("a folder: got %v", err)
	}
	if err := engine.WriteVerified(filepath.Join(path, "x.onnx"), m, false, nil); err == nil {
		t.Error("a file as folder: got no error")
	}
}
