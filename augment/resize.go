package augment

import (
	"fmt"
	"math"
	"sync"

	"github.com/sslrt/sslrt/augment/internal/kernel"
)

// Filter is an interpolation kernel of [Resize].
type Filter int

const (
	Bilinear Filter = iota // triangle, support 1
	Bicubic                // Keys' cubic with a = -0.5, support 2
	Nearest                // the pixel under the centre, no antialias
)

var filterNames = [...]string{Bilinear: "bilinear", Bicubic: "bicubic", Nearest: "nearest"}

// String returns "bilinear", "bicubic" or "nearest".
func (f Filter) String() string {
	if f < 0 || int(f) >= len(filterNames) {
		return fmt.Sprintf("Filter(%d)", int(f))
	}
	return filterNames[f]
}

// ParseFilter is the inverse of [Filter.String].
func ParseFilter(s string) (Filter, error) {
	for f, name := range filterNames {
		if s == name {
			return Filter(f), nil
		}
	}
	return 0, fmt.Errorf("augment: interpolation %q: want bilinear, bicubic or nearest", s)
}

func (f Filter) support() float64 {
	if f == Bicubic {
		return 2
	}
	return 1
}

func (f Filter) at(x float64) float64 {
	x = math.Abs(x)
	if f == Bilinear {
		return max(0, 1-x)
	}
	const a = -0.5
	switch {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return (((x-5)*x+8)*x - 4) * a
	}
	return 0
}

// Resize returns m scaled to w x h pixels exactly as Pillow's Image.resize: the kernel widens when
// shrinking (antialias), weights are 22-bit fixed point, the horizontal pass comes first, and each
// pass rounds and clips to 8 bits. The result never shares memory with m.
func Resize(m *Image, w, h int, f Filter) *Image {
	return ResizeBox(m, 0, 0, m.W, m.H, w, h, f)
}

// ResizeBox crops m to [x0,x1) x [y0,y1) and resizes that, as torchvision's resized_crop: pixels
// outside the box have no influence. The box must lie inside m.
func ResizeBox(m *Image, x0, y0, x1, y1, w, h int, f Filter) *Image {
	out := NewImage(w, h)
	m.resizeInto(out, x0, y0, x1, y1, f)
	return out
}

// resizeInto is ResizeBox to the size of out.
func (m *Image) resizeInto(out *Image, x0, y0, x1, y1 int, f Filter) {
	m.resizePart(out, x0, y0, x1, y1, out.W, out.H, 0, 0, f)
}

// resizePart resizes the box to w x h and keeps of that the part of out's size from (ox, oy) on. Nothing
// else is computed.
func (m *Image) resizePart(out *Image, x0, y0, x1, y1, w, h, ox, oy int, f Filter) {
	m.checkBox(x0, y0, x1, y1)
	bw, bh := x1-x0, y1-y0
	if w == bw && h == bh {
		m.cropInto(out, x0+ox, y0+oy)
		return
	}
	if f == Nearest {
		m.resizeNearest(out, x0, y0, float64(bw)/float64(w), float64(bh)/float64(h), ox, oy)
		return
	}
	s := resizeScratch.Get().(*scratch)
	defer resizeScratch.Put(s)

	rows, from := out.H, oy // of the box, that are needed
	if h != bh {
		s.y.compute(bh, h, oy, out.H, f)
		from = int(s.y.first[0])
		rows = int(s.y.first[out.H-1]+s.y.count[out.H-1]) - from
	}
	src, stride := m.Pix[((y0+from)*m.W+x0)*3:], m.W*3
	if w != bw {
		dst := out.Pix
		if h != bh {
			dst = s.middle(out.W * rows * 3)
		}
		s.x.compute(bw, w, ox, out.W, f)
		s.x.horizontal(dst, out.W, rows, src, stride)
		src, stride = dst, out.W*3
	} else {
		src = src[ox*3:]
	}
	if h != bh {
		s.y.vertical(out, src, stride, from)
	}
}

// resizeNearest adds positions up along each axis, as Pillow does.
func (m *Image) resizeNearest(out *Image, x0, y0 int, dx, dy float64, ox, oy int) {
	start := func(step float64, skip int) float64 {
		at := step * 0.5
		for range skip {
			at += step
		}
		return at
	}
	left, y := start(dx, ox), start(dy, oy)
	for oy := range out.H {
		row := m.Pix[(y0+int(y))*m.W*3:]
		x := left
		for ox := range out.W {
			copy(out.Pix[(oy*out.W+ox)*3:(oy*out.W+ox)*3+3], row[(x0+int(x))*3:])
			x += dx
		}
		y += dy
	}
}

// scratch is what one resize needs beside its result; workers resize millions of small images.
type scratch struct {
	x, y weights
	mid  []uint8
}

var resizeScratch = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) middle(n int) []uint8 {
	if cap(s.mid) < n {
		s.mid = make([]uint8, n)
	}
	return s.mid[:n]
}

// weights holds, for each output position, the first input position and the weights from there on.
type weights struct {
	first []int32
	count []int32
	taps  []int32 // width per output position
	width int
	real  []float64
}

// compute fills the table for a number of the m output samples that n input samples become, from one on.
func (t *weights) compute(n, m, from, number int, f Filter) {
	scale := float64(n) / float64(m)
	spread := max(scale, 1)
	support := f.support() * spread
	t.width = int(math.Ceil(support))*2 + 1
	t.first = grow(t.first, number)
	t.count = grow(t.count, number)
	t.taps = grow(t.taps, number*t.width)
	t.real = grow(t.real, t.width)
	for i := range number {
		center := (float64(from+i) + 0.5) * scale
		lo := max(int(center-support+0.5), 0)
		hi := min(int(center+support+0.5), n)
		sum := 0.0
		for j := lo; j < hi; j++ {
			w := f.at((float64(j) - center + 0.5) * (1 / spread))
			t.real[j-lo] = w
			sum += w
		}
		taps := t.taps[i*t.width : (i+1)*t.width]
		for j := range hi - lo {
			w := t.real[j]
			if sum != 0 {
				w /= sum
			}
			taps[j] = int32(math.Round(w * (1 << kernel.WeightBits)))
		}
		t.first[i], t.count[i] = int32(lo), int32(hi-lo)
	}
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

func (t *weights) horizontal(dst []uint8, w, h int, src []uint8, stride int) {
	for y := range h {
		kernel.WeighPixels(dst[y*w*3:], src[y*stride:], t.first, t.count, t.taps, t.width, w, y+1 < h)
	}
}

// vertical reads rows of src, of which the first is row number from.
func (t *weights) vertical(out *Image, src []uint8, stride, from int) {
	n := out.W * 3
	for y := range out.H {
		taps := t.taps[y*t.width : y*t.width+int(t.count[y])]
		kernel.WeighRows(out.Pix[y*n:(y+1)*n], src[(int(t.first[y])-from)*stride:], stride, taps)
	}
}
