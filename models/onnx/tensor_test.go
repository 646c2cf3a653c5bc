package onnx

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFloatsAgainstCast reads the tensors of ONNX's own Cast tests: the input in a
// narrow or wide type, the output in float32 as NumPy converted it.
func TestFloatsAgainstCast(t *testing.T) {
	dir := filepath.Join(sharedFolder(t), "onnx-conformance", "node")
	seen := 0
	for _, name := range []string{"test_cast_FLOAT16_to_FLOAT", "test_cast_BFLOAT16_to_FLOAT", "test_cast_DOUBLE_to_FLOAT"} {
		in, err := os.ReadFile(filepath.Join(dir, name, "test_data_set_0", "input_0.pb"))
		if err != nil {
			t.Logf("%s: %v", name, err)
			continue
		}
		out, err := os.ReadFile(filepath.Join(dir, name, "test_data_set_0", "output_0.pb"))
		if err != nil {
			t.Fatal(err)
		}
		got, want := floats(t, in), floats(t, out)
		if len(got) != len(want) || len(got) == 0 {
			t.Fatalf("%s: %d values, want %d", name, len(got), len(want))
		}
		for i := range got {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) && !(got[i] != got[i] && want[i] != want[i]) {
				t.Errorf("%s: value %d: %v, want %v", name, i, got[i], want[i])
			}
		}
		seen++
	}
	if seen == 0 {
		t.Skip("no cast cases in the reference data")
	}
}

func floats(t *testing.T, file []byte) []float32 {
	t.Helper()
	tensor, err := UnmarshalTensor(file)
	if err != nil {
		t.Fatal(err)
	}
	if tensor.Type == Uint16 { // how ONNX 1.16 stores the input of its bfloat16 test
		tensor.Type = BFloat16
	}
	xs, err := tensor.Floats()
	if err != nil {
		t.Fatal(err)
	}
	return xs
}

// TestHalf checks float16 at the values IEEE 754 names for it.
func TestHalf(t *testing.T) {
	for _, c := range []struct {
		bits uint16
		want float64
	}{
		{0x0000, 0}, {0x0001, 0x1p-24}, {0x03ff, 0x3ffp-24}, {0x0400, 0x1p-14}, {0x3555, 0.333251953125},
		{0x3c00, 1}, {0x3c01, 1 + 0x1p-10}, {0xc000, -2}, {0x7bff, 65504}, {0x7c00, math.Inf(1)}, {0xfc00, math.Inf(-1)},
	} {
		if got := float64(halfToFloat(c.bits)); got != c.want {
			t.Errorf("%#04x: %v, want %v", c.bits, got, c.want)
		}
	}
	if got := halfToFloat(0x7e00); got == got {
		t.Errorf("0x7e00: %v, want NaN", got)
	}
	if got := math.Float32bits(halfToFloat(0x8000)); got != 1<<31 {
		t.Errorf("0x8000: %#x, want minus zero", got)
	}
}

// TestInt64s reads the same numbers from every integer type, raw and typed.
func TestInt64s(t *testing.T) {
	for _, tensor := range []*Tensor{
		{Type: Int8, Dims: []int64{2}, Raw: []byte{0xff, 3}},
		{Type: Int16, Dims: []int64{2}, Raw: []byte{0xff, 0xff, 3, 0}},
		{Type: Int32, Dims: []int64{2}, Raw: []byte{0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0}},
		{Type: Int8, Dims: []int64{2}, Int32Data: []int32{-1, 3}},
		{Type: Int16, Dims: []int64{2}, Int32Data: []int32{-1, 3}},
		{Type: Int32, Dims: []int64{2}, Int32Data: []int32{-1, 3}},
		{Type: Int64, Dims: []int64{2}, Int64Data: []int64{-1, 3}},
		Int64Tensor("", []int64{2}, []int64{-1, 3}),
	} {
		got, err := tensor.Int64s()
		if err != nil || len(got) != 2 || got[0] != -1 || got[1] != 3 {
			t.Errorf("%v: %v, %v", tensor.Type, got, err)
		}
	}
	for _, tensor := range []*Tensor{
		{Type: Uint8, Dims: []int64{2}, Raw: []byte{0xff, 3}},
		{Type: Uint16, Dims: []int64{2}, Int32Data: []int32{255, 3}},
		{Type: Uint32, Dims: []int64{2}, Uint64Data: []uint64{255, 3}},
		{Type: Uint64, Dims: []int64{2}, Uint64Data: []uint64{255, 3}},
	} {
		got, err := tensor.Int64s()
		if err != nil || len(got) != 2 || got[0] != 255 || got[1] != 3 {
			t.Errorf("%v: %v, %v", tensor.Type, got, err)
		}
	}
	b, err := BoolTensor("", []int64{2}, []bool{true, false}).Int64s()
	if err != nil || b[0] != 1 || b[1] != 0 {
		t.Errorf("bool: %v, %v", b, err)
	}
}

func TestTensorErrors(t *testing.T) {
	for _, c := range []struct {
		tensor *Tensor
		want   string
	}{
		{&Tensor{Type: Float, Dims: []int64{3}, Raw: make([]byte, 8)}, "float32[3] has 8 bytes of data, want 12"},
		{&Tensor{Type: Float, Dims: []int64{3}, FloatData: []float32{1}}, "has 1 values, want 3"},
		{&Tensor{Type: Float, Dims: []int64{1}, Int64Data: []int64{1}}, "has 0 values, want 1"},
		{&Tensor{Type: Float, Dims: []int64{1}, Raw: make([]byte, 4), FloatData: []float32{1}}, "more than one place"},
		{&Tensor{Type: Float, Dims: []int64{-1}}, "negative dimension"},
		{&Tensor{Type: Float, Dims: []int64{1 << 40, 1 << 40}}, "too large"},
		{&Tensor{Type: 99}, "element type type(99)"},
		{&Tensor{}, "element type undefined"},
		{&Tensor{Type: Float, Location: External, External: []StringEntry{{Key: "location", Value: "w"}}}, "in another file"},
		{&Tensor{Type: String, Raw: []byte{}}, "strings as raw bytes"},
		{Int64Tensor("", nil, []int64{1}), "is int64, want a floating-point type"},
	} {
		if _, err := c.tensor.Floats(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got error %v, want %q", err, c.want)
		}
	}
	big := &Tensor{Type: Uint64, Dims: []int64{1}, Uint64Data: []uint64{1 << 63}}
	if _, err := big.Int64s(); err == nil {
		t.Error("a uint64 beyond int64 is accepted")
	}
}
