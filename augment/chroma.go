package augment

import "image"

// fromYCbCr converts planar YCbCr with the arithmetic of libjpeg(-turbo): triangle-filtered
// ("fancy") chroma upsampling for 4:2:0, 4:2:2 and 4:4:0, replication for the rarer ratios, and the
// 16-bit fixed-point colour matrix of JFIF. The standard library repeats chroma instead, which differs
// from what Pillow-trained models saw by up to 30 levels at coloured edges.
func (m *Image) fromYCbCr(src *image.YCbCr) {
	sx, sy := chromaStep(src.SubsampleRatio)
	cw, ch := (m.W+sx-1)/sx, (m.H+sy-1)/sy
	y0 := src.YOffset(src.Rect.Min.X, src.Rect.Min.Y)
	c0 := src.COffset(src.Rect.Min.X, src.Rect.Min.Y)
	line := func(plane []uint8, cy int) []uint8 {
		cy = min(max(cy, 0), ch-1)
		return plane[c0+cy*src.CStride:][:cw]
	}
	cb, cr := make([]uint8, cw*sx), make([]uint8, cw*sx)
	for y := range m.H {
		cy := y / sy
		other, bias := cy+1, 2
		if y%2 == 0 {
			other, bias = cy-1, 1
		}
		switch {
		// libjpeg does not interpolate horizontally when there are fewer than three chroma columns.
		case sx == 2 && sy == 2 && cw > 2:
			upsample2x2(cb, line(src.Cb, cy), line(src.Cb, other))
			upsample2x2(cr, line(src.Cr, cy), line(src.Cr, other))
		case sx == 2 && sy == 1 && cw > 2:
			upsample2x1(cb, line(src.Cb, cy))
			upsample2x1(cr, line(src.Cr, cy))
		case sx == 1 && sy == 2:
			upsample1x2(cb, line(src.Cb, cy), line(src.Cb, other), bias)
			upsample1x2(cr, line(src.Cr, cy), line(src.Cr, other), bias)
		default:
			repeat(cb, line(src.Cb, cy), sx)
			repeat(cr, line(src.Cr, cy), sx)
		}
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
