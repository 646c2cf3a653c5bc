//go:build !libjpeg || !cgo

package augment

import "github.com/sslrt/sslrt/augment/internal/kernel"

// Decoders names what decodes JPEG: this package itself, or, with the build tag libjpeg, libjpeg-turbo
// through cgo. At full size both give Pillow's pixels exactly.
const Decoders = "Go"

// jpegPixels decodes a file whose header was read.
func jpegPixels(mem *jpegMemory, _ []byte, opt DecodeOptions) (*Image, error) {
	d := &mem.decoder
	eighths := opt.eighths(d.W, d.H)
	planes, err := d.Planes(eighths)
	if err != nil {
		return nil, err
	}
	var p [4]subsampled
	for i, c := range planes {
		p[i] = subsampled(c)
	}
	m := opt.scratch.Image((d.W*eighths+7)/8, (d.H*eighths+7)/8)
	switch {
	case d.Components == 1:
		for y := range m.H {
			for x, v := range p[0].line(y) {
				m.set((y*m.W+x)*3, v, v, v)
			}
		}
	case d.Components == 4:
		m.fromInk(p, d.Adobe && d.Transform != 0, &mem.rows)
	case isRGB(d.JFIF, d.Adobe, d.Transform, d.IDs):
		rows := rowMemory(&mem.rows, p[:3]...)
		for y := range m.H {
			r, g, b := p[0].row(y, rows[0]), p[1].row(y, rows[1]), p[2].row(y, rows[2])
			for x := range m.W {
				m.set((y*m.W+x)*3, r[x], g[x], b[x])
			}
		}
	default:
		m.fromYCC(p[0], p[1], p[2], &mem.rows)
	}
	return m, nil
}

// isRGB tells, as libjpeg does, three components that are colours from those that are luma and chroma.
func isRGB(jfif, adobe bool, transform byte, ids [4]byte) bool {
	switch {
	case jfif:
		return false
	case adobe:
		return transform == 0
	}
	return ids[0] == 'R' && ids[1] == 'G' && ids[2] == 'B'
}

// fromInk converts four components as libjpeg and Pillow do: YCCK to CMYK; samples inverted as Adobe
// writes them (so Pillow reads every file of four components); CMYK to RGB without a profile.
func (m *Image) fromInk(p [4]subsampled, ycck bool, memory *[]uint8) {
	rows := rowMemory(memory, p[:]...)
	for y := range m.H {
		out := m.Pix[y*m.W*3 : (y+1)*m.W*3]
		first, second, third, black := p[0].row(y, rows[0]), p[1].row(y, rows[1]), p[2].row(y, rows[2]), p[3].row(y, rows[3])
		if ycck {
			kernel.YCCToRGB(out, first, second, third)
		} else {
			for x := range m.W {
				m.set((y*m.W+x)*3, 255-first[x], 255-second[x], 255-third[x])
			}
		}
		for x := range m.W { // out holds cyan, magenta and yellow
			white := int(black[x])
			c := out[3*x : 3*x+3]
			c[0], c[1], c[2] = lessInk(c[0], white), lessInk(c[1], white), lessInk(c[2], white)
		}
	}
}
