package export_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

func floats(values []float32, shape ...int) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(values))
}

// chain is a network small enough to fold by hand: a 1x1 convolution, BatchNorm,
// pooling, a linear layer with bias, BatchNorm.
func chain() (export.Part, models.StateDict) {
	p := export.Part{Kind: onnx.KindEncoder, Preprocess: augment.EvalPreprocess(8), Method: "simclr", Version: "1.2.3",
		Training: []byte(`{"epochs":3}`),
		Stages: []export.Stage{{Name: "net", Forward: func(s models.Scope, x *op.Node) *op.Node {
			x = models.BatchNorm(s.Sub("bn1"), models.Conv(s.Sub("conv1"), x, 2, 1, 1, 0))
			return models.BatchNorm(s.Sub("bn2"), models.Linear(s.Sub("fc"), op.GlobalAveragePool(x), 1, true))
		}}}}
	return p, models.StateDict{
		"net.conv1.weight":     floats([]float32{1, 2, 3, 4, 5, 6}, 2, 3, 1, 1),
		"net.bn1.weight":       floats([]float32{2, 3}, 2),
		"net.bn1.bias":         floats([]float32{-1, 1}, 2),
		"net.bn1.running_mean": floats([]float32{5, 7}, 2),
		"net.bn1.running_var":  floats([]float32{4 - 1e-5, 0.25 - 1e-5}, 2),
		"net.fc.weight":        floats([]float32{10, 20}, 1, 2),
		"net.fc.bias":          floats([]float32{4}, 1),
		"net.bn2.weight":       floats([]float32{3}, 1),
		"net.bn2.bias":         floats([]float32{0.5}, 1),
		"net.bn2.running_mean": floats([]float32{2}, 1),
		"net.bn2.running_var":  floats([]float32{9 - 1e-5}, 1),
	}
}

func operators(m *onnx.Model) []string {
	var out []string
	for _, n := range m.Graph.Nodes {
		out = append(out, n.OpType)
	}
	return out
}

