package finetune_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/models/onnx"
)

// foreignModel writes a network that others could have: images of 8 pixels to
// features of 4 numbers.
func foreignModel(t *testing.T) string {
	t.Helper()
	b := onnx.NewBuilder(15)
	x := b.Input(onnx.TensorInfo("pixel_values", onnx.Float, onnx.Symbol("batch"), onnx.Fixed(3), onnx.Fixed(8), onnx.Fixed(8)))
	w := make([]float32, 4*3*3*3)
	for i := range w {
		w[i] = float32(i%7-3) / 20
	}
	y := b.Node("Conv", []string{x, b.Initializer("stem.weight", onnx.FloatTensor("", []int64{4, 3, 3, 3}, w))}, onnx.IntsAttr("strides", 2, 2))
	list := func(name string, v float32) string {
		return b.Initializer(name, onnx.FloatTensor("", []int64{4}, []float32{v, v, v, v}))
	}
	y = b.Node("BatchNormalization", []string{y, list("bn.weight", 1), list("bn.bias", 0.1), list("bn.mean", 0), list("bn.var", 1)})
	y = b.Node("GlobalAveragePool", []string{b.Node("Relu", []string{y})})
	b.NodeTo("Flatten", []string{y}, []string{"pooled"})
	b.Output(onnx.TensorInfo("pooled", onnx.Float, onnx.Symbol("batch"), onnx.Fixed(4)))
	m, err := b.Model("foreign", onnx.Info{})
	if err != nil {
		t.Fatal(err)
	}
	m.ProducerName = "another program"
	path := filepath.Join(t.TempDir(), "foreign.onnx")
	if err := onnx.WriteFile(path, m); err != nil {
		t.Fatal(err)
	}
	return path
}

// withoutValues is a file without the values of its initialisers.
func withoutValues(t *testing.T, path string) []byte {
	t.Helper()
	m, err := onnx.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range m.Graph.Initializers {
		if i.Type == onnx.Float {
			clear(i.Raw)
		}
	}
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestONNXEncoder trains a network that an ONNX file holds, supervised and without
// labels, stops and goes on, and writes it back.
func TestONNXEncoder(t *testing.T) {
	needORT(t)
	file := foreignModel(t)
	for _, method := range []string{finetune.MethodSimCLR, finetune.MethodSupervised} {
		src := open(t, pictures(t, 8))
		c := small("go")
		c.Method, c.Epochs, c.Init, c.Encoder, c.ImageSize = method, 1, file, "resnet18", 0
		run := begin(t, c, src)
		if run.Config.ImageSize != 8 {
			t.Fatalf("images of %d pixels, want the file's 8", run.Config.ImageSize)
		}
		if _, err := finetune.Pretrain(context.Background(), run, src, finetune.Events{}); err != nil {
			t.Fatal(err)
		}
		moved := filepath.Join(t.TempDir(), "moved")
		if err := os.Rename(run.Dir, moved); err != nil {
			t.Fatal(err)
		}
		again, err := finetune.OpenRun(moved)
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "back.onnx")
		done, err := finetune.Export(context.Background(), again, out, finetune.ExportOptions{Part: onnx.KindEncoder})
		if err != nil {
			t.Fatal(err)
		}
		if !done.Checked || !(done.MaxError <= 1e-5) {
			t.Errorf("%s: checked %t, error %g", method, done.Checked, done.MaxError)
		}
		if !bytes.Equal(withoutValues(t, out), withoutValues(t, file)) {
			t.Errorf("%s: more than the initialisers changed", method)
		}
		m, err := onnx.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		was, err := onnx.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range m.Graph.Initializers {
			if bytes.Equal(i.Raw, was.Graph.Initializer(i.Name).Raw) {
				t.Errorf("%s: %s was not trained", method, i.Name)
			}
		}
	}
}

// TestImportONNX makes a run of a file, which starts a classifier and is written back
// as it was.
func TestImportONNX(t *testing.T) {
	needORT(t)
	file := foreignModel(t)
	c := finetune.DefaultConfig()
	c.Encoder = ""
	run, e, err := finetune.ImportONNX(file, filepath.Join(t.TempDir(), "run"), c)
	if err != nil {
		t.Fatal(err)
	}
	if e.Size() != 4 {
		t.Errorf("embedding of %d, want 4", e.Size())
	}
	out := filepath.Join(t.TempDir(), "same.onnx")
	if _, err := finetune.Export(context.Background(), run, out, finetune.ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := os.ReadFile(file); !bytes.Equal(got, want) {
		t.Error("the file that comes out is not the one that went in")
	}
	start, err := run.Start()
	if err != nil {
		t.Fatal(err)
	}
	src := open(t, pictures(t, 8))
	start.BatchSize, start.Epochs, start.Engine = 8, 1, "go"
	classifier := begin(t, start, src)
	if _, err := finetune.Pretrain(context.Background(), classifier, src, finetune.Events{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "classifier.onnx")
	if _, err := finetune.Export(context.Background(), classifier, path, finetune.ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := outputs(t, path); !slices.Equal(got, []string{"logits", "probability"}) {
		t.Errorf("outputs %v", got)
	}
}

func TestImportONNXErrors(t *testing.T) {
	c := finetune.DefaultConfig()
	c.Encoder = ""
	damaged := filepath.Join(t.TempDir(), "damaged.onnx")
	data, err := os.ReadFile(foreignModel(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(damaged, data[:len(data)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	nan := filepath.Join(t.TempDir(), "nan.onnx")
	m, err := onnx.Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	copy(m.Graph.Initializer("bn.bias").Raw, []byte{0, 0, 0xc0, 0x7f})
	if err := onnx.WriteFile(nan, m); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"missing.onnx": "no such file",
		damaged:        "damaged",
		nan:            "bn.bias",
	} {
		dir := filepath.Join(t.TempDir(), "run")
		if _, _, err := finetune.ImportONNX(path, dir, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", filepath.Base(path), err, want)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: a run was made", filepath.Base(path))
		}
	}
}
