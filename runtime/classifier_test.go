package runtime_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
)

// writeClassifier writes a model whose logits are the means of an image's channels:
// of a red image class 0 wins.
func writeClassifier(t *testing.T, output string, info onnx.Info) string {
	t.Helper()
	b := onnx.NewBuilder(17)
	n := onnx.Symbol("N")
	x := b.Input(onnx.TensorInfo("image", onnx.Float, n, onnx.Fixed(3), onnx.Fixed(8), onnx.Fixed(8)))
	x = b.Node("GlobalAveragePool", []string{x})
	if output == "probability" {
		x = b.Node("Flatten", []string{x})
		b.NodeTo("Softmax", []string{x}, []string{output}, onnx.IntAttr("axis", 1))
	} else {
		b.NodeTo("Flatten", []string{x}, []string{output})
	}
	b.Output(onnx.TensorInfo(output, onnx.Float, n, onnx.Fixed(3)))
	pre := augment.EvalPreprocess(8)
	pre.Mean, pre.Std = [3]float32{}, [3]float32{1, 1, 1}
	info.Preprocess = pre.Metadata()
	m, err := b.Model("means", info)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "means.onnx")
	if err := onnx.WriteFile(path, m); err != nil {
		t.Fatal(err)
	}
	return path
}

// predictions keeps what it is given.
type predictions struct{ lines []string }

func (p *predictions) Write(file, label string, top []runtime.Class) error {
	p.lines = append(p.lines, fmt.Sprintf("%s %s %+v", filepath.Base(file), label, top))
	return nil
}

func TestClassifyAll(t *testing.T) {
	needLibrary(t)
	dir := t.TempDir()
	m := augment.NewImage(8, 8)
	for i := 0; i < len(m.Pix); i += 3 {
		m.Pix[i], m.Pix[i+1] = 255, 51 // red 1, green 0.2, blue 0
	}
	if err := os.Mkdir(filepath.Join(dir, "warm"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := m.WritePNG(filepath.Join(dir, "warm", "a.png")); err != nil {
		t.Fatal(err)
	}
	src, err := augment.Open([]string{dir}, augment.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	sum := math.Exp(1) + math.Exp(0.2) + 1
	for _, output := range []string{"logits", "probability", "y"} {
		c, err := runtime.LoadClassifier(writeClassifier(t, output, onnx.Info{Classes: []string{"red", "green", "blue"}}), runtime.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got predictions
		if _, err := runtime.ClassifyAll(context.Background(), c, src, 2, &got, runtime.JobOptions{}); err != nil {
			t.Fatal(err)
		}
		want := "a.png warm [{Name:red Index:0 Probability:" + fmt.Sprintf("%.8f", math.Exp(1)/sum)[:7]
		if len(got.lines) != 1 || !strings.HasPrefix(got.lines[0], want) || !strings.Contains(got.lines[0], "{Name:green Index:1") || strings.Contains(got.lines[0], "blue") {
			t.Errorf("%s: got %q, want %q", output, got.lines, want)
		}
		if err := c.Rename([]string{"a"}); err == nil {
			t.Error("one name for three classes was taken")
		}
		if _, err := runtime.ClassifyAll(context.Background(), c, src, 0, &got, runtime.JobOptions{}); err == nil {
			t.Error("no class was asked for, and there is no error")
		}
		c.Close()
	}
	c, err := runtime.LoadClassifier(writeClassifier(t, "logits", onnx.Info{}), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.Classes(); !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("classes without names are %v", got)
	}
	if _, err := runtime.LoadClassifier(writeClassifier(t, "logits", onnx.Info{Classes: []string{"red"}}), runtime.Options{}); err == nil {
		t.Error("one class name for three outputs was taken")
	}
}

func TestPredictionFiles(t *testing.T) {
	top := []runtime.Class{{Name: "a,b", Index: 3, Probability: 0.75}, {Name: "c", Index: 0, Probability: 0.25}}
	dir := t.TempDir()
	for name, want := range map[string]string{
		"x.csv": "file,class,index,probability,class_2,index_2,probability_2\n\"i \"\"1\"\".png\",\"a,b\",3,0.75,c,0,0.25\n",
		"x.jsonl": `{"file":"i \"1\".png","label":"l","class":"a,b","index":3,"probability":0.75,` +
			`"top":[{"class":"a,b","index":3,"probability":0.75},{"class":"c","index":0,"probability":0.25}]}` + "\n",
	} {
		path := filepath.Join(dir, name)
		p, err := runtime.CreatePredictions(path, 2)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Write(`i "1".png`, "l", top); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is there before it is complete", name)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
		if strings.HasSuffix(name, "l") && !json.Valid(got[:len(got)-1]) {
			t.Errorf("%s is no JSON", name)
		}
	}
	if _, err := runtime.CreatePredictions(filepath.Join(dir, "x.npy"), 1); err == nil {
		t.Error("the suffix .npy was taken")
	}
	p, err := runtime.CreatePredictions(filepath.Join(dir, "y.csv"), 1)
	if err != nil {
		t.Fatal(err)
	}
	p.Abort()
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("an aborted file leaves %v", left)
	}
}