func TestFold(t *testing.T) {
	p, weights := chain()
	m, err := p.Model(weights, export.ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if ops := operators(m); slices.Contains(ops, "BatchNormalization") || slices.Contains(ops, "Add") {
		t.Errorf("got the operators %v", ops)
	}
	want := map[string][]float32{
		// The standard deviations are 2, 1/2 and 3.
		"net.conv1.weight": {1, 2, 3, 24, 30, 36},
		"net.conv1.bias":   {-5 - 1, -42 + 1},
		"net.fc.weight":    {10, 20},
		"net.fc.bias":      {4 - 2 + 0.5},
	}
	for name, w := range want {
		init := m.Graph.Initializer(name)
		if init == nil {
			t.Errorf("there is no %q", name)
			continue
		}
		got, err := init.Floats()
		if err != nil || len(got) != len(w) {
			t.Fatalf("%s: got %v (%v), want %v", name, got, err, w)
		}
		for i := range w {
			if math.Abs(float64(got[i]-w[i])) > 1e-6*math.Abs(float64(w[i])) {
				t.Errorf("%s: got %v, want %v", name, got, w)
				break
			}
		}
	}
	for _, init := range m.Graph.Initializers {
		if strings.Contains(init.Name, "bn") {
			t.Errorf("%q is left", init.Name)
		}
	}
}

func TestKeepBatchNorm(t *testing.T) {
	p, weights := chain()
	m, err := p.Model(weights, export.ModelOptions{KeepBatchNorm: true})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, node := range m.Graph.Nodes {
		if node.OpType == "BatchNormalization" {
			n++
			if len(node.Inputs) != 5 || node.Attr("training_mode") != nil {
				t.Errorf("got %v", node)
			}
		}
	}
	if n != 2 {
		t.Errorf("got %d BatchNormalization, want 2", n)
	}
	for name, w := range weights {
		init := m.Graph.Initializer(name)
		if init == nil {
			t.Fatalf("there is no %q", name)
		}
		if got, err := init.Floats(); err != nil || !slices.Equal(got, w.Float32s()) {
			t.Errorf("%q: got %v (%v), want %v", name, got, err, w)
		}
	}
}

// A layer whose result something else reads too cannot take in what follows.
func TestFoldLeavesSharedLayers(t *testing.T) {
	p, weights := chain()
	p.Stages[0].Forward = func(s models.Scope, x *op.Node) *op.Node {
		y := models.Conv(s.Sub("conv1"), x, 2, 1, 1, 0)
		return op.GlobalAveragePool(op.Add(y, models.BatchNorm(s.Sub("bn1"), y)))
	}
	m, err := p.Model(weights, export.ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if ops := operators(m); !slices.Contains(ops, "BatchNormalization") {
		t.Errorf("got the operators %v", ops)
	}
}

func TestInterface(t *testing.T) {
	p, weights := chain()
	for input, want := range map[string]string{onnx.InputFloat: "float32[N 3 8 8]", onnx.InputUint8: "uint8[N 8 8 3]"} {
		m, err := p.Model(weights, export.ModelOptions{Input: input})
		if err != nil {
			t.Fatal(err)
		}
		in, out := m.Graph.Inputs, m.Graph.Outputs
		if len(in) != 1 || in[0].Name != "image" || fmt.Sprintf("%v%v", in[0].Type, in[0].Dims) != want {
			t.Errorf("%s: got the input %v, want %s", input, in[0], want)
		}
		if len(out) != 1 || out[0].Name != "embedding" || fmt.Sprint(out[0].Dims) != "[N 1]" {
			t.Errorf("%s: got the outputs %v", input, out)
		}
		if m.Opset("") != 17 || m.IRVersion != 8 {
			t.Errorf("got opset %d, IR version %d", m.Opset(""), m.IRVersion)
		}
		info, err := onnx.ReadInfo(m)
		if err != nil {
			t.Fatal(err)
		}
		pre, err := augment.ParsePreprocess(info.Preprocess)
		if err != nil || pre != p.Preprocess {
			t.Errorf("got the preprocessing %v (%v), want %v", pre, err, p.Preprocess)
		}
		if info.Kind != "encoder" || info.Method != "simclr" || info.Version != "1.2.3" || info.EmbeddingSize != 1 ||
			info.Layer != "net" || info.Input != input || string(info.Training) != `{"epochs":3}` {
			t.Errorf("got %+v", info)
		}
	}
}

func TestPartErrors(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(p *export.Part, w models.StateDict, o *export.ModelOptions)
	}{
		{"the encoder holds the size of the batch", func(p *export.Part, _ models.StateDict, _ *export.ModelOptions) {
			p.Stages[0].Forward = func(s models.Scope, x *op.Node) *op.Node {
				ones := make([]float32, x.Dims[0])
				return op.Mul(op.GlobalAveragePool(x), x.Graph().Const(ones, x.Dims[0], 1))
			}
		}},
		{"one row for each", func(p *export.Part, _ models.StateDict, _ *export.ModelOptions) {
			p.Stages[0].Forward = func(s models.Scope, x *op.Node) *op.Node { return x }
		}},
		{`lack "net.bn2.weight"`, func(_ *export.Part, w models.StateDict, _ *export.ModelOptions) { delete(w, "net.bn2.weight") }},
		{`"net.bn2.bias": got float32(2), want float32[1]`, func(_ *export.Part, w models.StateDict, _ *export.ModelOptions) {
			w["net.bn2.bias"] = floats([]float32{1, 2}, 2)
		}},
		{"opset 12", func(_ *export.Part, _ models.StateDict, o *export.ModelOptions) { o.Opset = 12 }},
		{`unknown input "jpeg"`, func(_ *export.Part, _ models.StateDict, o *export.ModelOptions) { o.Input = "jpeg" }},
		{`unknown kind of part "cat"`, func(p *export.Part, _ models.StateDict, _ *export.ModelOptions) { p.Kind = "cat" }},
		{"1 outputs for 2 classes", func(p *export.Part, _ models.StateDict, _ *export.ModelOptions) {
			p.Kind, p.Classes = onnx.KindClassifier, []string{"a", "b"}
		}},
		{"without networks", func(p *export.Part, _ models.StateDict, _ *export.ModelOptions) { p.Stages = nil }},
		{"std", func(p *export.Part, _ models.StateDict, _ *export.ModelOptions) { p.Preprocess.Std[0] = 0 }},
	} {
		p, w := chain()
		var o export.ModelOptions
		c.change(&p, w, &o)
		if _, err := p.Model(w, o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func ExamplePart_Model() {
	encoder, err := models.NewResNet("resnet18", models.StemCIFAR, 0.25)
	if err != nil {
		panic(err)
	}
	part := export.Part{
		Kind:       onnx.KindEncoder,
		Stages:     []export.Stage{{Name: "encoder", Forward: encoder.Forward}},
		Preprocess: augment.EvalPreprocess(32),
	}
	_, params, err := part.Outputs(1)
	if err != nil {
		panic(err)
	}
	m, err := part.Model(params.Init(1), export.ModelOptions{}) // untrained weights
	if err != nil {
		panic(err)
	}
	in, out := m.Graph.Inputs[0], m.Graph.Outputs[0]
	fmt.Println(in.Name, in.Type, in.Dims)
	fmt.Println(out.Name, out.Type, out.Dims)
	// Output:
	// image float32 [N 3 32 32]
	// embedding float32 [N 128]
}
