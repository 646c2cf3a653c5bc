//go:build !amd64

package kernel

// HaveAVX2 says that the fast loops are used.
var HaveAVX2 = false

func addScaledAVX2(dst, src *float32, n int, w float32)                       { panic("no AVX2") }
func widenAVX2(dst *float32, src *uint8, n int)                               { panic("no AVX2") }
func roundAVX2(dst *uint8, src *float32, n int)                               { panic("no AVX2") }
func verticalAVX2(dst, src *uint8, stride int, taps *int32, count, n int)     { panic("no AVX2") }
func horizontalAVX2(dst, src *uint8, first, count, taps *int32, width, n int) { panic("no AVX2") }

func boxRowAVX2(dst *uint8, acc *uint32, out, in, next *uint8, whole, part uint32, n int) {
	panic("no AVX2")
}

func inverseDCTAVX2(dst *uint8, stride int, block *int16) { panic("no AVX2") }
func upsample2x2AVX2(dst, near, far *uint8, blocks int)   { panic("no AVX2") }
func yccToRGBAVX2(dst, luma, cb, cr *uint8, blocks int)   { panic("no AVX2") }
