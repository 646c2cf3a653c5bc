package augment

import (
	"fmt"
	"math"

	"github.com/sslrt/sslrt/augment/internal/kernel"
)

// PillowBlur returns m blurred as Pillow's ImageFilter.GaussianBlur(radius) does: three box blurs in
// each direction, which come near a Gaussian of that standard deviation in pixels. MoCo v2, DINO and
// Barlow Twins were trained with it. Gwosdek et al., Theoretical foundations of Gaussian convolution by
// extended box filtering (SSVM 2011).
func (m *Image) PillowBlur(radius float64) *Image {
	out := m.Clone()
	out.pillowBlur(radius, nil)
	return out
}

func (m *Image) pillowBlur(radius float64, s *Scratch) {
	if !(radius >= 0) || math.IsInf(radius, 1) {
		panic(fmt.Sprintf("augment: blur of radius %g: want 0 or more", radius))
	}
	box := boxRadius(float32(radius))
	if box == 0 {
		return
	}
	r, whole, part := boxWeights(box)
	other := s.Image(m.W, m.H)
	n := m.W * 3
	for y := range m.H {
		a, b := m.Pix[y*n:(y+1)*n], other.Pix[y*n:(y+1)*n]
		boxLine(b, a, r, whole, part)
		boxLine(a, b, r, whole, part)
		boxLine(b, a, r, whole, part)
	}
	boxColumns(m, other, r, whole, part)
	boxColumns(other, m, r, whole, part)
	boxColumns(m, other, r, whole, part)
	s.Release(other)
}

// boxRadius is the radius of the box, with its fraction, of which three give a standard deviation.
func boxRadius(sigma float32) float32 {
	const passes = 3
	v := sigma * sigma / passes
	l := float32(math.Sqrt(12*float64(v) + 1))
	l = float32(math.Floor((float64(l) - 1) / 2))
	a := (2*l + 1) * (l*(l+1) - 3*v)
	a /= 6 * (v - (l+1)*(l+1))
	return l + a
}

// boxWeights gives the whole pixels on each side of the centre, and in 8.24 fixed point the weight of
// whole pixels and that of the two at the ends of the box.
func boxWeights(radius float32) (r int, whole, part uint32) {
	r = int(radius)
	whole = uint32(float32(1<<24) / (radius*2 + 1))
	return r, whole, (1<<24 - uint32(r*2+1)*whole) / 2
}

// boxLine blurs a row of RGB pixels. Beyond the ends the outermost pixel repeats.
func boxLine(dst, src []uint8, r int, whole, part uint32) {
	last := len(src)/3 - 1
	var acc [3]uint32 // the box around pixel -1
	for c := range acc {
		acc[c] = uint32(src[c]) * uint32(r+1)
		for x := range r {
			acc[c] += uint32(src[min(x, last)*3+c])
		}
	}
	a0, a1, a2 := acc[0], acc[1], acc[2]
	for x := range last + 1 {
		out := src[max(x-r-1, 0)*3:][:3:3]
		in := src[min(x+r, last)*3:][:3:3]
		next := src[min(x+r+1, last)*3:][:3:3]
		a0 += uint32(in[0]) - uint32(out[0])
		a1 += uint32(in[1]) - uint32(out[1])
		a2 += uint32(in[2]) - uint32(out[2])
		d := dst[x*3:][:3:3]
		d[0] = uint8((a0*whole + (uint32(out[0])+uint32(next[0]))*part + 1<<23) >> 24)
		d[1] = uint8((a1*whole + (uint32(out[1])+uint32(next[1]))*part + 1<<23) >> 24)
		d[2] = uint8((a2*whole + (uint32(out[2])+uint32(next[2]))*part + 1<<23) >> 24)
	}
}

// boxColumns blurs the columns of src, row by row with a running sum for each column.
func boxColumns(dst, src *Image, r int, whole, part uint32) {
	s := blurScratch.Get().(*blurMemory)
	defer blurScratch.Put(s)
	n, last := src.W*3, src.H-1
	s.sums = grow(s.sums, n)
	row := func(y int) []uint8 {
		y = min(max(y, 0), last)
		return src.Pix[y*n : (y+1)*n]
	}
	acc := s.sums
	for i, v := range row(0) {
		acc[i] = uint32(v) * uint32(r+1)
	}
	for y := range r {
		for i, v := range row(y) {
			acc[i] += uint32(v)
		}
	}
	for y := range src.H {
		kernel.BoxRow(dst.Pix[y*n:(y+1)*n], acc, row(y-r-1), row(y+r), row(y+r+1), whole, part)
	}
}
