package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
)

// shades are bright images, and black ones at every third place.
type shades struct{ madeUp }

func (shades) Image(i int) (*augment.Image, error) {
	m := augment.NewImage(4, 4)
	for k := range m.Pix {
		m.Pix[k] = uint8(200 * min(1, i%3))
	}
	return m, nil
}

// logarithms is a model of the logarithm of what a pixel is above the mean: NaN for what
// is below it.
func logarithms(output string) *onnx.Builder {
	b := onnx.NewBuilder(17)
	n := onnx.Symbol("N")
	x := b.Input(onnx.TensorInfo("image", onnx.Float, n, onnx.Fixed(3), onnx.Fixed(4), onnx.Fixed(4)))
	b.NodeTo("Log", []string{b.Node("Flatten", []string{b.Node("GlobalAveragePool", []string{x})})}, []string{output})
	return b
}

func TestResultsThatAreNoNumbersAreSkipped(t *testing.T) {
	needLibrary(t)
	info := encoderInfo(4)
	info.EmbeddingSize = 3
	b := logarithms("embedding")
	b.Output(onnx.TensorInfo("embedding", onnx.Float, onnx.Symbol("N"), onnx.Fixed(3)))
	e := load(t, marshal(t, b, info), runtime.Options{})

	zero := 0.0
	info = onnx.Info{Kind: onnx.KindDetector, Method: "knn", Threshold: &zero, Preprocess: info.Preprocess}
	b = logarithms("logs")
	threshold := b.Input(onnx.TensorInfo(runtime.InputThreshold, onnx.Float))
	b.Initializer(threshold, onnx.FloatTensor("", nil, []float32{0}))
	b.NodeTo("ReduceMax", []string{"logs"}, []string{runtime.OutputScore}, onnx.IntsAttr("axes", 1), onnx.IntAttr("keepdims", 0))
	b.Output(onnx.TensorInfo(runtime.OutputScore, onnx.Float, onnx.Symbol("N")))
	b.NodeTo("Greater", []string{runtime.OutputScore, threshold}, []string{runtime.OutputDecision})
	b.Output(onnx.TensorInfo(runtime.OutputDecision, onnx.Bool, onnx.Symbol("N")))
	file := filepath.Join(t.TempDir(), "detector.onnx")
	if err := os.WriteFile(file, marshal(t, b, info), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := runtime.LoadDetector(file, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()

	for what, job := range map[string]func(src augment.Source, opt runtime.JobOptions) ([]string, runtime.Summary, error){
		"embed": func(src augment.Source, opt runtime.JobOptions) ([]string, runtime.Summary, error) {
			var rows runtime.Embeddings
			sum, err := runtime.EmbedAll(context.Background(), e, src, &rows, opt)
			return rows.Files, sum, err
		},
		"detect": func(src augment.Source, opt runtime.JobOptions) (names []string, sum runtime.Summary, err error) {
			sum, err = runtime.DetectAll(context.Background(), d, src, opt, func(i int, _ runtime.Detection) error {
				names = append(names, src.Name(i))
				return nil
			})
			return names, sum, err
		},
	} {
		unreadable := func(i int) bool { return i == 4 }
		names, sum, err := job(flaky{shades{madeUp{n: 8}}, unreadable}, runtime.JobOptions{BatchSize: 3})
		if err != nil || fmt.Sprint(names) != "[000001.png 000002.png 000005.png 000007.png]" || sum.Done != 4 {
			t.Errorf("%s: got %v, %d done, %v", what, names, sum.Done, err)
		}
		var skipped []string
		for _, s := range sum.Skipped {
			skipped = append(skipped, s.Name+": "+s.Err.Error())
		}
		slices.Sort(skipped)
		want := []string{"000000.png: the model gives NaN", "000003.png: the model gives NaN", "000004.png: gone", "000006.png: the model gives NaN"}
		for i := range max(len(want), len(skipped)) {
			if i >= min(len(want), len(skipped)) || !strings.HasPrefix(skipped[i], want[i]) {
				t.Errorf("%s: skipped %q, want %q", what, skipped, want)
				break
			}
		}
		if _, _, err := job(shades{madeUp{n: 1}}, runtime.JobOptions{}); err == nil || !strings.Contains(err.Error(), "none of 1 images has a result; the first: the model gives NaN at place 0") {
			t.Errorf("%s: of black images alone: got %v", what, err)
		}
	}
}

// flaky is a source with images that cannot be read.
type flaky struct {
	augment.Source
	bad func(i int) bool
}

func (f flaky) Image(i int) (*augment.Image, error) {
	if f.bad(i) {
		return nil, errors.New("gone")
	}
	return f.Source.Image(i)
}

func marshal(t *testing.T, b *onnx.Builder, info onnx.Info) []byte {
	t.Helper()
	m, err := b.Model("test", info)
	if err != nil {
		t.Fatal(err)
	}
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}
