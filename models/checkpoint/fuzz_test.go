package checkpoint

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readBytes opens the contents of a file of PyTorch.
func readBytes(data []byte) (*File, error) {
	f := &File{Path: "fuzz", Size: int64(len(data))}
	if err := f.read(bytes.NewReader(data)); err != nil {
		return nil, err
	}
	return f, f.index()
}

// seeds adds small files of PyTorch to a corpus: those of the reference data and
// those of testdata.
func seeds(f *testing.F, zip bool) {
	dir := os.Getenv("SSLRT_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	filepath.WalkDir(filepath.Join(dir, "models", "torch-format-fixtures"), func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".pt") {
			if data, err := os.ReadFile(path); err == nil && len(data) < 20_000 && bytes.HasPrefix(data, []byte("PK")) == zip {
				f.Add(data)
			}
		}
		return nil
	})
	own, err := filepath.Glob("testdata/*.gz")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range own {
		x, err := os.Open(path)
		if err != nil {
			f.Fatal(err)
		}
		z, err := gzip.NewReader(x)
		if err != nil {
			f.Fatal(err)
		}
		data, err := io.ReadAll(z)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 20_000 && bytes.HasPrefix(data, []byte("PK")) == zip {
			f.Add(data)
		}
		x.Close()
	}
}

// check reads all that a file claims to hold.
func check(data []byte) {
	f, err := readBytes(data)
	if err != nil {
		return
	}
	for _, t := range f.Tensors {
		if t.DType.Float() {
			t.Floats()
		} else {
			t.Ints()
		}
	}
	if p, err := NewPlan(f, Options{}); err == nil {
		p.Load()
	}
}

func FuzzZip(f *testing.F) {
	seeds(f, true)
	f.Fuzz(func(t *testing.T, data []byte) { check(data) })
}

func FuzzLegacy(f *testing.F) {
	seeds(f, false)
	f.Fuzz(func(t *testing.T, data []byte) { check(data) })
}

// FuzzPickle runs the scanner and the unpickler without the archive around them,
// which has checksums that most mutations break.
func FuzzPickle(f *testing.F) {
	f.Add([]byte("\x80\x02}q\x00X\x01\x00\x00\x00aq\x01K\x01s."))
	f.Add([]byte("cos\nsystem\n(S'true'\ntR."))
	f.Add([]byte("\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01(X\x01\x00\x00\x00wq\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storageq\x03ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x00K\x02K\x02\x86K\x02K\x01\x86\x89h\x00)RtRu."))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := &legacy{file: bytes.NewReader(nil), size: int64(len(data)) + 1000, storages: map[string]*storage{}}
		loadPickle(data, l)
	})
}

func loadPickle(data []byte, l *legacy) {
	p, err := scanPickle(bufio.NewReader(bytes.NewReader(data)), int64(len(data)))
	if err != nil {
		return
	}
	u := &unpickler{size: l.size, storage: l.storage, globals: map[string]bool{}}
	f := &File{Path: "fuzz"}
	if f.Root, err = u.load(p); err == nil && f.index() == nil {
		NewPlan(f, Options{})
	}
}
