package models_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/sbinet/npyio/npz"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// sharedDir is the folder of reference data.
func sharedDir() string {
	if dir := os.Getenv("SSLRT_SHARED"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "shared")
}

// gunzip unpacks a shared file into a temporary one.
func gunzip(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Skipf("no reference data: %v (set SSLRT_SHARED)", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "unpacked"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, z); err != nil {
		t.Fatal(err)
	}
	return out.Name()
}

func readArray(t *testing.T, path, name string) []float32 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("no reference data: %v (set SSLRT_SHARED)", err)
	}
	var out []float32
	r, err := npz.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Read(name, &out); err != nil {
		t.Fatalf("%s: %s: %v", path, name, err)
	}
	return out
}

// TestResNet18MatchesPyTorch loads weights with torchvision's names and compares
// the features with PyTorch's, which the reference data hold.
func TestResNet18MatchesPyTorch(t *testing.T) {
	base := filepath.Join(sharedDir(), "checkpoints", "timm_resnet18_model.safetensors")
	state, _, err := models.ReadSafetensors(gunzip(t, base+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	x := readArray(t, base+".npz", "input.npy")
	want := readArray(t, base+".npz", "features.npy")

	net, err := models.NewResNet("resnet18", models.StemImageNet, 1)
	if err != nil {
		t.Fatal(err)
	}
	g := op.NewGraph()
	params := models.NewParams(g)
	h := net.Forward(models.NewScope(params, false), g.Input("x", op.Float32, op.Batched(2, 3, 64, 64)))
	if err := params.Check(state); err != nil {
		t.Fatal(err)
	}
	p, err := engine.Go{}.Compile(engine.Function{Outputs: []export.Output{{Name: "h", Node: h}}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Load(engine.Tensors(state)); err != nil {
		t.Fatal(err)
	}
	out, err := p.Run(context.Background(), engine.Tensors{"x": engine.NewTensor(x, 2, 3, 64, 64)})
	if err != nil {
		t.Fatal(err)
	}
	worst, largest := 0.0, 0.0
	for i, v := range out["h"].Float32s() {
		worst = math.Max(worst, math.Abs(float64(v-want[i])))
		largest = math.Max(largest, math.Abs(float64(want[i])))
	}
	t.Logf("largest difference %.2g of %.3g", worst, largest)
	if worst > 1e-5*largest {
		t.Errorf("features differ by %g, the largest is %g", worst, largest)
	}
}

// The counts are those of torchvision's models without the classifier.
func TestResNetParameterCounts(t *testing.T) {
	for name, want := range map[string]int{"resnet18": 11176512, "resnet34": 21284672, "resnet50": 23508032} {
		net, err := models.NewResNet(name, models.StemImageNet, 1)
		if err != nil {
			t.Fatal(err)
		}
		g := op.NewGraph()
		params := models.NewParams(g)
		h := net.Forward(models.NewScope(params, true), g.Input("x", op.Float32, op.Batched(2, 3, 64, 64)))
		if err := g.Err(); err != nil {
			t.Fatal(err)
		}
		if h.Dims[1] != net.Size() {
			t.Errorf("%s: embedding of %d values, Size says %d", name, h.Dims[1], net.Size())
		}
		got := 0
		for _, s := range params.Trainable() {
			got += s.Node.Size()
		}
		if got != want {
			t.Errorf("%s has %d weights, torchvision's has %d", name, got, want)
		}
	}
}

func TestResNetInitialWeights(t *testing.T) {
	net, err := models.NewResNet("resnet18", models.StemCIFAR, 1)
	if err != nil {
		t.Fatal(err)
	}
	g := op.NewGraph()
	params := models.NewParams(g)
	net.Forward(models.NewScope(params, true), g.Input("x", op.Float32, op.Batched(2, 3, 32, 32)))
	state := params.Init(7)
	w := state["layer3.1.conv2.weight"].Float32s()
	sum := 0.0
	for _, v := range w {
		sum += float64(v) * float64(v)
	}
	// He initialisation with fan out 256*3*3; 590,000 draws give the variance to 0.5 %.
	if got, want := sum/float64(len(w)), 2.0/(256*9); math.Abs(got/want-1) > 0.01 {
		t.Errorf("variance of the weights is %g, want %g", got, want)
	}
	for i, v := range params.Init(7)["layer3.1.conv2.weight"].Float32s() {
		if v != w[i] {
			t.Fatal("the same seed gave other weights")
		}
	}
	if params.Init(8)["conv1.weight"].Float32s()[0] == state["conv1.weight"].Float32s()[0] {
		t.Error("another seed gave the same weights")
	}
}

func TestParamsErrors(t *testing.T) {
	for name, build := range map[string]func() error{
		"unknown encoder": func() error { _, err := models.NewResNet("resnet19", models.StemCIFAR, 1); return err },
		"unknown stem": func() error {
			_, err := models.NewEncoder("resnet18", models.EncoderOptions{Stem: "large"})
			return err
		},
		"no width": func() error { _, err := models.NewResNet("resnet18", models.StemCIFAR, 0); return err },
		"one value per channel": func() error {
			g := op.NewGraph()
			models.BatchNorm(models.NewScope(models.NewParams(g), true), g.Input("x", op.Float32, op.Batched(1, 4)))
			return g.Err()
		},
		"unknown activation": func() error {
			g := op.NewGraph()
			net := models.ResNet{Blocks: []int{1}, Widths: []int{2}, Stem: models.StemCIFAR, Activation: "swish"}
			net.Forward(models.NewScope(models.NewParams(g), true), g.Input("x", op.Float32, op.Batched(2, 3, 8, 8)))
			return g.Err()
		},
		"missing weight": func() error {
			g := op.NewGraph()
			p := models.NewParams(g)
			models.NewScope(p, true).Weight("w", models.Constant(0), 2)
			return p.Check(models.StateDict{})
		},
	} {
		if err := build(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A network is applied to a batch of 2 images of 32 pixels.
func ExampleResNet() {
	net, err := models.NewResNet("resnet18", models.StemCIFAR, 0.25)
	if err != nil {
		panic(err)
	}
	g := op.NewGraph()
	params := models.NewParams(g)
	x := g.Input("image", op.Float32, op.Batched(2, 3, 32, 32))
	h := net.Forward(models.NewScope(params, false), x)
	fmt.Println(h.Shape, len(params.Specs()), params.Specs()[0].Name)
	// Output: [N=2, 128] 100 conv1.weight
}
