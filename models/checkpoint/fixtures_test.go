package checkpoint_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/models/checkpoint"
)

// sharedDir is the folder of reference data.
func sharedDir() string {
	if dir := os.Getenv("SSLRT_SHARED"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "..", "shared")
}

// fixture is a tensor as PyTorch loads it: its element type, its sizes and the
// SHA-256 of its bytes in C order, little endian.
type fixture struct {
	dtype, sum string
	shape      []int
}

func (f *fixture) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&f.dtype, &f.shape, &f.sum})
}

// TestPyTorchFixtures opens the files of PyTorch among the reference data and
// compares all tensors with what PyTorch 1.13 loads: testdata/fixtures.json, written
// by testdata/pytorch/fixtures.py. What PyTorch does not load is an error here.
func TestPyTorchFixtures(t *testing.T) {
	root := filepath.Join(sharedDir(), "models")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("no reference data: %v (set SSLRT_SHARED)", err)
	}
	text, err := os.ReadFile("testdata/fixtures.json")
	if err != nil {
		t.Fatal(err)
	}
	var files map[string]map[string]*fixture
	if err := json.Unmarshal(text, &files); err != nil {
		t.Fatal(err)
	}
	same, tensors := 0, 0
	for _, path := range slices.Sorted(maps.Keys(files)) {
		want := files[path]
		f, err := checkpoint.Open(filepath.Join(root, path))
		if want == nil {
			if err == nil {
				t.Errorf("%s: opened, PyTorch refuses it", path)
				f.Close()
			}
			t.Logf("%s: %v", path, err)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if err := compare(f, want); err != nil {
			t.Errorf("%s: %v", path, err)
		} else {
			same, tensors = same+1, tensors+len(want)
		}
		f.Close()
	}
	t.Logf("%d files with %d tensors as PyTorch loads them, of %d files", same, tensors, len(files))
}

func compare(f *checkpoint.File, want map[string]*fixture) error {
	left := maps.Clone(want)
	for _, got := range f.Tensors {
		w := left[got.Name]
		if w == nil {
			return fmt.Errorf("tensor %q is not one of PyTorch's", got.Name)
		}
		delete(left, got.Name)
		if string(got.DType) != w.dtype || !slices.Equal(got.Shape, w.shape) {
			return fmt.Errorf("tensor %q is %s%v, want %s%v", got.Name, got.DType, got.Shape, w.dtype, w.shape)
		}
		raw, err := got.Bytes()
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != w.sum {
			return fmt.Errorf("tensor %q has other values than PyTorch's", got.Name)
		}
		if n := got.Len(); n > 0 {
			if err := converted(got); err != nil {
				return err
			}
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("tensors are missing: %s", strings.Join(slices.Sorted(maps.Keys(left)), ", "))
	}
	return nil
}

// converted checks that float32 values come through unchanged and others convert.
func converted(t *checkpoint.Tensor) error {
	if !t.DType.Float() {
		v, err := t.Ints()
		if err == nil && len(v) != t.Len() {
			err = fmt.Errorf("tensor %q: %d values", t.Name, len(v))
		}
		return err
	}
	v, err := t.Floats()
	if err != nil || t.DType != "float32" {
		return err
	}
	raw, _ := t.Bytes()
	for i, x := range v {
		bits := uint32(raw[4*i]) | uint32(raw[4*i+1])<<8 | uint32(raw[4*i+2])<<16 | uint32(raw[4*i+3])<<24
		if math.Float32bits(x) != bits {
			return fmt.Errorf("tensor %q: value %d is %g", t.Name, i, x)
		}
	}
	return nil
}
