package augment

import (
	"fmt"
	"math"
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
	// Lines of three channels one after the other; columns are lines of the transposed image.
	turned := s.Image(m.H, m.W)
	other := s.Image(m.W, m.H)
	boxLines(m, other, box)
	transpose(turned, m)
	other.W, other.H = m.H, m.W
	boxLines(turned, other, box)
	transpose(m, turned)
	s.Release(turned)
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

// boxLines blurs each line of m three times, in place; tmp has its size.
func boxLines(m, tmp *Image, radius float32) {
	r := int(radius)
	// 8.24 fixed point: the weight of whole pixels and that of the two at the ends of the box.
	whole := uint32(float32(1<<24) / (radius*2 + 1))
	part := (1<<24 - uint32(r*2+1)*whole) / 2
	n := m.W * 3
	for y := range m.H {
		a, b := m.Pix[y*n:(y+1)*n], tmp.Pix[y*n:(y+1)*n]
		boxLine(b, a, r, whole, part)
		boxLine(a, b, r, whole, part)
		boxLine(b, a, r, whole, part)
		copy(a, b)
	}
}

func boxLine(dst, src []uint8, r int, whole, part uint32) {
	last := len(src)/3 - 1
	for c := range 3 {
		// The box around pixel -1; beyond the ends the outermost pixel repeats.
		acc := uint32(src[c]) * uint32(r+1)
		for x := range r {
			acc += uint32(src[min(x, last)*3+c])
		}
		for x := range last + 1 {
			acc += uint32(src[min(x+r, last)*3+c]) - uint32(src[max(x-r-1, 0)*3+c])
			ends := uint32(src[max(x-r-1, 0)*3+c]) + uint32(src[min(x+r+1, last)*3+c])
			dst[x*3+c] = uint8((acc*whole + ends*part + 1<<23) >> 24)
		}
	}
}

// transpose writes m to dst with rows and columns exchanged.
func transpose(dst, m *Image) {
	for y := range m.H {
		for x := range m.W {
			copy(dst.Pix[(x*m.H+y)*3:(x*m.H+y)*3+3], m.Pix[(y*m.W+x)*3:])
		}
	}
}
