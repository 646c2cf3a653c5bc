package augment

import "math"

// The inner loops of blur and resize. Where the processor has AVX2 they run on 8 values at a time and
// give the same bits; the loops in Go are the reference, and do the rest of each row.

// addScaled adds w*src to dst.
func addScaled(dst, src []float32, w float32) {
	src = src[:len(dst)]
	n := 0
	if haveAVX2 && len(dst) >= 8 {
		n = len(dst) &^ 7
		addScaledAVX2(&dst[0], &src[0], n, w)
	}
	for i := n; i < len(dst); i++ {
		dst[i] += float32(w * src[i])
	}
}

// widen turns bytes into floats.
func widen(dst []float32, src []uint8) {
	src = src[:len(dst)]
	n := 0
	if haveAVX2 && len(dst) >= 8 {
		n = len(dst) &^ 7
		widenAVX2(&dst[0], &src[0], n)
	}
	for i := n; i < len(dst); i++ {
		dst[i] = float32(src[i])
	}
}

// round turns floats into bytes, half to even.
func round(dst []uint8, src []float32) {
	src = src[:len(dst)]
	n := 0
	if haveAVX2 && len(dst) >= 8 {
		n = len(dst) &^ 7
		roundAVX2(&dst[0], &src[0], n)
	}
	for i := n; i < len(dst); i++ {
		dst[i] = clip8(int(math.RoundToEven(float64(src[i]))))
	}
}

// weighRows sets each byte of dst to the sum of bytes of src, stride apart, times taps, rounded from a
// fraction of weightBits and clipped.
func weighRows(dst, src []uint8, stride int, taps []int32) {
	n := 0
	_ = src[(len(taps)-1)*stride+len(dst)-1]
	if haveAVX2 && len(dst) >= 8 {
		n = len(dst) &^ 7
		verticalAVX2(&dst[0], &src[0], stride, &taps[0], len(taps), n)
	}
	for i := n; i < len(dst); i++ {
		sum := int32(1 << (weightBits - 1))
		for j, k := range taps {
			sum += int32(src[j*stride+i]) * k
		}
		dst[i] = clip8(int(sum >> weightBits))
	}
}

// boxRow moves the sums of columns on by a row and sets dst to the blurred pixels, see boxColumns.
func boxRow(dst []uint8, acc []uint32, out, in, next []uint8, whole, part uint32) {
	acc, out, in, next = acc[:len(dst)], out[:len(dst)], in[:len(dst)], next[:len(dst)]
	n := 0
	if haveAVX2 && len(dst) >= 8 {
		n = len(dst) &^ 7
		boxRowAVX2(&dst[0], &acc[0], &out[0], &in[0], &next[0], whole, part, n)
	}
	for i := n; i < len(dst); i++ {
		acc[i] += uint32(in[i]) - uint32(out[i])
		dst[i] = uint8((acc[i]*whole + (uint32(out[i])+uint32(next[i]))*part + 1<<23) >> 24)
	}
}

// weighPixels does the same along a row of RGB pixels: t says which of them make each pixel of dst.
// more says that a byte lies behind the row in src, and one that may be overwritten behind dst.
func (t *weights) weighPixels(dst, src []uint8, w int, more bool) {
	if haveAVX2 && more {
		_ = src[(int(t.first[w-1])+int(t.count[w-1]))*3]
		_ = dst[w*3]
		horizontalAVX2(&dst[0], &src[0], &t.first[0], &t.count[0], &t.taps[0], t.width, w)
		return
	}
	for x := range w {
		first, count := int(t.first[x]), int(t.count[x])
		taps := t.taps[x*t.width : x*t.width+count]
		p := src[first*3 : (first+count)*3]
		const half = 1 << (weightBits - 1)
		r, g, b := int32(half), int32(half), int32(half)
		for _, k := range taps {
			if len(p) < 3 { // never; it lets the compiler drop the bounds checks
				break
			}
			r += int32(p[0]) * k
			g += int32(p[1]) * k
			b += int32(p[2]) * k
			p = p[3:]
		}
		o := dst[x*3 : x*3+3 : x*3+3]
		o[0] = clip8(int(r >> weightBits))
		o[1] = clip8(int(g >> weightBits))
		o[2] = clip8(int(b >> weightBits))
	}
}
