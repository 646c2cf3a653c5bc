package export_test

import (
	"bytes"
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// imageModel is a network of an image, with a normalisation whose statistics are
// kept, Dropout, and a vector of sizes that is computed: relu(bn(conv(x))), flat.
func imageModel() *onnx.Model {
	b := onnx.NewBuilder(13)
	x := b.Input(onnx.TensorInfo("x", onnx.Float, onnx.Symbol("batch"), onnx.Fixed(1), onnx.Fixed(2), onnx.Fixed(2)))
	w := b.Initializer("conv.weight", onnx.FloatTensor("", []int64{2, 1, 1, 1}, []float32{2, -1}))
	list := func(name string, v ...float32) string {
		return b.Initializer(name, onnx.FloatTensor("", []int64{int64(len(v))}, v))
	}
	y := b.Node("Conv", []string{x, w})
	y = b.Node("BatchNormalization", []string{y, list("bn.weight", 1, 1), list("bn.bias", 0, 0), list("bn.mean", 0, 0), list("bn.var", 1, 1)}, onnx.FloatAttr("epsilon", 0))
	y = b.Node("Dropout", []string{b.Node("Relu", []string{y})})
	n := b.Node("Gather", []string{b.Node("Shape", []string{y}), b.Initializer("first", onnx.Int64Tensor("", nil, []int64{0}))})
	n = b.Node("Unsqueeze", []string{n, b.Initializer("axes", onnx.Int64Tensor("", []int64{1}, []int64{0}))})
	to := b.Node("Concat", []string{n, b.Initializer("rest", onnx.Int64Tensor("", []int64{1}, []int64{-1}))}, onnx.IntAttr("axis", 0))
	b.NodeTo("Reshape", []string{y, to}, []string{"features"})
	b.Output(onnx.TensorInfo("features", onnx.Float, onnx.Symbol("batch"), onnx.Fixed(8)))
	m, err := b.Model("image", onnx.Info{})
	if err != nil {
		panic(err)
	}
	m.Metadata = append(m.Metadata, onnx.StringEntry{Key: "author", Value: "somebody"})
	return m
}

func TestImport(t *testing.T) {
	e, err := export.Import(imageModel(), export.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if e.Size() != 8 || e.Input != "x" || e.Output != "features" || !slices.Equal(e.Image(), []int{1, 2, 2}) {
		t.Errorf("size %d, input %q, output %q, image %v", e.Size(), e.Input, e.Output, e.Image())
	}
	for _, train := range []bool{false, true} {
		g := op.NewGraph()
		p := models.NewParams(g)
		s := models.NewScope(p, train).Sub("encoder")
		y := e.Forward(s, g.Input("images", op.Float32, op.Batched(2, 1, 2, 2)))
		if err := g.Err(); err != nil {
			t.Fatal(err)
		}
		f := engine.Function{Outputs: []export.Output{{Name: "y", Node: y}}}
		if train {
			f.Outputs = append(f.Outputs, export.Output{Name: "mean", Node: p.Get("encoder.bn.mean")}, export.Output{Name: "var", Node: p.Get("encoder.bn.var")})
		}
		x := engine.NewTensor([]float32{1, -2, 3, 4, 5, 6, 7, 8}, 2, 1, 2, 2)
		got := run(t, f, engine.Tensors(p.Init(1)), engine.Tensors{"images": x})
		if !train {
			want := []float32{2, 0, 6, 8, 0, 2, 0, 0, 10, 12, 14, 16, 0, 0, 0, 0}
			if !slices.Equal(got["y"].Float32s(), want) {
				t.Errorf("got %v, want %v", got["y"].Float32s(), want)
			}
			continue
		}
		// The batch's mean is 4, its variance 9.5 (8/7 of that without bias); of channel 0
		// twice that and four times.
		for name, want := range map[string][]float64{"mean": {0.8, -0.4}, "var": {0.9 + 0.1*4*9.5*8/7, 0.9 + 0.1*9.5*8/7}} {
			for i, w := range want {
				if v := float64(got[name].Float32s()[i]); math.Abs(v-w) > 1e-5 {
					t.Errorf("running %s %d: got %g, want %g", name, i, v, w)
				}
			}
		}
		var trained, kept []string
		for _, spec := range p.Specs() {
			if spec.Trainable {
				trained = append(trained, spec.Name)
			} else {
				kept = append(kept, spec.Name)
			}
		}
		if want := names("encoder.conv.weight", "encoder.bn.weight", "encoder.bn.bias"); !slices.Equal(trained, want) {
			t.Errorf("trained: %v, want %v", trained, want)
		}
		if want := names("encoder.bn.mean", "encoder.bn.var"); !slices.Equal(kept, want) {
			t.Errorf("kept: %v, want %v", kept, want)
		}
	}
}

func run(t *testing.T, f engine.Function, params, in engine.Tensors) engine.Tensors {
	t.Helper()
	p, err := engine.Go{}.Compile(f)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Load(params); err != nil {
		t.Fatal(err)
	}
	out, err := p.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestImportMiddle takes a value inside of the file, of which the mean over all
// positions is the embedding.
func TestImportMiddle(t *testing.T) {
	e, err := export.Import(imageModel(), export.ImportOptions{Output: "Relu_0"})
	if err != nil {
		t.Fatal(err)
	}
	if e.Size() != 2 {
		t.Errorf("size %d, want 2 channels", e.Size())
	}
}

// TestWriteBack: with other weights nothing but they differ, bytes that this program
// does not know included.
func TestWriteBack(t *testing.T) {
	data, err := imageModel().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, 0xfa, 0x7f, 3, 'n', 'e', 'w') // field 2047 of the model
	m, err := onnx.Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	e, err := export.Import(m, export.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	same, err := e.WriteBack(e.Params())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := same.Marshal(); err != nil || !bytes.Equal(got, data) {
		t.Errorf("with its own weights the file differs (%v)", err)
	}
	params := e.Params()
	params["conv.weight"] = tensor.New(tensor.WithShape(2, 1, 1, 1), tensor.WithBacking([]float32{7, 11}))
	changed, err := e.WriteBack(params)
	if err != nil {
		t.Fatal(err)
	}
	got, err := changed.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	// 7 and 11 in the place of 2 and -1, as little-endian floats.
	was, is := []byte{0, 0, 0, 0x40, 0, 0, 0x80, 0xbf}, []byte{0, 0, 0xe0, 0x40, 0, 0, 0x30, 0x41}
	if bytes.Count(data, was) != 1 || !bytes.Equal(got, bytes.Replace(data, was, is, 1)) {
		t.Error("more than the weight differs")
	}
	if w, _ := m.Graph.Initializer("conv.weight").Floats(); w[0] != 2 {
		t.Error("the original changed")
	}
	for _, c := range []struct {
		params models.StateDict
		want   string
	}{
		{models.StateDict{"other": params["conv.weight"]}, `no initialiser "other"`},
		{models.StateDict{"bn.mean": params["conv.weight"]}, "bn.mean"},
		{models.StateDict{"first": tensor.New(tensor.WithShape(), tensor.WithBacking([]float32{1}))}, "floating-point"},
	} {
		if _, err := e.WriteBack(c.params); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestImportErrors(t *testing.T) {
	edit := func(f func(m *onnx.Model)) *onnx.Model {
		m := imageModel()
		f(m)
		return m
	}
	for _, c := range []struct {
		m    *onnx.Model
		opt  export.ImportOptions
		want string
	}{
		{edit(func(m *onnx.Model) { m.Graph.Inputs[0].Dims[2] = onnx.Symbol("height") }), export.ImportOptions{}, "open: say which"},
		{imageModel(), export.ImportOptions{Image: []int{1, 4, 4}}, "the file says 2"},
		{imageModel(), export.ImportOptions{Output: "nothing"}, "given by no node"},
		{small(13, 3, node("Relu", names("x"), names("y"))), export.ImportOptions{}, "want one image"},
		{edit(func(m *onnx.Model) { m.Graph.Nodes[0].OpType = "Convolve" }), export.ImportOptions{}, "Convolve"},
		{edit(func(m *onnx.Model) { m.Opsets[0].Version = 99 }), export.ImportOptions{}, "opset 99"},
	} {
		if _, err := export.Import(c.m, c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	nan := edit(func(m *onnx.Model) {
		m.Graph.Initializer("bn.bias").Raw = []byte{0, 0, 0xc0, 0x7f, 0, 0, 0, 0}
	})
	e, err := export.Import(nan, export.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := e.NonFinite(); !slices.Equal(got, names("bn.bias")) {
		t.Errorf("not finite: %v, want bn.bias", got)
	}
}

// TestFixedBatch: a file that says that it takes one image becomes an encoder of
// any number, unless a node says so too.
func TestFixedBatch(t *testing.T) {
	m := imageModel()
	m.Graph.Inputs[0].Dims[0] = onnx.Fixed(1)
	if _, err := export.Import(m, export.ImportOptions{}); err != nil {
		t.Error(err)
	}
	m.Graph.Nodes[len(m.Graph.Nodes)-1].Inputs[1] = "one"
	m.Graph.Initializers = append(m.Graph.Initializers, onnx.Int64Tensor("one", []int64{2}, []int64{1, 8}))
	if _, err := export.Import(m, export.ImportOptions{}); err == nil || !strings.Contains(err.Error(), "Reshape") {
		t.Errorf("got %v, want an error of the Reshape", err)
	}
}
