package onnx

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// weights returns a model with one large and one small tensor.
func weights(t testing.TB) *Model {
	t.Helper()
	b := NewBuilder(17)
	data := make([]float32, 3000)
	for i := range data {
		data[i] = float32(i) / 7
	}
	x := b.Input(TensorInfo("x", Float, Symbol("N"), Fixed(3000)))
	w := b.Initializer("w", FloatTensor("", []int64{3000}, data))
	w2 := b.Initializer("w2", &Tensor{Type: Float, Dims: []int64{3000}, FloatData: data})
	b.NodeTo("Add", []string{b.Node("Mul", []string{b.Node("Add", []string{x, w}), w2}), b.Float(1)}, []string{"y"})
	b.Output(TensorInfo("y", Float, Symbol("N"), Fixed(3000)))
	m, err := b.Model("weights", Info{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWriteFile(t *testing.T) {
	m := weights(t)
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.onnx"), filepath.Join(dir, "two.onnx")
	if err := WriteFile(one, m); err != nil {
		t.Fatal(err)
	}
	if err := WriteFileLimit(two, m, 1000); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"one.onnx", "two.onnx", "two.onnx.data"}; !slices.Equal(names, want) {
		t.Fatalf("files %v, want %v", names, want)
	}
	small, err := os.Stat(two)
	if err != nil || small.Size() > 1000 {
		t.Errorf("the model file has %d bytes beside its data (%v)", small.Size(), err)
	}
	inline, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if file, err := os.ReadFile(one); err != nil || !bytes.Equal(file, inline) {
		t.Errorf("one.onnx is not what Marshal gives (%v)", err)
	}
	for _, path := range []string{one, two} {
		got, err := ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(got); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"w", "w2"} {
			want, _ := m.Graph.Initializer(name).Floats()
			have, err := got.Graph.Initializer(name).Floats()
			if err != nil || !slices.Equal(have, want) {
				t.Errorf("%s: tensor %s differs (%v)", path, name, err)
			}
		}
	}
	data, err := os.ReadFile(two)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ref.Graph.Initializer("w").Floats(); err == nil || !strings.Contains(err.Error(), "LoadExternal") {
		t.Errorf("reading a tensor that was not loaded: %v", err)
	}
	if err := WriteFileLimit(filepath.Join(dir, "three.onnx"), ref, 0); err == nil {
		t.Error("a model whose data were not loaded was written")
	}
}

// TestMarshalTooLarge asks for a file over 2 GiB; the tensors share their bytes, so
// that the test is small.
func TestMarshalTooLarge(t *testing.T) {
	m := weights(t)
	raw := make([]byte, 64<<20)
	for range 33 {
		m.Graph.Initializers = append(m.Graph.Initializers, &Tensor{Type: Uint8, Dims: []int64{64 << 20}, Raw: raw})
	}
	if _, err := m.Marshal(); err == nil || !strings.Contains(err.Error(), "2 GiB") {
		t.Errorf("error %v", err)
	}
}

// TestLoadExternalRefuses points a tensor of 4 bytes at places it must not read.
func TestLoadExternalRefuses(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	dir := t.TempDir()
	for _, f := range []string{outside, filepath.Join(dir, "ok"), filepath.Join(dir, "sub", "ok")} {
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte("12345678"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ location, offset, length, want string }{
		{"ok", "", "", ""},
		{"ok", "4", "4", ""},
		{"sub/ok", "0", "4", ""},
		{"sub/../ok", "0", "4", ""},
		{outside, "", "", "outside"},
		{"../secret", "", "", "outside"},
		{"sub/../../secret", "", "", "outside"},
		{"link", "", "", "escapes"},
		{"sub", "", "", "not a regular file"},
		{"missing", "", "", "no such file"},
		{"", "", "", "no location"},
		{"ok", "5", "4", "more than the 8 bytes"},
		{"ok", "5", "", "3 bytes at offset 5"},
		{"ok", "9", "", "beyond the 8 bytes"},
		{"ok", "0", "5", "want 4"},
		{"ok", "-1", "", "not a size"},
		{"ok", "0", "-4", "not a size"},
		{"ok", "x", "", "not a size"},
		{"ok", "9223372036854775807", "4", "beyond"},
		{"ok", "9223372036854775808", "4", "not a size"},
	} {
		tensor := &Tensor{Name: "w", Type: Float, Dims: []int64{1}, Location: External,
			External: []StringEntry{{Key: "location", Value: c.location}}}
		if c.offset != "" {
			tensor.External = append(tensor.External, StringEntry{Key: "offset", Value: c.offset})
		}
		if c.length != "" {
			tensor.External = append(tensor.External, StringEntry{Key: "length", Value: c.length})
		}
		m := &Model{IRVersion: 8, Graph: &Graph{Name: "g", Initializers: []*Tensor{tensor}}}
		err := m.LoadExternal(dir)
		if c.want == "" {
			if _, readErr := tensor.Floats(); err != nil || readErr != nil {
				t.Errorf("%+v: %v, %v", c, err, readErr)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %q", c, err, c.want)
		}
	}
}

func TestReadFileErrors(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ data, want string }{
		"empty.onnx": {"", "there is no graph"},
		"text.onnx":  {"this is some text\n", "not an ONNX model"},
		"zip.onnx":   {"PK\x03\x04\x00\x00\x00\x00", "not an ONNX model"},
		"png.onnx":   {"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "not an ONNX model"},
		"json.onnx":  {`{"a": 1}`, "not an ONNX model"},
		"npy.onnx":   {"\x93NUMPY\x01\x00", "not an ONNX model"},
		"cut.onnx":   {"\x08\x08\x3a\x7f\x0a", "unexpected EOF"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.data), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "missing.onnx")} {
		if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", path, err)
		}
	}
	if err := WriteFile(filepath.Join(dir, "no", "such.onnx"), weights(t)); err == nil {
		t.Error("writing into a folder that does not exist succeeds")
	}
}

// TestFailedWriteLeavesNothing puts a folder where the file should go.
func TestFailedWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model.onnx")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, weights(t)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("files left behind: %v (%v)", entries, err)
	}
}
