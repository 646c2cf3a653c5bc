package kernel

// The constants of the accurate integer transform of libjpeg: 13 bits behind the point.
const (
	f0298 = 2446
	f0390 = 3196
	f0541 = 4433
	f0765 = 6270
	f0899 = 7373
	f1175 = 9633
	f1501 = 12299
	f1847 = 15137
	f1961 = 16069
	f2053 = 16819
	f2562 = 20995
	f3072 = 25172
)

// InverseDCT writes the 8 x 8 samples of a block of dequantised coefficients to dst, whose rows are stride
// apart: the inverse transform of Loeffler, Ligtenberg and Moschytz (1989) in integers, as libjpeg's "islow".
func InverseDCT(dst []uint8, stride int, block *[64]int16) {
	_ = dst[7*stride+7]
	if HaveAVX2 {
		inverseDCTAVX2(&dst[0], stride, &block[0])
		return
	}
	var mid [64]int32
	for x := range 8 {
		var in [8]int32
		for k := range in {
			in[k] = int32(block[8*k+x])
		}
		out := inverse8(&in, 11)
		for k, v := range out {
			mid[8*k+x] = v
		}
	}
	for y := range 8 {
		out := inverse8((*[8]int32)(mid[8*y:8*y+8]), 18)
		row := dst[y*stride : y*stride+8]
		for x, v := range out {
			row[x] = clip8(int(v) + 128)
		}
	}
}

// inverse8 transforms 8 values and drops bits behind the point, rounded.
func inverse8(in *[8]int32, drop int) (out [8]int32) {
	z1 := (in[2] + in[6]) * f0541
	even2, even3 := z1-in[6]*f1847, z1+in[2]*f0765
	half := int32(1) << (drop - 1)
	even0, even1 := (in[0]+in[4])<<13+half, (in[0]-in[4])<<13+half
	t0, t3, t1, t2 := even0+even3, even0-even3, even1+even2, even1-even2

	o0, o1, o2, o3 := in[7], in[5], in[3], in[1]
	z1, z2, z3, z4 := o0+o3, o1+o2, o0+o2, o1+o3
	z5 := (z3 + z4) * f1175
	z1, z2, z3, z4 = z1*-f0899, z2*-f2562, z3*-f1961+z5, z4*-f0390+z5
	o0 = o0*f0298 + z1 + z3
	o1 = o1*f2053 + z2 + z4
	o2 = o2*f3072 + z2 + z3
	o3 = o3*f1501 + z1 + z4
	return [8]int32{(t0 + o3) >> drop, (t1 + o2) >> drop, (t2 + o1) >> drop, (t3 + o0) >> drop,
		(t3 - o0) >> drop, (t2 - o1) >> drop, (t1 - o2) >> drop, (t0 - o3) >> drop}
}

// FillBlock is InverseDCT of a block of which only the first coefficient is not zero.
func FillBlock(dst []uint8, stride int, dc int16) {
	v := uint64(clip8((int(dc)+4)>>3+128)) * 0x0101010101010101
	for y := range 8 {
		row := dst[y*stride : y*stride+8 : y*stride+8]
		row[0], row[1], row[2], row[3] = uint8(v), uint8(v), uint8(v), uint8(v)
		row[4], row[5], row[6], row[7] = uint8(v), uint8(v), uint8(v), uint8(v)
	}
}

// Upsample2x2 doubles a row of chroma: dst has twice the samples of near and far, the nearest row and the
// next nearest, weighted 3:1 in both directions. The alternating rounding (8, 7) is libjpeg's.
func Upsample2x2(dst, near, far []uint8) {
	n := len(near)
	far, dst = far[:n], dst[:2*n]
	at := func(i int) int { return 3*int(near[i]) + int(far[i]) }
	pair := func(i int) {
		this := at(i)
		dst[2*i] = uint8((3*this + at(max(i-1, 0)) + 8) >> 4)
		dst[2*i+1] = uint8((3*this + at(min(i+1, n-1)) + 7) >> 4)
	}
	pair(0)
	i := 1
	if HaveAVX2 && n >= 18 {
		blocks := (n - 2) / 16
		upsample2x2AVX2(&dst[2], &near[1], &far[1], blocks)
		i += 16 * blocks
	}
	for ; i < n; i++ {
		pair(i)
	}
}

// YCCToRGB converts a row of samples to RGB pixels by the 16-bit fixed-point matrix of JFIF, with
// libjpeg's rounding.
func YCCToRGB(dst, luma, cb, cr []uint8) {
	n := len(dst) / 3
	luma, cb, cr = luma[:n], cb[:n], cr[:n]
	i := 0
	if HaveAVX2 && n >= 16 {
		yccToRGBAVX2(&dst[0], &luma[0], &cb[0], &cr[0], n/16)
		i = n &^ 15
	}
	const half = 1 << 15
	for ; i < n; i++ {
		y, u, v := int(luma[i]), int(cb[i])-128, int(cr[i])-128
		p := dst[3*i : 3*i+3 : 3*i+3]
		p[0] = clip8(y + (91881*v+half)>>16)
		p[1] = clip8(y + (-22554*u-46802*v+half)>>16)
		p[2] = clip8(y + (116130*u+half)>>16)
	}
}
