package runtime

import (
	"archive/zip"
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// npyBytes is an array as NumPy writes it.
func npyBytes(descr, shape string, data []byte) []byte {
	dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape)
	dict += strings.Repeat(" ", 117-len(dict)) + "\n"
	return append(append([]byte("\x93NUMPY\x01\x00"), byte(len(dict)), 0), append([]byte(dict), data...)...)
}

func npzBytes(t testing.TB, arrays map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, data := range arrays {
		f, err := w.Create(name + ".npy")
		if err == nil {
			_, err = f.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Vectors that other programs write: the values are those of IEEE 754 and of NumPy's
// documentation of its types.
func TestVectorsFromElsewhere(t *testing.T) {
	dir := t.TempDir()
	images := npyBytes("|u1", "2, 1, 2, 1", []byte{0, 255, 7, 8})
	for name, c := range map[string]struct {
		data []byte
		want Embeddings
	}{
		"bytes.npy":   {images, Embeddings{Dim: 2, X: []float32{0, 255, 7, 8}}},
		"half.npy":    {npyBytes("<f2", "1, 4", []byte{0, 0x3c, 0, 0xc0, 1, 0, 0xff, 0x7b}), Embeddings{Dim: 4, X: []float32{1, -2, 5.9604645e-08, 65504}}},
		"signed.npy":  {npyBytes("<i2", "2, 1", []byte{0xff, 0xff, 1, 0}), Embeddings{Dim: 1, X: []float32{-1, 1}}},
		"only.npz":    {npzBytes(t, map[string][]byte{"anything": images}), Embeddings{Dim: 2, X: []float32{0, 255, 7, 8}}},
		"labels.npz":  {npzBytes(t, map[string][]byte{"x": images, "y": npyBytes("<i8", "2,", []byte{3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0})}), Embeddings{Dim: 2, X: []float32{0, 255, 7, 8}, Labels: []string{"3", "9"}}},
		"plain.csv":   {[]byte("1,2.5\n-3, 4e1\n"), Embeddings{Dim: 2, X: []float32{1, 2.5, -3, 40}}},
		"header.csv":  {[]byte("width,label,height\n1,cat,2\n3,dog,4\n"), Embeddings{Dim: 2, X: []float32{1, 2, 3, 4}, Labels: []string{"cat", "dog"}}},
		"bom.csv":     {[]byte("\ufefffile,a\nx.png,2\n"), Embeddings{Dim: 1, X: []float32{2}, Files: []string{"x.png"}}},
		"nothing.csv": {[]byte("1\n"), Embeddings{Dim: 1, X: []float32{1}}},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, c.data, 0o644); err != nil {
			t.Fatal(err)
		}
		e, err := ReadEmbeddings(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if e.Dim != c.want.Dim || !slices.Equal(e.X, c.want.X) || !slices.Equal(e.Files, c.want.Files) || !slices.Equal(e.Labels, c.want.Labels) {
			t.Errorf("%s: got %+v, want %+v", name, *e, c.want)
		}
	}
	if !math.IsNaN(halfFloat(0x7e00)) || !math.IsInf(halfFloat(0xfc00), -1) {
		t.Error("half NaN and -Inf are others")
	}
}

func TestBadVectors(t *testing.T) {
	dir := t.TempDir()
	flat := npyBytes("<f4", "4,", make([]byte, 16))
	two := npyBytes("<f4", "2, 2", make([]byte, 16))
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"a.npz": {[]byte("no zip"), "zip"},
		"b.npz": {npzBytes(t, map[string][]byte{"x": flat}), "x [4]"},
		"c.npz": {npzBytes(t, map[string][]byte{"p": two, "q": two}), "want one of vectors"},
		"d.npz": {npzBytes(t, map[string][]byte{"x": two[:len(two)-4]}), "array x"},
		"e.npz": {npzBytes(t, map[string][]byte{"x": []byte("short")}), "not a .npy array"},
		"a.npy": {flat, "want [N, dim]"},
		"b.npy": {npyBytes("<c8", "1, 1", make([]byte, 8)), `type "<c8"`},
		"c.npy": {npyBytes("<f4", "1, 99999, 99999", make([]byte, 8)), "values a row"},
		"d.npy": {npyBytes("<f4", "0, 0", nil), "holds none"},
		"a.csv": {[]byte("1,2\n3\n"), "got 1 columns, want 2"},
		"b.csv": {[]byte("a,b\n3,four\n"), `column b: got "four"`},
		"c.csv": {[]byte("file,label\na,b\n"), "want numbers"},
		"d.csv": {[]byte("1,2\n3,4e99\n"), "line 2"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, c.data, 0o644); err != nil {
			t.Fatal(err)
		}
		if e, err := ReadEmbeddings(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, %v, want an error with %q", name, e, err, c.want)
		}
	}
}

func FuzzReadNPZ(f *testing.F) {
	f.Add(npzBytes(f, map[string][]byte{"x": npyBytes("<f4", "2, 2", make([]byte, 16)), "y": npyBytes("<i4", "2,", make([]byte, 8))}))
	path := filepath.Join(f.TempDir(), "x.npz")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if e, err := ReadEmbeddings(path); err == nil && len(e.X) != e.Len()*e.Dim {
			t.Errorf("got %d values of %d", len(e.X), e.Dim)
		}
	})
}
