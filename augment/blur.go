package augment

import (
	"fmt"
	"math"
	"sync"

	"github.com/sslrt/sslrt/augment/internal/kernel"
)

// GaussianBlur convolves m with a Gaussian of the given odd kernel size and standard deviation, both
// in pixels, and returns the result: reflected borders without repeating the edge, float32, rounded
// half to even at the end, as torchvision's gaussian_blur does for Pillow images too.
func (m *Image) GaussianBlur(kernel int, sigma float64) *Image {
	out := m.Clone()
	out.blur(kernel, sigma)
	return out
}

func (m *Image) blur(size int, sigma float64) {
	if size < 1 || size%2 == 0 || !(sigma > 0) {
		panic(fmt.Sprintf("augment: Gaussian blur of kernel size %d, sigma %g: want an odd size and a positive sigma", size, sigma))
	}
	s := blurScratch.Get().(*blurMemory)
	defer blurScratch.Put(s)
	s.gaussian(size, sigma)
	half, n := size/2, m.W*3
	s.mid, s.row = grow(s.mid, m.H*n), grow(s.row, n+half*6)
	for y := range m.H {
		row := m.Pix[y*n : (y+1)*n]
		kernel.Widen(s.row[half*3:half*3+n], row)
		for x := range half {
			left, right := mirror(-1-x, m.W)*3, mirror(m.W+x, m.W)*3
			for c := range 3 {
				s.row[(half-1-x)*3+c] = float32(row[left+c])
				s.row[(half+m.W+x)*3+c] = float32(row[right+c])
			}
		}
		out := s.mid[y*n : (y+1)*n]
		clear(out)
		for j, w := range s.kernel {
			kernel.AddScaled(out, s.row[3*j:], w)
		}
	}
	acc := s.row[:n]
	for y := range m.H {
		clear(acc)
		for j, w := range s.kernel {
			from := mirror(y+j-half, m.H)
			kernel.AddScaled(acc, s.mid[from*n:], w)
		}
		kernel.Round(m.Pix[y*n:(y+1)*n], acc)
	}
}

// blurMemory is what one blur needs.
type blurMemory struct {
	kernel, mid, row []float32
	sums             []uint32
}

var blurScratch = sync.Pool{New: func() any { return new(blurMemory) }}

func (s *blurMemory) gaussian(size int, sigma float64) {
	s.kernel = grow(s.kernel, size)
	var sum float32
	for i := range s.kernel {
		x := (float64(i) - float64(size-1)/2) / sigma
		s.kernel[i] = float32(math.Exp(-0.5 * x * x))
		sum += s.kernel[i]
	}
	for i := range s.kernel {
		s.kernel[i] /= sum
	}
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
