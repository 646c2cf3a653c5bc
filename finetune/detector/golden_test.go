package detector

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sbinet/npyio/npz"

	"github.com/sslrt/sslrt/finetune/anomaly"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime/ort"
)

// golden calls f for each case of a kind among the reference data of scikit-learn
// and NumPy.
func golden(t *testing.T, kind string, f func(t *testing.T, params json.RawMessage, a arrays)) {
	shared := os.Getenv("SSLRT_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "shared")
	}
	if !filepath.IsAbs(shared) {
		shared = filepath.Join("..", "..", shared) // relative to the module's root
	}
	dir := filepath.Join(shared, "golden", "evalmetrics")
	text, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		t.Skip("no reference data: set SSLRT_SHARED to a folder that holds golden/evalmetrics")
	}
	var cases []struct {
		Name, File, Op string
		Params         json.RawMessage
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, c := range cases {
		if c.Op != kind {
			continue
		}
		found++
		t.Run(c.Name, func(t *testing.T) {
			r, err := npz.Open(filepath.Join(dir, c.File))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			f(t, c.Params, arrays{t, r})
		})
	}
	if found == 0 {
		t.Skipf("the reference data have no case of kind %s", kind)
	}
}

type arrays struct {
	t *testing.T
	r *npz.Reader
}

func (a arrays) shape(name string) []int {
	return a.r.Header(name + ".npy").Descr.Shape
}

func read[T any](a arrays, name string) []T {
	a.t.Helper()
	var v []T
	if err := a.r.Read(name+".npy", &v); err != nil {
		a.t.Fatalf("%s: %v", name, err)
	}
	return v
}

// evaluate runs the nodes that build writes behind an input x.
func evaluate(t *testing.T, x []float32, shape []int, build func(w writer, x string) []string) [][]float32 {
	t.Helper()
	dims := make([]onnx.Dim, len(shape))
	for i, d := range shape {
		dims[i] = onnx.Fixed(int64(d))
	}
	for _, opset := range []int64{11, 13, 18} {
		w := writer{onnx.NewBuilder(opset), opset}
		outputs := build(w, w.Input(onnx.TensorInfo("x", onnx.Float, dims...)))
		for i, o := range outputs {
			name := "out" + string(rune('0'+i))
			w.NodeTo("Reshape", []string{o, w.Ints(-1)}, []string{name})
			w.Output(onnx.TensorInfo(name, onnx.Float, onnx.Dim{Value: -1}))
		}
		m, err := w.Model("test", onnx.Info{})
		if err != nil {
			t.Fatal(err)
		}
		data, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		s, err := ort.Open(data, ort.Options{})
		if err != nil {
			t.Fatalf("opset %d: %v", opset, err)
		}
		in, err := ort.NewTensor(shape, x)
		if err != nil {
			t.Fatal(err)
		}
		results := make([]*ort.Tensor, len(outputs))
		if err := s.Run(context.Background(), []*ort.Tensor{in}, results); err != nil {
			t.Fatalf("opset %d: %v", opset, err)
		}
		var out [][]float32
		for _, r := range results {
			v, err := ort.Data[float32](r)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, v)
		}
		s.Close()
		if opset == 18 {
			return out
		}
	}
	panic("unreachable")
}

func near(t *testing.T, what string, got []float32, want []float64, rtol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Abs(float64(got[i])-want[i]) > 1e-6+rtol*math.Abs(want[i]) {
			t.Errorf("%s[%d] is %g, want %g", what, i, got[i], want[i])
		}
	}
}

