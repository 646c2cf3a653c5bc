package ort_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime/ort"
)

// needLibrary skips the test where ONNX Runtime is not installed.
func needLibrary(t testing.TB) {
	t.Helper()
	if _, err := ort.Init(ort.FindOptions{}); err != nil {
		t.Skip(err)
	}
}

func marshal(t testing.TB, b *onnx.Builder) []byte {
	t.Helper()
	m, err := b.Model("test", onnx.Info{Method: "none"})
	if err != nil {
		t.Fatal(err)
	}
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func tensor[T ort.Element](t testing.TB, shape []int, data ...T) *ort.Tensor {
	t.Helper()
	x, err := ort.NewTensor(shape, data)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func data[T ort.Element](t testing.TB, x *ort.Tensor) []T {
	t.Helper()
	d, err := ort.Data[T](x)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// descent is one step on |w|^2/2: new_w = w - lr*w, loss = sum(w*w)/2. w: [N, 2].
func descent(t testing.TB) []byte {
	b := onnx.NewBuilder(17)
	w := b.Input(onnx.TensorInfo("w", onnx.Float, onnx.Symbol("N"), onnx.Fixed(2)))
	lr := b.Input(onnx.TensorInfo("lr", onnx.Float))
	step := b.Node("Mul", []string{lr, w})
	b.NodeTo("Sub", []string{w, step}, []string{"new_w"})
	sum := b.Node("ReduceSumSquare", []string{w}, onnx.IntAttr("keepdims", 0))
	b.NodeTo("Mul", []string{sum, b.Float(0.5)}, []string{"loss"})
	b.Output(onnx.TensorInfo("new_w", onnx.Float, onnx.Symbol("N"), onnx.Fixed(2)))
	b.Output(onnx.TensorInfo("loss", onnx.Float))
	return marshal(t, b)
}

func TestSessionInfo(t *testing.T) {
	needLibrary(t)
	model := descent(t)
	path := filepath.Join(t.TempDir(), "descent.onnx")
	if err := os.WriteFile(path, model, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() (*ort.Session, error){
		"bytes": func() (*ort.Session, error) { return ort.Open(model, ort.Options{}) },
		"file":  func() (*ort.Session, error) { return ort.OpenFile(path, ort.Options{Threads: 1}) },
	} {
		s, err := open()
		if err != nil {
			t.Fatal(name, err)
		}
		defer s.Close()
		same := func(got, want []ort.Info) bool {
			return slices.EqualFunc(got, want, func(a, b ort.Info) bool {
				return a.Name == b.Name && a.Type == b.Type && slices.Equal(a.Shape, b.Shape)
			})
		}
		w := []ort.Info{{"w", []int{-1, 2}, ort.Float32}, {"lr", nil, ort.Float32}}
		if got := s.Inputs(); !same(got, w) {
			t.Errorf("%s: inputs: got %v, want %v", name, got, w)
		}
		w = []ort.Info{{"new_w", []int{-1, 2}, ort.Float32}, {"loss", nil, ort.Float32}}
		if got := s.Outputs(); !same(got, w) {
			t.Errorf("%s: outputs: got %v, want %v", name, got, w)
		}
		if got := s.Metadata()[onnx.KeyMethod]; got != "none" {
			t.Errorf("%s: metadata: got %q, want none", name, got)
		}
	}
}

// Two sets of buffers, swapped after each step, must give w0*(1-lr)^k without a copy.
func TestRunSwappedBuffers(t *testing.T) {
	needLibrary(t)
	s, err := ort.Open(descent(t), ort.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wa, wb := []float32{1, -2, 4, 8}, make([]float32, 4)
	loss, rate := make([]float32, 1), []float32{0.5}
	a, b := tensor(t, []int{2, 2}, wa...), tensor(t, []int{2, 2}, wb...)
	wa, wb = data[float32](t, a), data[float32](t, b)
	lr, err := ort.NewTensor(nil, rate)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ort.NewTensor(nil, loss)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for k := range 6 {
		if err := s.Run(ctx, []*ort.Tensor{a, lr}, []*ort.Tensor{b, l}); err != nil {
			t.Fatal(err)
		}
		scale := float32(1) / float32(int(1)<<k)
		if want := 85 * scale * scale / 2; loss[0] != want {
			t.Errorf("step %d: loss: got %v, want %v", k, loss[0], want)
		}
		if want := []float32{scale / 2, -scale, 2 * scale, 4 * scale}; !slices.Equal(wb, want) {
			t.Errorf("step %d: w: got %v, want %v", k, wb, want)
		}
		a, b, wa, wb = b, a, wb, wa
	}
	rate[0] = 0 // a scalar input is read anew by each run
	if err := s.Run(ctx, []*ort.Tensor{a, lr}, []*ort.Tensor{b, l}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(wa, wb) {
		t.Errorf("learning rate 0: got %v, want %v", wb, wa)
	}
}

func TestRunAllocates(t *testing.T) {
	needLibrary(t)
	s, err := ort.Open(descent(t), ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.RunMap(context.Background(), map[string]*ort.Tensor{
		"w": tensor[float32](t, []int{3, 2}, 1, 2, 3, 4, 5, 6), "lr": tensor[float32](t, nil, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if got := out["new_w"].Shape(); !slices.Equal(got, []int{3, 2}) {
		t.Errorf("shape: got %v, want [3 2]", got)
	}
	if got := data[float32](t, out["new_w"]); !slices.Equal(got, make([]float32, 6)) {
		t.Errorf("new_w: got %v, want zeros", got)
	}
	if got := data[float32](t, out["loss"]); !slices.Equal(got, []float32{45.5}) {
		t.Errorf("loss: got %v, want [45.5]", got)
	}
	if _, err := ort.Data[int64](out["loss"]); err == nil || !strings.Contains(err.Error(), "float32") {
		t.Errorf("got %v, want an error that names float32", err)
	}
}

func TestRunRejects(t *testing.T) {
	needLibrary(t)
	s, err := ort.Open(descent(t), ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()
	w, lr := tensor[float32](t, []int{1, 2}, 1, 2), tensor[float32](t, nil, 1)
	none := []*ort.Tensor{nil, nil}
	for _, c := range []struct {
		name    string
		in, out []*ort.Tensor
		want    string
	}{
		{"few inputs", []*ort.Tensor{w}, none, "got 1 inputs, want 2 (w, lr)"},
		{"missing input", []*ort.Tensor{w, nil}, none, `input "lr" is missing`},
		{"type", []*ort.Tensor{tensor[float64](t, []int{1, 2}, 1, 2), lr}, none, `input "w": got float64, want float32`},
		{"shape", []*ort.Tensor{tensor[float32](t, []int{2, 1}, 1, 2), lr}, none, `input "w": got shape [2 1], want [-1 2]`},
		{"few outputs", []*ort.Tensor{w, lr}, none[:1], "got 1 outputs, want 2"},
		{"output type", []*ort.Tensor{w, lr}, []*ort.Tensor{tensor[int64](t, []int{1, 2}, 1, 2), nil}, `output "new_w"`},
		{"output shape", []*ort.Tensor{w, lr}, []*ort.Tensor{tensor[float32](t, []int{2, 2}, 1, 2, 3, 4), nil}, "ort: run: "},
	} {
		if err := s.Run(ctx, c.in, slices.Clone(c.out)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
	}
	if _, err := s.RunMap(ctx, map[string]*ort.Tensor{"x": w}); err == nil || !strings.Contains(err.Error(), `no input "x"`) {
		t.Errorf("got %v, want an error that names x", err)
	}
	if _, err := s.RunMap(ctx, map[string]*ort.Tensor{"w": w, "lr": lr}); err != nil {
		t.Errorf("the session is unusable after errors: %v", err)
	}
}

func TestOpenRejects(t *testing.T) {
	needLibrary(t)
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.onnx")
	if err := os.WriteFile(bad, []byte("this is no model"), 0o644); err != nil {
		t.Fatal(err)
	}
	model := descent(t)
	for name, err := range map[string]error{
		"empty":     func() error { _, err := ort.Open(nil, ort.Options{}); return err }(),
		"text":      func() error { _, err := ort.OpenFile(bad, ort.Options{}); return err }(),
		"absent":    func() error { _, err := ort.OpenFile(filepath.Join(dir, "no.onnx"), ort.Options{}); return err }(),
		"truncated": func() error { _, err := ort.Open(model[:len(model)/2], ort.Options{}); return err }(),
		"device":    func() error { _, err := ort.Open(model, ort.Options{Device: "cuda:x"}); return err }(),
		"threads":   func() error { _, err := ort.Open(model, ort.Options{Threads: -1}); return err }(),
		"level":     func() error { _, err := ort.Open(model, ort.Options{OptLevel: 9}); return err }(),
		"provider": func() error {
			_, err := ort.Open(model, ort.Options{Providers: []ort.Provider{{Name: "NoSuch"}}})
			return err
		}(),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "ort: open ") {
			t.Errorf("%s: got %v, want an error that starts with ort: open", name, err)
		}
	}
}

func TestRunTypes(t *testing.T) {
	needLibrary(t)
	b := onnx.NewBuilder(17)
	x := b.Input(onnx.TensorInfo("x", onnx.Uint8, onnx.Symbol("N")))
	types := []onnx.DataType{onnx.Float, onnx.Double, onnx.Int8, onnx.Int16, onnx.Int32, onnx.Int64,
		onnx.Uint8, onnx.Uint16, onnx.Uint32, onnx.Uint64, onnx.Bool, onnx.Float16}
	for _, d := range types {
		b.NodeTo("Cast", []string{x}, []string{d.String()}, onnx.IntAttr("to", int64(d)))
		b.Output(onnx.TensorInfo(d.String(), d, onnx.Symbol("N")))
	}
	model := marshal(t, b)
	s, err := ort.Open(model, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := tensor[uint8](t, []int{3}, 0, 1, 200)
	if _, err := s.RunMap(context.Background(), map[string]*ort.Tensor{"x": in}); err == nil || !strings.Contains(err.Error(), `output "float16"`) {
		t.Errorf("got %v, want an error that names the output float16", err)
	}
	s, err = ort.Open(model, ort.Options{Outputs: s.Outputs()[:len(types)-1]})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, shape := range []int{3, 0} {
		in = tensor(t, []int{shape}, []uint8{0, 1, 200}[:shape]...)
		out, err := s.RunMap(context.Background(), map[string]*ort.Tensor{"x": in})
		if err != nil {
			t.Fatal(err)
		}
		for name, y := range out {
			if y.Type().String() != name || !slices.Equal(y.Shape(), []int{shape}) {
				t.Errorf("%s: got %v %v, want shape [%d]", name, y.Type(), y.Shape(), shape)
			}
		}
		if got, want := data[float64](t, out["float64"]), []float64{0, 1, 200}[:shape]; !slices.Equal(got, want) {
			t.Errorf("float64: got %v, want %v", got, want)
		}
		if got, want := data[int64](t, out["int64"]), []int64{0, 1, 200}[:shape]; !slices.Equal(got, want) {
			t.Errorf("int64: got %v, want %v", got, want)
		}
		if got, want := data[bool](t, out["bool"]), []bool{false, true, true}[:shape]; !slices.Equal(got, want) {
			t.Errorf("bool: got %v, want %v", got, want)
		}
	}
}

// slow multiplies x by itself many times; it runs for seconds.
func slow(t testing.TB) []byte {
	b := onnx.NewBuilder(17)
	x := b.Input(onnx.TensorInfo("x", onnx.Float, onnx.Fixed(512), onnx.Fixed(512)))
	y := x
	for range 2000 {
		y = b.Node("MatMul", []string{y, x})
	}
	b.NodeTo("Identity", []string{y}, []string{"y"})
	b.Output(onnx.TensorInfo("y", onnx.Float, onnx.Fixed(512), onnx.Fixed(512)))
	return marshal(t, b)
}

func TestCancel(t *testing.T) {
	needLibrary(t)
	s, err := ort.Open(slow(t), ort.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := []*ort.Tensor{tensor(t, []int{512, 512}, make([]float32, 512*512)...)}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	err = s.Run(ctx, in, make([]*ort.Tensor, 1))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v after %v, want deadline exceeded", err, time.Since(start))
	}
	if err := s.Run(ctx, in, make([]*ort.Tensor, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("run with a finished context: got %v, want deadline exceeded", err)
	}
}

func TestConcurrentRunsAndClose(t *testing.T) {
	needLibrary(t)
	s, err := ort.Open(descent(t), ort.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	lr := tensor[float32](t, nil, 0.5) // shared by all runs
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			w := tensor(t, []int{1, 2}, float32(g), 2*float32(g))
			for {
				out := make([]*ort.Tensor, 2)
				err := s.Run(context.Background(), []*ort.Tensor{w, lr}, out)
				if errors.Is(err, ort.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if got, want := data[float32](t, out[0]), []float32{float32(g) / 2, float32(g)}; !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
					return
				}
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if err := s.Run(context.Background(), []*ort.Tensor{lr, lr}, make([]*ort.Tensor, 2)); err == nil {
		t.Error("run of a closed session: got no error")
	}
}

func TestProfile(t *testing.T) {
	needLibrary(t)
	dir := t.TempDir()
	s, err := ort.Open(descent(t), ort.Options{Profile: filepath.Join(dir, "step")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.RunMap(context.Background(), map[string]*ort.Tensor{
		"w": tensor[float32](t, []int{1, 2}, 1, 2), "lr": tensor[float32](t, nil, 1)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "step*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("got files %v, want one", files)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var events []map[string]any
	if err := json.Unmarshal(text, &events); err != nil || len(events) == 0 {
		t.Errorf("got %d events, %v", len(events), err)
	}
}

func TestInitTwice(t *testing.T) {
	needLibrary(t)
	lib, err := ort.Init(ort.FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ort.Init(ort.FindOptions{Path: lib.Path}); err != nil || again != lib {
		t.Errorf("same library: got %v, %v, want %v", again, err, lib)
	}
	copied := filepath.Join(t.TempDir(), filepath.Base(lib.Path))
	if err := os.Link(lib.Path, copied); err != nil {
		t.Skip(err)
	}
	if _, err := ort.Init(ort.FindOptions{Path: copied}); err == nil || !strings.Contains(err.Error(), lib.Path) {
		t.Errorf("other library: got %v, want an error that names %s", err, lib.Path)
	}
}
