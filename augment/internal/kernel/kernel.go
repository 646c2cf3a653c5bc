// Package kernel holds the inner loops of augment's blurs, resizing and JPEG decoding. Where the processor has
// AVX2 they run on 8 values or more at a time and give the same bits; the loops in Go are the reference, and do
// the rest of each row.
package kernel

import "math"

// WeightBits are the bits behind the point of a weight in [WeighRows] and [WeighPixels]: 32 less 8 of the
// sample and 2 against overflow, as in Pillow.
const WeightBits = 22

// AddScaled adds w*src to dst.
func AddScaled(dst, src []float32, w float32) {
	src = src[:len(dst)]
	n := 0
	if HaveAVX2 && len(dst) >= 8 {
		n = len(dst) &^ 7
		addScaledAVX2(&dst[0], &src[0], n, w)
	}
	for i := n; i < len(dst); i++ {
		dst[i] += float32(w * src[i])
	}
}

// Widen turns bytes into floats.
func Widen(dst []float32, src []uint8) {
	src = src[:len(dst)]
	n := 0
	if HaveAVX2 && len(dst) >= 8 {
		n = len(dst) &^ 7
		widenAVX2(&dst[0], &src[0], n)
	}
	for i := n; i < len(dst); i++ {
		dst[i] = float32(src[i])
	}
}

// Round turns floats into bytes, half to even.
func Round(dst []uint8, src []float32) {
	src = src[:len(dst)]
	n := 0
	if HaveAVX2 && len(dst) >= 8 {
		n = len(dst) &^ 7
		roundAVX2(&dst[0], &src[0], n)
	}
	for i := n; i < len(dst); i++ {
		dst[i] = clip8(int(math.RoundToEven(float64(src[i]))))
	}
}

// WeighRows sets each byte of dst to the sum of bytes of src, stride apart, times taps, rounded from a
// fraction of WeightBits and clipped.
func WeighRows(dst, src []uint8, stride int, taps []int32) {
	n := 0
	_ = src[(len(taps)-1)*stride+len(dst)-1]
	if HaveAVX2 && len(dst) >= 8 {
		n = len(dst) &^ 7
		verticalAVX2(&dst[0], &src[0], stride, &taps[0], len(taps), n)
	}
	for i := n; i < len(dst); i++ {
		sum := int32(1 << (WeightBits - 1))
		for j, k := range taps {
			sum += int32(src[j*stride+i]) * k
		}
		dst[i] = clip8(int(sum >> WeightBits))
	}
}

// BoxRow moves the sums of columns on by a row and sets dst to the blurred pixels, with running sums acc: in enters the box, out leaves it, and
// out and next have the weight part beside whole, in 8.24 fixed point.
func BoxRow(dst []uint8, acc []uint32, out, in, next []uint8, whole, part uint32) {
	acc, out, in, next = acc[:len(dst)], out[:len(dst)], in[:len(dst)], next[:len(dst)]
	n := 0
	if HaveAVX2 && len(dst) >= 8 {
		n = len(dst) &^ 7
		boxRowAVX2(&dst[0], &acc[0], &out[0], &in[0], &next[0], whole, part, n)
	}
	for i := n; i < len(dst); i++ {
		acc[i] += uint32(in[i]) - uint32(out[i])
		dst[i] = uint8((acc[i]*whole + (uint32(out[i])+uint32(next[i]))*part + 1<<23) >> 24)
	}
}

// WeighPixels sets w pixels of dst to sums along a row of RGB pixels: for pixel x those of count[x] pixels of
// src from first[x] on, times taps[x*width:]. more says that a byte lies behind the row in src, and one that
// may be overwritten behind dst.
func WeighPixels(dst, src []uint8, first, count, taps []int32, width, w int, more bool) {
	if HaveAVX2 && more {
		_ = src[(int(first[w-1])+int(count[w-1]))*3]
		_ = dst[w*3]
		_ = taps[w*width-1]
		horizontalAVX2(&dst[0], &src[0], &first[0], &count[0], &taps[0], width, w)
		return
	}
	for x := range w {
		from, n := int(first[x]), int(count[x])
		p := src[from*3 : (from+n)*3]
		const half = 1 << (WeightBits - 1)
		r, g, b := int32(half), int32(half), int32(half)
		for _, k := range taps[x*width : x*width+n] {
			if len(p) < 3 { // never; it lets the compiler drop the bounds checks
				break
			}
			r += int32(p[0]) * k
			g += int32(p[1]) * k
			b += int32(p[2]) * k
			p = p[3:]
		}
		o := dst[x*3 : x*3+3 : x*3+3]
		o[0] = clip8(int(r >> WeightBits))
		o[1] = clip8(int(g >> WeightBits))
		o[2] = clip8(int(b >> WeightBits))
	}
}

func clip8(v int) uint8 { return uint8(min(max(v, 0), 255)) }
