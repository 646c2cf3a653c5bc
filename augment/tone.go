package augment

import "math"

// AdjustGamma replaces each sample v by 255 * (v/255)^gamma: below 1 lightens, above 1 darkens.
func (m *Image) AdjustGamma(gamma float64) {
	var table [256]uint8
	for v := range table {
		table[v] = uint8(min((255+1-1e-3)*math.Pow(float64(v)/255, gamma), 255))
	}
	m.mapSamples(&table)
}

// AdjustSharpness blends m with a smoothed copy: factor 0 is smooth, 1 changes nothing, 2 sharpens.
func (m *Image) AdjustSharpness(factor float64) { m.adjustSharpness(factor, nil) }

func (m *Image) adjustSharpness(factor float64, s *Scratch) {
	// Pillow's ImageFilter.SMOOTH: weights 1, the centre's 5, sum 13; the outermost pixels stay.
	const side, centre = float32(1) / 13, float32(5) / 13
	src, f, n := s.copyOf(m), float32(factor), m.W*3
	for y := 1; y < m.H-1; y++ {
		up, row, down := src.Pix[(y-1)*n:y*n], src.Pix[y*n:(y+1)*n], src.Pix[(y+1)*n:(y+2)*n]
		for i := 3; i < n-3; i++ {
			sum := float32(0.5)
			sum += line3(down[i-3:i+4], side, side)
			sum += line3(row[i-3:i+4], side, centre)
			sum += line3(up[i-3:i+4], side, side)
			m.Pix[y*n+i] = blend(clip8(int(sum)), row[i], f)
		}
	}
	s.Release(src)
}

// line3 adds a sample and its neighbours three places away, without fused multiplication.
func line3(p []uint8, side, centre float32) float32 {
	return float32(float32(p[0])*side) + float32(float32(p[3])*centre) + float32(float32(p[6])*side)
}

// Posterize keeps the highest bits of each sample, 0 to 8.
func (m *Image) Posterize(bits int) {
	mask := ^uint8(1<<(8-bits) - 1)
	for i, v := range m.Pix {
		m.Pix[i] = v & mask
	}
}

// Invert replaces each sample v by 255-v.
func (m *Image) Invert() {
	for i, v := range m.Pix {
		m.Pix[i] = 255 - v
	}
}

// Autocontrast stretches each channel from its smallest to its largest value over 0 to 255.
func (m *Image) Autocontrast() {
	m.mapChannels(func(count *[256]int, table *[256]uint8) {
		lo, hi := 0, 255
		for lo < 255 && count[lo] == 0 {
			lo++
		}
		for hi > 0 && count[hi] == 0 {
			hi--
		}
		if hi <= lo {
			return
		}
		scale := 255 / float64(hi-lo)
		offset := float64(-lo) * scale
		for v := range table {
			table[v] = clip8(int(float64(float64(v)*scale) + offset))
		}
	})
}

// Equalize makes the values of each channel about equally frequent, with Pillow's integer rule.
func (m *Image) Equalize() {
	m.mapChannels(func(count *[256]int, table *[256]uint8) {
		used, last := 0, 0
		for _, n := range count {
			if n > 0 {
				used, last = used+1, n
			}
		}
		step := (m.W*m.H - last) / 255
		if used <= 1 || step == 0 {
			return
		}
		n := step / 2
		for v := range table {
			table[v] = clip8(n / step)
			n += count[v]
		}
	})
}

// mapChannels maps each channel by a table that is made from its histogram, and starts as the identity.
func (m *Image) mapChannels(make func(count *[256]int, table *[256]uint8)) {
	var count [3][256]int
	var table [3][256]uint8
	for i := 0; i+2 < len(m.Pix); i += 3 {
		count[0][m.Pix[i]]++
		count[1][m.Pix[i+1]]++
		count[2][m.Pix[i+2]]++
	}
	for c := range table {
		for v := range table[c] {
			table[c][v] = uint8(v)
		}
		make(&count[c], &table[c])
	}
	for i := 0; i+2 < len(m.Pix); i += 3 {
		m.Pix[i], m.Pix[i+1], m.Pix[i+2] = table[0][m.Pix[i]], table[1][m.Pix[i+1]], table[2][m.Pix[i+2]]
	}
}
