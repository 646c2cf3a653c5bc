package runtime_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
	"github.com/sslrt/sslrt/runtime/ort"
)

func needLibrary(t testing.TB) {
	t.Helper()
	if _, err := ort.Init(ort.FindOptions{}); err != nil {
		t.Skip(err)
	}
}

// modelSpec describes a small encoder: Conv 3x3, Relu, global average, Gemm.
type modelSpec struct {
	info    onnx.Info
	batch   onnx.Dim
	size    int  // of the input, in pixels
	bytes   bool // uint8 [N, H, W, 3] input
	outputs []string
}

const testDim = 5

func encoderInfo(size int) onnx.Info {
	return onnx.Info{Kind: onnx.KindEncoder, Method: "simclr", EmbeddingSize: testDim,
		Preprocess: augment.EvalPreprocess(size).Metadata()}
}

func build(t testing.TB, spec modelSpec) []byte {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 7))
	normal := func(name string, dims ...int64) *onnx.Tensor {
		n := int64(1)
		for _, d := range dims {
			n *= d
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		return onnx.FloatTensor(name, dims, x)
	}
	b := onnx.NewBuilder(17)
	side := onnx.Fixed(int64(spec.size))
	var x string
	if spec.bytes {
		in := b.Input(onnx.TensorInfo("image", onnx.Uint8, spec.batch, side, side, onnx.Fixed(3)))
		x = b.Node("Cast", []string{in}, onnx.IntAttr("to", int64(onnx.Float)))
		x = b.Node("Transpose", []string{x}, onnx.IntsAttr("perm", 0, 3, 1, 2))
		// (x/255 - mean)/std as ImageNet's
		mean := b.Const(onnx.FloatTensor("mean", []int64{1, 3, 1, 1}, augment.ImageNetMean[:]))
		std := b.Const(onnx.FloatTensor("std", []int64{1, 3, 1, 1}, augment.ImageNetStd[:]))
		x = b.Node("Div", []string{x, b.Float(255)})
		x = b.Node("Sub", []string{x, mean})
		x = b.Node("Div", []string{x, std})
	} else {
		x = b.Input(onnx.TensorInfo("image", onnx.Float, spec.batch, onnx.Fixed(3), side, side))
	}
	x = b.Node("Conv", []string{x, b.Const(normal("w", 8, 3, 3, 3))}, onnx.IntsAttr("pads", 1, 1, 1, 1))
	x = b.Node("Relu", []string{x})
	x = b.Node("GlobalAveragePool", []string{x})
	x = b.Node("Flatten", []string{x})
	outputs := spec.outputs
	if outputs == nil {
		outputs = []string{"embedding"}
	}
	for _, name := range outputs {
		b.NodeTo("Gemm", []string{x, b.Const(normal(name+"_w", 8, testDim)), b.Const(normal(name+"_b", testDim))}, []string{name})
		b.Output(onnx.TensorInfo(name, onnx.Float, spec.batch, onnx.Fixed(testDim)))
	}
	m, err := b.Model("test", spec.info)
	if err != nil {
		t.Fatal(err)
	}
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func picture(seed uint64, w, h int) *augment.Image {
	rng := rand.New(rand.NewPCG(seed, 0))
	m := augment.NewImage(w, h)
	for i := range m.Pix {
		m.Pix[i] = uint8(rng.Uint32())
	}
	return m
}

func load(t testing.TB, model []byte, opt runtime.Options) *runtime.Encoder {
	t.Helper()
	e, err := runtime.LoadBytes(model, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func equalBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

func TestEmbedWays(t *testing.T) {
	needLibrary(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "encoder.onnx")
	if err := os.WriteFile(path, build(t, modelSpec{info: encoderInfo(16), batch: onnx.Symbol("N"), size: 16}), 0o644); err != nil {
		t.Fatal(err)
	}
	e, err := runtime.Load(path, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if e.Dim() != testDim || e.Info().Method != "simclr" || e.Preprocess() != augment.EvalPreprocess(16) {
		t.Errorf("got dim %d, method %q, preprocessing %v", e.Dim(), e.Info().Method, e.Preprocess())
	}
	m := picture(1, 40, 30)
	file := filepath.Join(dir, "a.png")
	if err := m.WritePNG(file); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	want, err := e.EmbedBatch(ctx, []*augment.Image{m})
	if err != nil {
		t.Fatal(err)
	}
	for name, embed := range map[string]func() ([]float32, error){
		"image":  func() ([]float32, error) { return e.EmbedImage(ctx, m.ToImage()) },
		"bytes":  func() ([]float32, error) { return e.EmbedBytes(ctx, raw) },
		"reader": func() ([]float32, error) { return e.EmbedReader(ctx, bytes.NewReader(raw)) },
		"file":   func() ([]float32, error) { return e.EmbedFile(ctx, file) },
	} {
		got, err := embed()
		if err != nil || !equalBits(got, want) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, want)
		}
	}
}

// A flat grey image makes the whole network a closed form.
func TestEmbedValue(t *testing.T) {
	needLibrary(t)
	model := build(t, modelSpec{info: encoderInfo(8), batch: onnx.Symbol("N"), size: 8})
	parsed, err := onnx.Unmarshal(model)
	if err != nil {
		t.Fatal(err)
	}
	weights := map[string][]float32{}
	for _, init := range parsed.Graph.Initializers {
		if weights[init.Name], err = init.Floats(); err != nil {
			t.Fatal(err)
		}
	}
	var conv, gemm []float32
	var bias []float32
	for _, n := range parsed.Graph.Nodes {
		switch n.OpType {
		case "Conv":
			conv = weights[n.Inputs[1]]
		case "Gemm":
			gemm, bias = weights[n.Inputs[1]], weights[n.Inputs[2]]
		}
	}
	const grey, side = 51, 8 // 51/255 = 0.2
	pooled := make([]float64, 8)
	for o := range pooled {
		for y := range side {
			for x := range side {
				var sum float64
				for c := range 3 {
					v := (0.2 - float64(augment.ImageNetMean[c])) / float64(augment.ImageNetStd[c])
					for dy := -1; dy <= 1; dy++ {
						for dx := -1; dx <= 1; dx++ {
							if y+dy >= 0 && y+dy < side && x+dx >= 0 && x+dx < side {
								sum += v * float64(conv[((o*3+c)*3+dy+1)*3+dx+1])
							}
						}
					}
				}
				pooled[o] += math.Max(sum, 0) / (side * side)
			}
		}
	}
	m := image.NewGray(image.Rect(0, 0, 20, 11))
	for i := range m.Pix {
		m.Pix[i] = grey
	}
	got, err := load(t, model, runtime.Options{}).EmbedImage(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	for j := range testDim {
		want := float64(bias[j])
		for o, p := range pooled {
			want += p * float64(gemm[o*testDim+j])
		}
		if math.Abs(float64(got[j])-want) > 1e-5*math.Max(1, math.Abs(want)) {
			t.Errorf("embedding[%d]: got %v, want %v", j, got[j], want)
		}
	}
}

// The same image must give the same bits in every batch size, place, number of
// threads and kind of batch dimension.
func TestEmbedBitsDoNotDependOnBatch(t *testing.T) {
	needLibrary(t)
	ctx := context.Background()
	pictures := make([]*augment.Image, 41)
	for i := range pictures {
		pictures[i] = picture(uint64(i), 20+i, 30)
	}
	var want []float32
	for name, c := range map[string]struct {
		batch   onnx.Dim
		threads int
	}{
		"open, 1 thread": {onnx.Symbol("N"), 1}, "open, 2 threads": {onnx.Symbol("N"), 2}, "open, 3 threads": {onnx.Symbol("N"), 3},
		"fixed at 1": {onnx.Fixed(1), 2}, "fixed at 6": {onnx.Fixed(6), 2},
	} {
		e := load(t, build(t, modelSpec{info: encoderInfo(16), batch: c.batch, size: 16}),
			runtime.Options{Session: ort.Options{Threads: c.threads}})
		if want == nil {
			for _, p := range pictures {
				y, err := e.EmbedBatch(ctx, []*augment.Image{p})
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, y...)
			}
		}
		for _, n := range []int{1, 2, 7, 8, 9, 16, 40, 41} {
			order := rand.New(rand.NewPCG(uint64(n), 0)).Perm(len(pictures))
			for lo := 0; lo < len(order); lo += n {
				part := order[lo:min(lo+n, len(order))]
				batch := make([]*augment.Image, len(part))
				for k, i := range part {
					batch[k] = pictures[i]
				}
				got, err := e.EmbedBatch(ctx, batch)
				if err != nil {
					t.Fatal(err)
				}
				for k, i := range part {
					if !equalBits(got[k*testDim:(k+1)*testDim], want[i*testDim:(i+1)*testDim]) {
						t.Fatalf("%s, batch %d: image %d at place %d: got %v, want %v", name, n, i, k,
							got[k*testDim:(k+1)*testDim], want[i*testDim:(i+1)*testDim])
					}
				}
			}
		}
	}
}

func TestUint8Model(t *testing.T) {
	needLibrary(t)
	ctx := context.Background()
	info := encoderInfo(16)
	float := load(t, build(t, modelSpec{info: info, batch: onnx.Symbol("N"), size: 16}), runtime.Options{})
	info.Input = onnx.InputUint8
	bytes := load(t, build(t, modelSpec{info: info, batch: onnx.Symbol("N"), size: 16, bytes: true}), runtime.Options{})
	foreign := load(t, build(t, modelSpec{batch: onnx.Symbol("N"), size: 16, bytes: true}), runtime.Options{})
	m := []*augment.Image{picture(3, 16, 16), picture(4, 50, 20)}
	want, err := float.EmbedBatch(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]*runtime.Encoder{"with metadata": bytes, "foreign": foreign} {
		got, err := e.EmbedBatch(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if math.Abs(float64(got[i]-want[i])) > 1e-4 {
				t.Errorf("%s: value %d: got %v, want %v", name, i, got[i], want[i])
			}
		}
	}
}

func TestForeignModel(t *testing.T) {
	needLibrary(t)
	one := build(t, modelSpec{batch: onnx.Symbol("N"), size: 16})
	two := build(t, modelSpec{batch: onnx.Symbol("N"), size: 16, outputs: []string{"features", "projection"}})
	flags := map[string]string{"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}
	for name, c := range map[string]struct {
		model []byte
		opt   runtime.Options
		want  string // of the error
	}{
		"nothing given":     {one, runtime.Options{}, "--mean"},
		"no std":            {one, runtime.Options{Preprocess: map[string]string{"mean": "0"}}, "--std"},
		"all given":         {one, runtime.Options{Preprocess: flags}, ""},
		"wrong size":        {one, runtime.Options{Preprocess: map[string]string{"mean": "0", "std": "1", "size": "32"}}, "--image-size"},
		"two outputs":       {two, runtime.Options{Preprocess: flags}, "features, projection"},
		"one chosen":        {two, runtime.Options{Preprocess: flags, Output: "features"}, ""},
		"unknown output":    {two, runtime.Options{Preprocess: flags, Output: "x"}, `no output "x"`},
		"other kind":        {build(t, modelSpec{info: onnx.Info{Kind: onnx.KindDetector}, batch: onnx.Symbol("N"), size: 16}), runtime.Options{Preprocess: flags}, "its kind is detector, want encoder"},
		"no model":          {[]byte("GIF89a no model at all"), runtime.Options{}, "runtime: load model: "},
		"empty":             {nil, runtime.Options{}, "runtime: load model: "},
		"library missing":   {one, runtime.Options{Preprocess: flags, Library: "no/such/file"}, "sslrt setup"},
		"bad device":        {one, runtime.Options{Preprocess: flags, Session: ort.Options{Device: "tpu"}}, `got "tpu"`},
		"bad preprocessing": {one, runtime.Options{Preprocess: map[string]string{"mean": "0", "std": "1", "size": "x"}}, "size"},
	} {
		e, err := runtime.LoadBytes(c.model, c.opt)
		switch {
		case err == nil && c.want == "":
			e.Close()
		case err == nil || c.want == "" || !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
	if _, err := runtime.Load(filepath.Join(t.TempDir(), "no.onnx"), runtime.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
}

func TestBadImages(t *testing.T) {
	needLibrary(t)
	ctx := context.Background()
	e := load(t, build(t, modelSpec{info: encoderInfo(16), batch: onnx.Symbol("N"), size: 16}), runtime.Options{})
	var whole bytes.Buffer
	if err := png.Encode(&whole, picture(1, 30, 30).ToImage()); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"empty": nil, "text": []byte("text"), "cut off": whole.Bytes()[:whole.Len()/2]} {
		if _, err := e.EmbedBytes(ctx, data); err == nil || !strings.HasPrefix(err.Error(), "runtime: embed: ") {
			t.Errorf("%s: got %v, want an error", name, err)
		}
	}
	if _, err := e.EmbedImage(ctx, image.NewRGBA(image.Rect(0, 0, 0, 0))); err == nil {
		t.Error("no pixels: got no error")
	}
	if _, err := e.EmbedImage(ctx, nil); err == nil {
		t.Error("nil image: got no error")
	}
	if _, err := e.EmbedBatch(ctx, []*augment.Image{{W: 4, H: 4}}); err == nil {
		t.Error("missing pixels: got no error")
	}
	if _, err := e.EmbedImage(ctx, image.NewUniform(color.White)); err == nil {
		t.Error("endless image: got no error")
	}
	if y, err := e.EmbedImage(ctx, picture(1, 1, 1).ToImage()); err != nil || len(y) != testDim {
		t.Errorf("1x1: got %v, %v", y, err)
	}
	if y, err := e.EmbedBatch(ctx, nil); err != nil || len(y) != 0 {
		t.Errorf("no images: got %v, %v", y, err)
	}
}

func TestConcurrentEmbedAndClose(t *testing.T) {
	needLibrary(t)
	e, err := runtime.LoadBytes(build(t, modelSpec{info: encoderInfo(16), batch: onnx.Symbol("N"), size: 16}), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	var want [][]float32
	for i := range 4 {
		y, err := e.EmbedBatch(ctx, []*augment.Image{picture(uint64(i), 16, 16)})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, y)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				batch := slices.Repeat([]*augment.Image{picture(uint64(i), 16, 16)}, 1+n%11)
				y, err := e.EmbedBatch(ctx, batch)
				if errors.Is(err, ort.ErrClosed) {
					return
				}
				if err != nil || !equalBits(y[len(y)-testDim:], want[i]) {
					t.Errorf("got %v, %v, want %v", y, err, want[i])
					return
				}
				if n == 30 && i == 0 {
					e.Close()
				}
			}
		})
	}
	wg.Wait()
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := e.EmbedBatch(cancelled, []*augment.Image{picture(0, 16, 16)}); err == nil {
		t.Error("closed and cancelled: got no error")
	}
}
