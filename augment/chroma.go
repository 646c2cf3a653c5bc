package augment

import (
	"image"

	"github.com/sslrt/sslrt/augment/internal/jpeg"
	"github.com/sslrt/sslrt/augment/internal/kernel"
)

// subsampled is a plane of a picture that may be subsampled: W x H samples, one for SX x SY pixels.
type subsampled jpeg.Plane

// row returns the samples of the pixel row y, at least one for each pixel, interpolated as libjpeg(-turbo)
// does: triangle-filtered ("fancy") for 4:2:0, 4:2:2 and 4:4:0, repeated for the rarer ratios. dst, with
// W*SX values, is used if they are not there as they are.
func (s *subsampled) row(y int, dst []uint8) []uint8 {
	cy := y / s.SY
	if s.SX == 1 && s.SY == 1 {
		return s.line(cy)
	}
	other, bias := cy+1, 2
	if y%2 == 0 {
		other, bias = cy-1, 1
	}
	dst = dst[:s.W*s.SX]
	switch {
	// libjpeg does not interpolate horizontally when there are fewer than three columns.
	case s.SX == 2 && s.SY == 2 && s.W > 2:
		kernel.Upsample2x2(dst, s.line(cy), s.line(other))
	case s.SX == 2 && s.SY == 1 && s.W > 2:
		upsample2x1(dst, s.line(cy))
	case s.SX == 1 && s.SY == 2:
		upsample1x2(dst, s.line(cy), s.line(other), bias)
	case s.SX == 1:
		return s.line(cy)
	default:
		repeat(dst, s.line(cy), s.SX)
	}
	return dst
}

// line is a row of the plane; above and below the picture the outermost row goes on.
func (s *subsampled) line(cy int) []uint8 {
	cy = min(max(cy, 0), s.H-1)
	return s.Pix[cy*s.Stride:][:s.W]
}

// fromYCbCr converts planar YCbCr with the arithmetic of libjpeg(-turbo): interpolated chroma and the
// 16-bit fixed-point colour matrix of JFIF. The standard library repeats chroma instead, which differs
// from what Pillow-trained models saw by up to 30 levels at coloured edges.
func (m *Image) fromYCbCr(src *image.YCbCr) {
	sx, sy := chromaStep(src.SubsampleRatio)
	c0 := src.COffset(src.Rect.Min.X, src.Rect.Min.Y)
	chroma := func(pix []uint8) subsampled {
		return subsampled{pix[c0:], (m.W + sx - 1) / sx, (m.H + sy - 1) / sy, src.CStride, sx, sy}
	}
	y0 := src.YOffset(src.Rect.Min.X, src.Rect.Min.Y)
	m.fromYCC(subsampled{src.Y[y0:], m.W, m.H, src.YStride, 1, 1}, chroma(src.Cb), chroma(src.Cr), new([]uint8))
}

// fromYCC converts three planes, with memory for rows in between.
func (m *Image) fromYCC(luma, cb, cr subsampled, memory *[]uint8) {
	rows := rowMemory(memory, luma, cb, cr)
	for y := range m.H {
		kernel.YCCToRGB(m.Pix[y*m.W*3:(y+1)*m.W*3], luma.row(y, rows[0]), cb.row(y, rows[1]), cr.row(y, rows[2]))
	}
}

// rowMemory cuts memory into a row for each plane.
func rowMemory(memory *[]uint8, planes ...subsampled) (rows [4][]uint8) {
	total := 0
	for _, p := range planes {
		total += p.W * p.SX
	}
	*memory = grow(*memory, total)
	rest := *memory
	for i, p := range planes {
		rows[i], rest = rest[:p.W*p.SX], rest[p.W*p.SX:]
	}
	return rows
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

// upsample2x1 fills dst (twice as long) from the nearest sample and the next nearest, weighted 3:1. The
// alternating rounding (1, 2) is libjpeg's.
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

func clip8(v int) uint8 {
	if uint(v) <= 255 {
		return uint8(v)
	}
	if v < 0 {
		return 0
	}
	return 255
}
