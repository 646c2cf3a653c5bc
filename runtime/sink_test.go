package runtime

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sbinet/npyio"
)

// rowsToWrite has values that are hard to print and names that are hard to quote.
var rowsToWrite = []struct {
	file, label string
	x           []float32
}{
	{"a.png", "cat", []float32{0, float32(math.Copysign(0, -1)), 1}},
	{`b "x", y.png`, "dog, \"wolf\"", []float32{math.MaxFloat32, math.SmallestNonzeroFloat32, -0.1}},
	{"train/c\nd.png", "", []float32{1.0 / 3, 1e-30, 16777217}},
	{"données.zip#é.png", "chat", []float32{3.4028e38, -1e10, 2.5}},
}

func TestSinksRoundTrip(t *testing.T) {
	for _, suffix := range []string{".npy", ".jsonl", ".csv", ".NPY", ".parquet"} {
		t.Run(suffix, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "out"+suffix)
			s, err := Create(path, 3)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rowsToWrite {
				if err := s.Write(r.file, r.label, r.x); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("the file is there before Close")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := s.Abort(); err != nil {
				t.Errorf("abort after close: %v", err)
			}
			e, err := ReadEmbeddings(path)
			if err != nil {
				t.Fatal(err)
			}
			if e.Len() != len(rowsToWrite) || e.Dim != 3 {
				t.Fatalf("got %d rows of %d, want %d of 3", e.Len(), e.Dim, len(rowsToWrite))
			}
			for i, r := range rowsToWrite {
				if e.Files[i] != r.file || e.Labels[i] != r.label || !sameBits(e.X[3*i:3*i+3], r.x) {
					t.Errorf("row %d: got %q %q %v, want %q %q %v", i, e.Files[i], e.Labels[i], e.X[3*i:3*i+3], r.file, r.label, r.x)
				}
			}
			want := 1
			if strings.EqualFold(suffix, ".npy") {
				want = 2
			}
			if files, _ := os.ReadDir(dir); len(files) != want {
				t.Errorf("left %v, want %d files", files, want)
			}
		})
	}
}

// Another reader of the format must agree.
func TestNPYIsReadElsewhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.npy")
	s, err := Create(path, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rowsToWrite {
		if err := s.Write(r.file, r.label, r.x); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := npyio.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Header.Descr.Shape; !slices.Equal(got, []int{4, 3}) || r.Header.Descr.Type != "<f4" {
		t.Errorf("got %v, want <f4 [4 3]", r.Header)
	}
	var x []float32
	if err := r.Read(&x); err != nil {
		t.Fatal(err)
	}
	for i, row := range rowsToWrite {
		if !sameBits(x[3*i:3*i+3], row.x) {
			t.Errorf("row %d: got %v, want %v", i, x[3*i:3*i+3], row.x)
		}
	}
	if h := npyHeader(math.MaxInt64, math.MaxInt64); len(h) != npyHeaderSize {
		t.Errorf("the largest header has %d bytes, want %d", len(h), npyHeaderSize)
	}
}

// And we read what other writers make: float64, another header.
func TestNPYFromElsewhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.npy")
	var b bytes.Buffer
	dict := "{\"shape\":(2,2),\"fortran_order\":False,\"descr\":\"<f8\"}\n"
	b.WriteString("\x93NUMPY\x02\x00")
	b.Write([]byte{byte(len(dict)), 0, 0, 0})
	b.WriteString(dict)
	for _, v := range []float64{1, 2, 3, 0.1} {
		u := math.Float64bits(v)
		for k := range 8 {
			b.WriteByte(byte(u >> (8 * k)))
		}
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	e, err := ReadEmbeddings(path)
	if err != nil || !slices.Equal(e.X, []float32{1, 2, 3, 0.1}) || e.Files != nil {
		t.Errorf("got %v, %v, want 1 2 3 0.1 without files", e, err)
	}
}

func TestAbortLeavesTheOldFile(t *testing.T) {
	for _, name := range []string{"x.npy", "x.jsonl", "x.csv"} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := Create(path, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Write("a", "", []float32{1}); err != nil {
			t.Fatal(err)
		}
		if err := s.Abort(); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != "old" {
			t.Errorf("%s: got %q, want the old file", name, got)
		}
		if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
			t.Errorf("%s: left %v", name, files)
		}
	}
}

