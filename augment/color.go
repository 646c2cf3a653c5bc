package augment

import "math"

// The adjustments below change m in place and return nothing. They compute what torchvision's
// functional adjust_* compute on a Pillow image, value for value.

// luma is Pillow's conversion to "L": ITU-R 601-2 in 16-bit fixed point.
func luma(r, g, b uint8) uint8 {
	return uint8((19595*uint32(r) + 38470*uint32(g) + 7471*uint32(b) + 1<<15) >> 16)
}

// blend is Pillow's Image.blend(from, to, factor) for one sample: float32, truncated, clipped.
func blend(from, to uint8, factor float32) uint8 {
	// The conversion keeps compilers from fusing multiplication and addition.
	v := float32(from) + float32(factor*float32(int(to)-int(from)))
	if v <= 0 {
		return 0
	}
	if v >= 255 {
		return 255
	}
	return uint8(v)
}

func (m *Image) mapSamples(table *[256]uint8) {
	for i, v := range m.Pix {
		m.Pix[i] = table[v]
	}
}

// AdjustBrightness blends m with black: factor 0 is black, 1 changes nothing, 2 doubles.
func (m *Image) AdjustBrightness(factor float64) { m.blendWith(0, factor) }

// AdjustContrast blends m with its mean luma, rounded: factor 0 is flat grey, 1 changes nothing.
func (m *Image) AdjustContrast(factor float64) {
	sum := 0
	for i := 0; i+2 < len(m.Pix); i += 3 {
		sum += int(luma(m.Pix[i], m.Pix[i+1], m.Pix[i+2]))
	}
	mean := float64(sum) / float64(m.W*m.H)
	m.blendWith(uint8(mean+0.5), factor)
}

func (m *Image) blendWith(from uint8, factor float64) {
	if factor == 1 {
		return
	}
	var table [256]uint8
	for v := range table {
		table[v] = blend(from, uint8(v), float32(factor))
	}
	m.mapSamples(&table)
}

// AdjustSaturation blends m with its luma: factor 0 is grey, 1 changes nothing.
func (m *Image) AdjustSaturation(factor float64) {
	if factor == 1 {
		return
	}
	f := float32(factor)
	for i := 0; i+2 < len(m.Pix); i += 3 {
		p := m.Pix[i : i+3 : i+3]
		l := luma(p[0], p[1], p[2])
		p[0], p[1], p[2] = blend(l, p[0], f), blend(l, p[1], f), blend(l, p[2], f)
	}
}

// AdjustHue turns the hue by factor of a full circle, -0.5 to 0.5. Pillow's hue has 256 steps, so the
// turn is int(factor*255) of them, and the way to HSV and back rounds even when the factor is 0.
func (m *Image) AdjustHue(factor float64) {
	turn := uint8(int(factor * 255))
	for i := 0; i+2 < len(m.Pix); i += 3 {
		p := m.Pix[i : i+3 : i+3]
		h, s, v := toHSV(p[0], p[1], p[2])
		p[0], p[1], p[2] = fromHSV(h+turn, s, v)
	}
}

// toHSV is Pillow's conversion with its mixture of float32 and float64.
func toHSV(r, g, b uint8) (h, s, v uint8) {
	hi, lo := max(r, g, b), min(r, g, b)
	if hi == lo {
		return 0, 0, hi
	}
	span := float32(hi - lo)
	rc, gc, bc := float32(hi-r)/span, float32(hi-g)/span, float32(hi-b)/span
	var hue float32
	switch hi {
	case r:
		hue = bc - gc
	case g:
		hue = float32(2 + float64(rc) - float64(bc))
	default:
		hue = float32(4 + float64(gc) - float64(rc))
	}
	turn := float64(hue)/6 + 1 // in [5/6, 2): hue runs from -1 to 5
	if turn >= 1 {
		turn--
	}
	hue = float32(turn)
	return clip8(int(float64(hue) * 255)), clip8(int(float64(span/float32(hi)) * 255)), hi
}

// sextant holds, for each 8-bit hue, the side of the colour hexagon and the position along it.
var sextant = func() (t [256]struct {
	side int
	at   float64
}) {
	for h := range t {
		x := float64(h) * 6 / 255
		i := math.Floor(x)
		t[h].side, t[h].at = int(i)%6, float64(float32(x-i))
	}
	return t
}()

func fromHSV(h, s, v uint8) (r, g, b uint8) {
	if s == 0 {
		return v, v, v
	}
	side, at := sextant[h].side, sextant[h].at
	fs := float64(float32(float64(s) / 255))
	fv := float64(v)
	// All three are positive, so adding one half and truncating rounds as C's round does.
	p := uint8(fv*(1-fs) + 0.5)
	q := uint8(fv*(1-fs*at) + 0.5)
	t := uint8(fv*(1-fs*(1-at)) + 0.5)
	switch side {
	case 0:
		return v, t, p
	case 1:
		return q, v, p
	case 2:
		return p, v, t
	case 3:
		return p, q, v
	case 4:
		return t, p, v
	}
	return v, p, q
}

// Grayscale replaces each pixel by its luma, repeated in the three channels.
func (m *Image) Grayscale() {
	for i := 0; i+2 < len(m.Pix); i += 3 {
		p := m.Pix[i : i+3 : i+3]
		l := luma(p[0], p[1], p[2])
		p[0], p[1], p[2] = l, l, l
	}
}

// Solarize inverts the samples that are at or above threshold; 256 inverts none.
func (m *Image) Solarize(threshold int) {
	var table [256]uint8
	for v := range table {
		table[v] = uint8(v)
		if v >= threshold {
			table[v] = 255 - uint8(v)
		}
	}
	m.mapSamples(&table)
}
