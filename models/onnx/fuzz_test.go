package onnx

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// FuzzUnmarshal reads arbitrary bytes. What can be read must be printed, checked
// and written without a panic, and reading what was written gives the same again.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte{})
	f.Add(field(7, field(1, field(5, field(6, nil)))))
	data, err := branches().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Unmarshal(data)
		if err != nil {
			return
		}
		_ = Check(m)
		if err := Dump(io.Discard, m); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadInfo(m); err == nil {
			_ = m.tensors(func(tensor *Tensor) error {
				_, _ = tensor.Floats()
				_, _ = tensor.Int64s()
				_, _ = tensor.Strings()
				return nil
			})
		}
		first, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Unmarshal(first)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		second, err := again.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Fatalf("written twice:\n%x\n%x", first, second)
		}
	})
}

// TestDamaged runs the steps of FuzzUnmarshal over real small files, cut short and
// with one byte changed.
func TestDamaged(t *testing.T) {
	dir := filepath.Join(sharedFolder(t), "onnx-conformance")
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "model.onnx" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) > 400 {
			return err
		}
		if files++; files%10 != 0 {
			return nil
		}
		for i := range data {
			for _, damaged := range [][]byte{data[:i], flip(data, i, 0x01), flip(data, i, 0x80)} {
				if m, err := Unmarshal(damaged); err == nil {
					_ = Check(m)
					if err := Dump(io.Discard, m); err != nil {
						t.Errorf("%s: %v", path, err)
					}
					if _, err := m.Marshal(); err != nil {
						t.Errorf("%s: %v", path, err)
					}
				}
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Skipf("no conformance files (%v)", err)
	}
}

func flip(data []byte, i int, bits byte) []byte {
	out := bytes.Clone(data)
	out[i] ^= bits
	return out
}
