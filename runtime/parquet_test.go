package runtime

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

func openParquet(t *testing.T, f *os.File) *parquet.File {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	file, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Memory is bounded by the groups of rows, whatever their number.
func TestParquetRowGroups(t *testing.T) {
	const n, dim = 8_000, 512 // 16 MB, in groups of 1 MB
	path := filepath.Join(t.TempDir(), "x.parquet")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := newParquet(f, dim, map[string]string{"sslrt.model": "encoder.onnx"}, 1<<20)
	row := make([]float32, dim)
	var m goruntime.MemStats
	goruntime.GC()
	goruntime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	for i := range n {
		row[0], row[dim-1] = float32(i), -float32(i)
		if err := p.Write(fmt.Sprintf("%d.png", i), []string{"", "cat", "dog"}[i%3], row); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 999 {
			goruntime.GC()
			goruntime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
	if err := p.flush(); err != nil {
		t.Fatal(err)
	}
	if held := most - before; held > 8<<20 {
		t.Errorf("%d MB were held while writing", held>>20)
	}
	file := openParquet(t, f)
	if groups := len(file.RowGroups()); groups < 15 || groups > 20 {
		t.Errorf("%d groups of rows for 16 MB", groups)
	}
	if v, _ := file.Lookup("sslrt.model"); v != "encoder.onnx" {
		t.Errorf("the model is %q", v)
	}
	e, err := ReadEmbeddings(path)
	if err != nil {
		t.Fatal(err)
	}
	if e.Len() != n || e.X[123*dim] != 123 || e.X[(n-1)*dim+dim-1] != -(n-1) || e.Labels[2] != "dog" || e.Labels[0] != "" || e.Files[7] != "7.png" {
		t.Errorf("%d rows, %v, %v", e.Len(), e.Labels[:3], e.Files[:8])
	}
}

func TestParquetWithoutEmbeddings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	type other struct{ A int }
	if err := parquet.WriteFile(path, []other{{1}, {2}}); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadEmbeddings(path); err == nil || !strings.Contains(err.Error(), "want embedding, a list of float32") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(path, []byte("PAR1 and then nothing"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadEmbeddings(path); err == nil || !strings.HasPrefix(err.Error(), "runtime: read embeddings x.parquet: ") {
		t.Errorf("got %v", err)
	}
}

// Names that are not UTF-8 stay readable in every format.
func TestNamesThatAreNotUTF8(t *testing.T) {
	for _, suffix := range []string{".parquet", ".npy", ".jsonl", ".csv"} {
		path := filepath.Join(t.TempDir(), "x"+suffix)
		s, err := Create(path, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Write("caf\xe9/\xff\xfe.png", "caf\xe9", []float32{1}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		e, err := ReadEmbeddings(path)
		if err != nil || e.Files[0] != `caf\xe9/\xff\xfe.png` || e.Labels[0] != `caf\xe9` {
			t.Errorf("%s: %v, %v", suffix, e, err)
		}
	}
}

// pandas must agree. The interpreter is $SSLRT_PYTHON, else python3.
func TestParquetInPandas(t *testing.T) {
	python := os.Getenv("SSLRT_PYTHON")
	if python == "" {
		python = "python3"
	}
	if out, err := exec.Command(python, "-c", "import pandas, pyarrow").CombinedOutput(); err != nil {
		t.Skipf("%s has no pandas with pyarrow: %v %s", python, err, out)
	}
	path := filepath.Join(t.TempDir(), "x.parquet")
	s, err := CreateAbout(path, 3, map[string]string{"sslrt.model": "encoder.onnx"})
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
	out, err := exec.Command(python, "-c", `
import sys, pandas, pyarrow.parquet as pq
t = pandas.read_parquet(sys.argv[1])
print(list(t.columns), [str(x) for x in t.label], t.embedding[0].dtype, len(t))
print(t.file[2] == "train/c\nd.png", [float(v) for v in t.embedding[3]][1] == -1e10)
print(pq.read_schema(sys.argv[1]).field("embedding").type, pq.read_metadata(sys.argv[1]).metadata[b"sslrt.model"].decode())
`, path).CombinedOutput()
	want := "['file', 'label', 'embedding'] ['cat', 'dog, \"wolf\"', 'None', 'chat'] float32 4\nTrue True\nlist<element: float not null> encoder.onnx\n"
	if err != nil || strings.ReplaceAll(string(out), "nan", "None") != want {
		t.Errorf("got %v\n%s", err, out)
	}
}

// Headers claim gigabytes in a damaged file: none of it is allocated.
func TestDamagedParquet(t *testing.T) {
	var b bytes.Buffer
	p := newParquet(&b, 3, nil, rowGroupBytes)
	for i := range 40 {
		if err := p.Write("a.png", []string{"cat", "", "dog"}[i%3], make([]float32, 3)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.flush(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.parquet")
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range b.Len() {
		for _, data := range [][]byte{b.Bytes()[:i], bytes.Clone(b.Bytes())} {
			if len(data) > i {
				data[i] = byte(rng.IntN(256))
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			var before, after goruntime.MemStats
			goruntime.ReadMemStats(&before)
			e, err := ReadEmbeddings(path)
			goruntime.ReadMemStats(&after)
			if (e == nil) == (err == nil) || len(data) == i && err == nil {
				t.Errorf("byte %d: %v, %v", i, e, err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 {
				t.Errorf("byte %d: %d MB were allocated to find %v", i, used>>20, err)
			}
		}
	}
}