func TestPaDiMGolden(t *testing.T) {
	golden(t, "padim", func(t *testing.T, params json.RawMessage, a arrays) {
		var p struct{ Ridge float64 }
		if err := json.Unmarshal(params, &p); err != nil {
			t.Fatal(err)
		}
		shape := a.shape("train") // n, C, H, W
		d := newPadim(grid{shape[1], shape[2], shape[3]}, p.Ridge)
		if err := d.add(read[float32](a, "train")); err != nil {
			t.Fatal(err)
		}
		means, whiten, err := d.fit()
		if err != nil {
			t.Fatal(err)
		}
		out := evaluate(t, read[float32](a, "test"), a.shape("test"), func(w writer, x string) []string {
			scores := d.nodes(w, x, means, whiten)
			return []string{scores, imageScore(w, scores)}
		})
		near(t, "score_map", out[0], read[float64](a, "score_map_f64"), 1e-4)
		near(t, "image_score", out[1], read[float64](a, "image_score_f64"), 1e-4)
	})
}

func TestPatchCoreGolden(t *testing.T) {
	golden(t, "patchcore", func(t *testing.T, params json.RawMessage, a arrays) {
		var p struct{ B int }
		if err := json.Unmarshal(params, &p); err != nil {
			t.Fatal(err)
		}
		shape := a.shape("query_patches") // n, P, D
		n, places, dim := shape[0], shape[1], shape[2]
		d := &patchcore{grid: grid{dim, 1, places}}
		out := evaluate(t, read[float32](a, "query_patches"), shape, func(w writer, x string) []string {
			x = w.reshape(w.transpose(x, 0, 2, 1), int64(n), int64(dim), 1, int64(places))
			scores, image := d.nodes(w, x, append([]float32(nil), read[float32](a, "memory_bank")...), p.B)
			return []string{scores, image}
		})
		near(t, "patch_scores", out[0], read[float64](a, "patch_scores_f64"), 1e-5)
		near(t, "image_score", out[1], read[float64](a, "image_score_f64"), 1e-5)
	})
}

// The nodes against the arithmetic in float64 of package anomaly, for numbers of
// neighbours that no reference case has: 1 leaves the weight out.
func TestPatchCoreNeighbours(t *testing.T) {
	const n, places, dim, k = 3, 4, 2, 6
	bank, x := make([]float32, k*dim), make([]float32, n*places*dim)
	for i := range bank {
		bank[i] = float32(math.Sin(float64(i) * 1.7))
	}
	for i := range x {
		x[i] = 2 * float32(math.Cos(float64(i)))
	}
	d := &patchcore{grid: grid{dim, 1, places}}
	for _, b := range []int{1, 2, 3, k, 9} {
		var want []float64
		for i := range n {
			s, err := anomaly.PatchCore(context.Background(), bank, x[i*places*dim:(i+1)*places*dim], dim, b)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, s.Score)
		}
		out := evaluate(t, x, []int{n, places, dim}, func(w writer, x string) []string {
			x = w.reshape(w.transpose(x, 0, 2, 1), n, dim, 1, places)
			_, image := d.nodes(w, x, slices.Clone(bank), b)
			return []string{image}
		})
		near(t, fmt.Sprintf("%d neighbours", b), out[0], want, 1e-5)
	}
}

// A bank of more than one piece is searched by a loop.
func TestNearestInPieces(t *testing.T) {
	const k, c, r = 2*piece + 17, 3, 5
	bankRows := make([]float32, k*c)
	for i := range bankRows {
		bankRows[i] = float32(math.Sin(float64(i) * 1.7))
	}
	x := make([]float32, r*c)
	for i := range x {
		x[i] = float32(math.Cos(float64(i)))
	}
	want := make([]float64, r)
	for i := range want {
		best := math.Inf(1)
		for j := range k {
			d := 0.0
			for m := range c {
				d += sq(float64(x[i*c+m]) - float64(bankRows[j*c+m]))
			}
			best = min(best, d)
		}
		want[i] = math.Sqrt(best)
	}
	out := evaluate(t, x, []int{r, c}, func(w writer, x string) []string {
		return []string{w.root(newBank(w, bankRows, k, c).nearest(w, x))}
	})
	for i := range want {
		if math.Abs(float64(out[0][i])-want[i]) > 1e-3 {
			t.Errorf("row %d: %g, want %g", i, out[0][i], want[i])
		}
	}
}
