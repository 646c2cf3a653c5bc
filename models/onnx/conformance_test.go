package onnx

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sharedFolder returns the folder of reference data, skipping the test when there
// is none.
func sharedFolder(t testing.TB) string {
	dir := os.Getenv("SSLRT_SHARED")
	if dir == "" {
		dir = "../shared"
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join("..", "..", dir) // from the root of the module
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no reference data: %v (set SSLRT_SHARED)", err)
	}
	return dir
}

// eachModel calls f with the bytes of every ONNX file below the folders.
func eachModel(t *testing.T, dir string, folders []string, f func(path string, data []byte)) {
	t.Helper()
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(dir, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name, zipped := strings.CutSuffix(path, ".gz")
			if !strings.HasSuffix(name, ".onnx") {
				return nil
			}
			data, err := os.ReadFile(path)
			if err == nil && zipped {
				var z *gzip.Reader
				if z, err = gzip.NewReader(bytes.NewReader(data)); err == nil {
					data, err = io.ReadAll(z)
				}
			}
			if err == nil {
				f(path, data)
			}
			return err
		})
		if err != nil {
			t.Skipf("no reference data: %v", err)
		}
	}
}

var modelFolders = []string{"onnx-conformance", "onnx", "models"}

// TestRoundTrip reads and writes every model others made. A file must come back
// byte for byte, and what Check says must be what is known of the file.
func TestRoundTrip(t *testing.T) {
	dir := sharedFolder(t)
	files, valid := 0, 0
	eachModel(t, dir, modelFolders, func(path string, data []byte) {
		files++
		m, err := Unmarshal(data)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		got, err := m.Marshal()
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		if !bytes.Equal(got, data) {
			at := 0
			for at < len(got) && at < len(data) && got[at] == data[at] {
				at++
			}
			t.Errorf("%s: differs from byte %d on: got %d bytes, want %d", path, at, len(got), len(data))
		}
		if err := Check(m); err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		valid++
	})
	t.Logf("%d files, %d valid", files, valid)
	if files == 0 {
		t.Skip("no ONNX files in the reference data")
	}
}
