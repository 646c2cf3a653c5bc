package augment

import "image"

// chroma is the two subsampled planes of a picture: cw x ch samples, one for sx x sy pixels.
type chroma struct {
	cb, cr         []uint8
	cw, ch, stride int
	sx, sy         int
}

// row interpolates the chroma of the pixel row y as libjpeg(-turbo) does: triangle-filtered ("fancy")
// for 4:2:0, 4:2:2 and 4:4:0, repeated for the rarer ratios. cb and cr have cw*sx values.
func (c *chroma) row(y int, cb, cr []uint8) {
	cy := y / c.sy
	other, bias := cy+1, 2
	if y%2 == 0 {
		other, bias = cy-1, 1
	}
	switch {
	// libjpeg does not interpolate horizontally when there are fewer than three chroma columns.
	case c.sx == 2 && c.sy == 2 && c.cw > 2:
		upsample2x2(cb, c.line(c.cb, cy), c.line(c.cb, other))
		upsample2x2(cr, c.line(c.cr, cy), c.line(c.cr, other))
	case c.sx == 2 && c.sy == 1 && c.cw > 2:
		upsample2x1(cb, c.line(c.cb, cy))
		upsample2x1(cr, c.line(c.cr, cy))
	case c.sx == 1 && c.sy == 2:
		upsample1x2(cb, c.line(c.cb, cy), c.line(c.cb, other), bias)
		upsample1x2(cr, c.line(c.cr, cy), c.line(c.cr, other), bias)
	default:
		repeat(cb, c.line(c.cb, cy), c.sx)
		repeat(cr, c.line(c.cr, cy), c.sx)
	}
}

// line is a row of a plane; above and below the picture the outermost row goes on.
func (c *chroma) line(plane []uint8, cy int) []uint8 {
	cy = min(max(cy, 0), c.ch-1)
	return plane[cy*c.stride:][:c.cw]
}

// fromYCbCr converts planar YCbCr with the arithmetic of libjpeg(-turbo): interpolated chroma and the
// 16-bit fixed-point colour matrix of JFIF. The standard library repeats chroma instead, which differs
// from what Pillow-trained models saw by up to 30 levels at coloured edges.
func (m *Image) fromYCbCr(src *image.YCbCr) {
	sx, sy := chromaStep(src.SubsampleRatio)
	y0 := src.YOffset(src.Rect.Min.X, src.Rect.Min.Y)
	c0 := src.COffset(src.Rect.Min.X, src.Rect.Min.Y)
	c := chroma{cb: src.Cb[c0:], cr: src.Cr[c0:], stride: src.CStride,
		cw: (m.W + sx - 1) / sx, ch: (m.H + sy - 1) / sy, sx: sx, sy: sy}
	cb, cr := make([]uint8, c.cw*sx), make([]uint8, c.cw*sx)
	for y := range m.H {
		c.row(y, cb, cr)
		yccToRGB(m.Pix[y*m.W*3:(y+1)*m.W*3], src.Y[y0+y*src.YStride:], cb, cr)
	}
}

// chromaStep gives the luma pixels per chroma sample, horizontally and vertically.
func chromaStep(r image.YCbCrSubsampleRatio) (x, y int) {
	switch r {
	case image.YCbCrSubsampleRatio422:
		return 2, 1
	case image.YCbCrSubsampleRatio420:
		return 2, 2
	case image.YCbCrSubsampleRatio440:
		return 1, 2
	case image.YCbCrSubsampleRatio411:
		return 4, 1
	case image.YCbCrSubsampleRatio410:
		return 4, 2
	}
	return 1, 1
}

// upsample2x2 fills dst (twice as long) from the nearest chroma row and the next nearest, weighted 3:1
// in both directions. The alternating rounding (8, 7) is libjpeg's.
func upsample2x2(dst, near, far []uint8) {
	n := len(near)
	this := 3*int(near[0]) + int(far[0])
	last := this
	for i := range n {
		next := this
		if i+1 < n {
			next = 3*int(near[i+1]) + int(far[i+1])
		}
		dst[2*i] = uint8((3*this + last + 8) >> 4)
		dst[2*i+1] = uint8((3*this + next + 7) >> 4)
		last, this = this, next
	}
}

// upsample2x1 is the same in one direction, with rounding 1, 2.
func upsample2x1(dst, src []uint8) {
	n := len(src)
	for i, c := range src {
		v := 3 * int(c)
		dst[2*i] = uint8((v + int(src[max(i-1, 0)]) + 1) >> 2)
		dst[2*i+1] = uint8((v + int(src[min(i+1, n-1)]) + 2) >> 2)
	}
}

func upsample1x2(dst, near, far []uint8, bias int) {
	for i, c := range near {
		dst[i] = uint8((3*int(c) + int(far[i]) + bias) >> 2)
	}
}

func repeat(dst, src []uint8, times int) {
	for i := range dst {
		dst[i] = src[i/times]
	}
}

func yccToRGB(dst, luma, cb, cr []uint8) {
	const half = 1 << 15
	for i, x := 0, 0; i < len(dst); i, x = i+3, x+1 {
		y, u, v := int(luma[x]), int(cb[x])-128, int(cr[x])-128
		dst[i] = clip8(y + (91881*v+half)>>16)
		dst[i+1] = clip8(y + (-22554*u-46802*v+half)>>16)
		dst[i+2] = clip8(y + (116130*u+half)>>16)
	}
}

func clip8(v int) uint8 {
	if uint(v) <= 255 {
		return uint8(v)
	}
	if v < 0 {
		return 0
	}
	return 255
}
