package onnx

import (
	"math"
	"testing"
)

// TestRoundToHalf: each of the 65,536 halves comes back, and halfway between two of them
// goes to the even one.
func TestRoundToHalf(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		x := halfToFloat(h)
		if x != x {
			if got := halfToFloat(floatToHalf(x)); got == got {
				t.Fatalf("%#x: NaN became %g", h, got)
			}
			continue
		}
		if got := floatToHalf(x); got != h {
			t.Fatalf("%#x is %g, which became %#x", h, x, got)
		}
		if h&0x7fff >= 0x7bff { // no finite neighbour above
			continue
		}
		next := halfToFloat(h + 1)
		middle := float32((float64(x) + float64(next)) / 2)
		if got, want := floatToHalf(middle), h+h&1; got != want {
			t.Fatalf("%g, between %#x and %#x, became %#x, want %#x", middle, h, h+1, got, want)
		}
	}
	for x, want := range map[float32]uint16{65519.996: 0x7bff, 65520: 0x7c00, 1e30: 0x7c00, float32(math.Inf(-1)): 0xfc00, 1e-30: 0} {
		if got := floatToHalf(x); got != want {
			t.Errorf("%g became %#x, want %#x", x, got, want)
		}
	}
}

func TestRoundToBrain(t *testing.T) {
	for x, want := range map[float32]uint16{1: 0x3f80, -2: 0xc000, 1.00390625: 0x3f80, 1.01171875: 0x3f82, 1e39 / 10: 0x7e96} {
		if got := floatToBrain(x); got != want {
			t.Errorf("%g became %#x, want %#x", x, got, want)
		}
	}
	if got := floatToBrain(float32(math.NaN())); got&0x7f80 != 0x7f80 || got&0x7f == 0 {
		t.Errorf("NaN became %#x", got)
	}
}

func TestWithFloats(t *testing.T) {
	v := []float32{1.5, -2}
	for _, from := range []*Tensor{
		FloatTensor("w", []int64{2}, []float32{3, 4}),
		{Name: "w", Type: Float, Dims: []int64{2}, FloatData: []float32{3, 4}},
		{Name: "w", Type: Double, Dims: []int64{2}, DoubleData: []float64{3, 4}},
		{Name: "w", Type: Float16, Dims: []int64{2}, Int32Data: []int32{0x4200, 0x4400}},
		{Name: "w", Type: Float16, Dims: []int64{2}, Raw: []byte{0, 0x42, 0, 0x44}},
		{Name: "w", Type: BFloat16, Dims: []int64{2}, Raw: []byte{0x40, 0x40, 0x80, 0x40}},
	} {
		was, err := from.Floats()
		if err != nil || was[0] != 3 || was[1] != 4 {
			t.Fatalf("%v: %v (%v)", from.Type, was, err)
		}
		to, err := from.WithFloats(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := to.Floats()
		if err != nil || got[0] != v[0] || got[1] != v[1] || (from.Raw == nil) != (to.Raw == nil) || to.Type != from.Type {
			t.Errorf("%v: got %v (%v)", from.Type, got, err)
		}
		if was, _ := from.Floats(); was[0] != 3 {
			t.Errorf("%v: the original changed", from.Type)
		}
	}
	if _, err := FloatTensor("w", []int64{2}, v).WithFloats(v[:1]); err == nil {
		t.Error("too few values: no error")
	}
	if _, err := Int64Tensor("n", nil, []int64{1}).WithFloats(v[:1]); err == nil {
		t.Error("integers: no error")
	}
}
