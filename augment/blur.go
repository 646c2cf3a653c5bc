package augment

import (
	"fmt"
	"math"
)

// GaussianBlur convolves m with a Gaussian of the given odd kernel size and standard deviation, both
// in pixels, and returns the result: reflected borders without repeating the edge, float32, rounded
// half to even at the end, as torchvision's gaussian_blur does for Pillow images too.
func (m *Image) GaussianBlur(kernel int, sigma float64) *Image {
	out := m.Clone()
	out.blur(kernel, sigma)
	return out
}

func (m *Image) blur(kernel int, sigma float64) {
	if kernel < 1 || kernel%2 == 0 || !(sigma > 0) {
		panic(fmt.Sprintf("augment: Gaussian blur of kernel size %d, sigma %g: want an odd size and a positive sigma", kernel, sigma))
	}
	k := gaussian(kernel, sigma)
	half := kernel / 2
	n := m.W * 3
	mid := make([]float32, m.H*n)
	padded := make([]float32, (m.W+2*half)*3)
	for y := range m.H {
		row := m.Pix[y*n : (y+1)*n]
		for x := range m.W + 2*half {
			s := mirror(x-half, m.W) * 3
			padded[3*x], padded[3*x+1], padded[3*x+2] = float32(row[s]), float32(row[s+1]), float32(row[s+2])
		}
		out := mid[y*n : (y+1)*n]
		for j, w := range k {
			addScaled(out, padded[3*j:], w)
		}
	}
	acc := make([]float32, n)
	for y := range m.H {
		clear(acc)
		for j, w := range k {
			s := mirror(y+j-half, m.H)
			addScaled(acc, mid[s*n:], w)
		}
		dst := m.Pix[y*n : (y+1)*n]
		for i, v := range acc {
			dst[i] = clip8(int(math.RoundToEven(float64(v))))
		}
	}
}

func addScaled(dst, src []float32, w float32) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] += w * src[i]
	}
}

func gaussian(size int, sigma float64) []float32 {
	k := make([]float32, size)
	var sum float32
	for i := range k {
		x := (float64(i) - float64(size-1)/2) / sigma
		k[i] = float32(math.Exp(-0.5 * x * x))
		sum += k[i]
	}
	for i := range k {
		k[i] /= sum
	}
	return k
}

// mirror maps any integer into [0, n) by mirroring at the first and the last index.
func mirror(i, n int) int {
	if n == 1 {
		return 0
	}
	period := 2 * (n - 1)
	i %= period
	if i < 0 {
		i += period
	}
	if i >= n {
		i = period - i
	}
	return i
}
