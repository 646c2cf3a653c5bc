package kernel

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

// both runs f with and without AVX2.
func both(t *testing.T, f func() []uint8) (fast, plain []uint8) {
	t.Helper()
	if !HaveAVX2 {
		t.Skip("this processor has no AVX2")
	}
	defer func() { HaveAVX2 = true }()
	fast = f()
	HaveAVX2 = false
	return fast, f()
}

func TestInverseDCT(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 5000 {
		var block [64]int16
		for range r.IntN(65) {
			size := []int{8, 200, 2000, 30000}[i%4] // the largest are no picture's
			block[r.IntN(64)] = int16(r.IntN(2*size+1) - size)
		}
		const stride = 11
		run := func() []uint8 {
			dst := make([]uint8, 7*stride+8)
			InverseDCT(dst, stride, &block)
			return dst
		}
		fast, plain := both(t, run)
		if !bytes.Equal(fast, plain) {
			t.Fatalf("case %d: got %v, want %v of %v", i, fast, plain, block)
		}
		if i%4 > 1 {
			continue
		}
		// The integers are within one level of the transform itself.
		for y := range 8 {
			for x := range 8 {
				sum := 0.0
				for v := range 8 {
					for u := range 8 {
						a := 1.0
						if u == 0 {
							a *= math.Sqrt2 / 2
						}
						if v == 0 {
							a *= math.Sqrt2 / 2
						}
						sum += a * float64(block[8*v+u]) * math.Cos(float64((2*x+1)*u)*math.Pi/16) * math.Cos(float64((2*y+1)*v)*math.Pi/16) / 4
					}
				}
				want := min(max(sum+128, 0), 255)
				if d := float64(fast[y*stride+x]) - want; d > 1 || d < -1 {
					t.Fatalf("case %d: sample %d, %d is %d, want %g", i, x, y, fast[y*stride+x], want)
				}
			}
		}
	}
	for dc := -3000; dc <= 3000; dc++ {
		block := [64]int16{int16(dc)}
		a, b := make([]uint8, 64), make([]uint8, 64)
		InverseDCT(a, 8, &block)
		FillBlock(b, 8, int16(dc))
		if !bytes.Equal(a, b) {
			t.Fatalf("dc %d: filled with %d, want %d", dc, b[0], a[0])
		}
	}
}

func TestUpsample2x2(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for n := 1; n < 120; n++ {
		near, far := make([]uint8, n), make([]uint8, n)
		for i := range n {
			near[i], far[i] = uint8(r.Uint32()), uint8(r.Uint32())
		}
		if n%5 == 0 {
			near[n-1], far[n-1], near[0], far[0] = 255, 255, 255, 255
		}
		fast, plain := both(t, func() []uint8 {
			dst := make([]uint8, 2*n)
			Upsample2x2(dst, near, far)
			return dst
		})
		if !bytes.Equal(fast, plain) {
			t.Fatalf("%d samples: got %v, want %v", n, fast, plain)
		}
	}
}

// Every pair of chroma values, with a few of luma.
func TestYCCToRGB(t *testing.T) {
	for _, y := range []uint8{0, 1, 127, 128, 200, 255} {
		for u := range 256 {
			luma, cb, cr := bytes.Repeat([]byte{y}, 257), bytes.Repeat([]byte{uint8(u)}, 257), make([]uint8, 257)
			for i := range cr {
				cr[i] = uint8(i)
			}
			fast, plain := both(t, func() []uint8 {
				dst := make([]uint8, 3*257)
				YCCToRGB(dst, luma, cb, cr)
				return dst
			})
			if !bytes.Equal(fast, plain) {
				t.Fatalf("luma %d, cb %d: the pixels differ", y, u)
			}
		}
	}
}

func BenchmarkInverseDCT(b *testing.B) {
	block := [64]int16{300, 20, -30, 0, 5, 0, 0, 0, 40, -10, 3}
	dst := make([]uint8, 64)
	for b.Loop() {
		InverseDCT(dst, 8, &block)
	}
}

func BenchmarkYCCToRGB(b *testing.B) {
	p := make([]uint8, 512)
	dst := make([]uint8, 3*512)
	b.SetBytes(512)
	for b.Loop() {
		YCCToRGB(dst, p, p, p)
	}
}

func BenchmarkUpsample2x2(b *testing.B) {
	p := make([]uint8, 256)
	dst := make([]uint8, 512)
	b.SetBytes(512)
	for b.Loop() {
		Upsample2x2(dst, p, p)
	}
}
