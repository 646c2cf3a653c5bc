package kernel

import "golang.org/x/sys/cpu"

// HaveAVX2 says that the fast loops are used; tests turn it off.
var HaveAVX2 = cpu.X86.HasAVX2

//go:noescape
func addScaledAVX2(dst, src *float32, n int, w float32)

//go:noescape
func widenAVX2(dst *float32, src *uint8, n int)

//go:noescape
func roundAVX2(dst *uint8, src *float32, n int)

//go:noescape
func boxRowAVX2(dst *uint8, acc *uint32, out, in, next *uint8, whole, part uint32, n int)

//go:noescape
func verticalAVX2(dst, src *uint8, stride int, taps *int32, count, n int)

//go:noescape
func horizontalAVX2(dst, src *uint8, first, count, taps *int32, width, n int)

//go:noescape
func inverseDCTAVX2(dst *uint8, stride int, block *int16)

//go:noescape
func upsample2x2AVX2(dst, near, far *uint8, blocks int)

//go:noescape
func yccToRGBAVX2(dst, luma, cb, cr *uint8, blocks int)
