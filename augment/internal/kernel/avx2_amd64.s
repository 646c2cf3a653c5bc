#include "textflag.h"

// Loops over 8 values at a time; n is a multiple of 8 unless said otherwise. Multiplication and addition
// are separate instructions, so that the results are those of the loops in Go, bit for bit.

// func addScaledAVX2(dst, src *float32, n int, w float32)
TEXT ·addScaledAVX2(SB), NOSPLIT, $0-28
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	MOVQ         n+16(FP), CX
	VBROADCASTSS w+24(FP), Y0
	SHRQ         $3, CX
	JZ           done

loop:
	VMULPS  (SI), Y0, Y1
	VADDPS  (DI), Y1, Y1
	VMOVUPS Y1, (DI)
	ADDQ    $32, SI
	ADDQ    $32, DI
	DECQ    CX
	JNZ     loop

done:
	VZEROUPPER
	RET

// func widenAVX2(dst *float32, src *uint8, n int)
TEXT ·widenAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	SHRQ $3, CX
	JZ   done

loop:
	VPMOVZXBD (SI), Y1
	VCVTDQ2PS Y1, Y1
	VMOVUPS   Y1, (DI)
	ADDQ      $8, SI
	ADDQ      $32, DI
	DECQ      CX
	JNZ       loop

done:
	VZEROUPPER
	RET

// func roundAVX2(dst *uint8, src *float32, n int)
TEXT ·roundAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	SHRQ $3, CX
	JZ   done

loop:
	VCVTPS2DQ    (SI), Y1 // half to even
	VEXTRACTI128 $1, Y1, X2
	VPACKSSDW    X2, X1, X1
	VPACKUSWB    X1, X1, X1
	VMOVQ        X1, (DI)
	ADDQ         $32, SI
	ADDQ         $8, DI
	DECQ         CX
	JNZ          loop

done:
	VZEROUPPER
	RET

// func verticalAVX2(dst, src *uint8, stride int, taps *int32, count, n int)
// Each byte of dst is the sum of count bytes of src, stride apart, times taps, as a 22-bit fraction.
TEXT ·verticalAVX2(SB), NOSPLIT, $0-48
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	MOVQ         stride+16(FP), DX
	MOVQ         taps+24(FP), R8
	MOVQ         count+32(FP), R9
	MOVQ         n+40(FP), CX
	SHRQ         $3, CX
	JZ           done
	MOVL         $(1<<21), AX
	VMOVD        AX, X0
	VPBROADCASTD X0, Y0

block:
	VMOVDQA Y0, Y1
	MOVQ    SI, R10
	MOVQ    R8, R11
	MOVQ    R9, R12

tap:
	VPMOVZXBD    (R10), Y2
	VPBROADCASTD (R11), Y3
	VPMULLD      Y3, Y2, Y2
	VPADDD       Y2, Y1, Y1
	ADDQ         DX, R10
	ADDQ         $4, R11
	DECQ         R12
	JNZ          tap

	VPSRAD       $22, Y1, Y1
	VEXTRACTI128 $1, Y1, X2
	VPACKSSDW    X2, X1, X1
	VPACKUSWB    X1, X1, X1
	VMOVQ        X1, (DI)
	ADDQ         $8, SI
	ADDQ         $8, DI
	DECQ         CX
	JNZ          block

done:
	VZEROUPPER
	RET

// func horizontalAVX2(dst, src *uint8, first, count, taps *int32, width, n int)
// n pixels of a row. It reads one byte behind the last pixel of src and writes one behind that of dst.
TEXT ·horizontalAVX2(SB), NOSPLIT, $0-56
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	MOVQ         first+16(FP), R8
	MOVQ         count+24(FP), R9
	MOVQ         taps+32(FP), R10
	MOVQ         width+40(FP), R11
	MOVQ         n+48(FP), CX
	MOVL         $(1<<21), AX
	VMOVD        AX, X0
	VPBROADCASTD X0, X0

pixel:
	MOVLQSX (R8), AX
	LEAQ    (AX)(AX*2), AX
	ADDQ    SI, AX
	MOVLQSX (R9), BX
	MOVQ    R10, DX
	VMOVDQA X0, X1

tap:
	VPMOVZXBD    (AX), X2
	VPBROADCASTD (DX), X3
	VPMULLD      X3, X2, X2
	VPADDD       X2, X1, X1
	ADDQ         $3, AX
	ADDQ         $4, DX
	DECQ         BX
	JNZ          tap

	VPSRAD    $22, X1, X1
	VPACKSSDW X1, X1, X1
	VPACKUSWB X1, X1, X1
	VMOVD     X1, (DI)
	ADDQ      $3, DI
	ADDQ      $4, R8
	ADDQ      $4, R9
	LEAQ      (R10)(R11*4), R10
	DECQ      CX
	JNZ       pixel

	VZEROUPPER
	RET

// func boxRowAVX2(dst *uint8, acc *uint32, out, in, next *uint8, whole, part uint32, n int)
TEXT ·boxRowAVX2(SB), NOSPLIT, $0-56
	MOVQ         dst+0(FP), DI
	MOVQ         acc+8(FP), R8
	MOVQ         out+16(FP), R9
	MOVQ         in+24(FP), R10
	MOVQ         next+32(FP), R11
	MOVL         whole+40(FP), AX
	VMOVD        AX, X0
	VPBROADCASTD X0, Y0
	MOVL         part+44(FP), AX
	VMOVD        AX, X1
	VPBROADCASTD X1, Y1
	MOVQ         n+48(FP), CX
	SHRQ         $3, CX
	JZ           done
	MOVL         $(1<<23), AX
	VMOVD        AX, X2
	VPBROADCASTD X2, Y2

loop:
	VPMOVZXBD    (R9), Y3
	VPMOVZXBD    (R10), Y4
	VPMOVZXBD    (R11), Y5
	VPADDD       (R8), Y4, Y4
	VPSUBD       Y3, Y4, Y4
	VMOVDQU      Y4, (R8)
	VPMULLD      Y0, Y4, Y4
	VPADDD       Y3, Y5, Y5
	VPMULLD      Y1, Y5, Y5
	VPADDD       Y5, Y4, Y4
	VPADDD       Y2, Y4, Y4
	VPSRLD       $24, Y4, Y4
	VEXTRACTI128 $1, Y4, X5
	VPACKUSDW    X5, X4, X4
	VPACKUSWB    X4, X4, X4
	VMOVQ        X4, (DI)
	ADDQ         $8, DI
	ADDQ         $32, R8
	ADDQ         $8, R9
	ADDQ         $8, R10
	ADDQ         $8, R11
	DECQ         CX
	JNZ          loop

done:
	VZEROUPPER
	RET