func TestSinkErrors(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "x.parq"):        ".npy, .jsonl or .csv",
		filepath.Join(dir, "x"):             ".npy, .jsonl or .csv",
		filepath.Join(dir, "no", "x.npy"):   "no such file",
		filepath.Join(dir, "no", "x.jsonl"): "no such file",
	} {
		if _, err := Create(path, 2); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", path, err, want)
		}
	}
	for _, name := range []string{"x.npy", "x.csv"} {
		s, err := Create(filepath.Join(dir, name), 2)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Write("a.png", "", []float32{1}); err == nil || !strings.Contains(err.Error(), "a.png") {
			t.Errorf("%s: short row: got %v", name, err)
		}
		s.Abort()
	}
	if err := NewJSONL(&bytes.Buffer{}).Write("a.png", "", []float32{float32(math.NaN())}); err == nil || !strings.Contains(err.Error(), "a.png") {
		t.Errorf("NaN: got %v", err)
	}
	full := NewJSONL(fullDisk{})
	var err error
	for range 10000 {
		if err = full.Write("a.png", "", []float32{1}); err != nil {
			break
		}
	}
	if err == nil {
		t.Error("a full disk is not reported")
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, os.ErrPermission }

func TestReadEmbeddingsRejects(t *testing.T) {
	dir := t.TempDir()
	good := string(npyHeader(2, 2))
	for name, content := range map[string]string{
		"a.npy": "no array", "b.npy": good, "c.npy": good + strings.Repeat("x", 15), "d.npy": good + strings.Repeat("x", 17),
		"e.npy": strings.Replace(good, "<f4", "|O8", 1) + strings.Repeat("x", 16),
		"f.npy": strings.Replace(good, "False", "True ", 1) + strings.Repeat("x", 16),
		"g.npy": strings.Replace(good, "(2, 2)", "(999999999999, 9999999)", 1) + strings.Repeat("x", 16),
		"h.npy": good[:20], "i.npy": string(npyHeader(0, 4)), "j.npy": strings.Replace(good, "(2, 2)", "(4,)  ", 1) + strings.Repeat("x", 16),
		"a.jsonl": "{", "b.jsonl": "", "c.jsonl": `{"file":"a"}`, "d.jsonl": `{"file":"a","embedding":[1]} {"file":"b","embedding":[1,2]}`,
		"e.jsonl": `{"file":"a","embedding":[1e99]}`,
		"a.csv":   "", "b.csv": "file,label,e0\n", "c.csv": "x,y,z\n1,2,z\n", "d.csv": "file,label,e0\na,b,c\n", "e.csv": "file,label,e0\na,b,1,2\n",
		"a.txt": "1 2 3",
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if e, err := ReadEmbeddings(path); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, %v, want an error that names it", name, e, err)
		}
	}
	// A list that does not belong to the array.
	path := filepath.Join(dir, "k.npy")
	for p, content := range map[string]string{path: good + strings.Repeat("x", 16), namesPath(path): "file,label\na,\n"} {
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ReadEmbeddings(path); err == nil || !strings.Contains(err.Error(), "k.files.csv") {
		t.Errorf("got %v, want an error that names k.files.csv", err)
	}
	if _, err := ReadEmbeddings(filepath.Join(dir, "absent.npy")); err == nil {
		t.Error("absent file: got no error")
	}
}

func FuzzReadNPY(f *testing.F) {
	f.Add(append(npyHeader(1, 2), 0, 0, 128, 63, 0, 0, 0, 64))
	f.Add([]byte("\x93NUMPY\x02\x00\x05\x00\x00\x00{   \n"))
	f.Add([]byte("\x93NUMPY"))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, dim, err := readNPY(bytes.NewReader(data), int64(len(data)))
		if err == nil && dim > 0 && len(x)%dim != 0 {
			t.Errorf("got %d values, want a multiple of %d", len(x), dim)
		}
	})
}

func FuzzReadText(f *testing.F) {
	f.Add([]byte(`{"file":"a","label":"b","embedding":[1,2.5e-3]}`))
	f.Add([]byte("file,label,e0,e1\na,b,1,2\n\"c\"\"\",,3,4\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, read := range []func() (*Embeddings, error){
			func() (*Embeddings, error) { return readJSONL(bytes.NewReader(data)) },
			func() (*Embeddings, error) { return readCSV(bytes.NewReader(data)) },
		} {
			if e, err := read(); err == nil && (e.Files != nil && len(e.Files) != e.Len() || e.Labels != nil && len(e.Labels) != e.Len() || len(e.X) != e.Len()*e.Dim) {
				t.Errorf("got %d files, %d values of %d", len(e.Files), len(e.X), e.Dim)
			}
		}
	})
}

func FuzzReadParquet(f *testing.F) {
	for _, dim := range []int{1, 3} {
		var b bytes.Buffer
		p := newParquet(&b, dim, map[string]string{"sslrt.model": "encoder.onnx"}, rowGroupBytes)
		for _, label := range []string{"cat", "", "dog"} {
			if err := p.Write("a.png", label, make([]float32, dim)); err != nil {
				f.Fatal(err)
			}
		}
		if err := p.flush(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	path := filepath.Join(f.TempDir(), "x.parquet")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := ReadEmbeddings(path)
		if (e == nil) == (err == nil) || e != nil && len(e.X) != e.Len()*e.Dim {
			t.Fatalf("%v, %v", e, err)
		}
	})
}
