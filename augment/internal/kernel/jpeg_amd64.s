#include "textflag.h"

// The inner loops of JPEG decoding. All give the bits of the loops in Go.

// A constant of 32 bytes: eight bytes four times.
#define FOURFOLD(name, value) \
	DATA  name<>+0(SB)/8, value;        \
	DATA  name<>+8(SB)/8, value;        \
	DATA  name<>+16(SB)/8, value;       \
	DATA  name<>+24(SB)/8, value;       \
	GLOBL name<>(SB), RODATA|NOPTR, $32

// The constants of the inverse transform, eight times each.
FOURFOLD(f0298, $0x0000098e0000098e)
FOURFOLD(n0390, $0xfffff384fffff384)
FOURFOLD(f0541, $0x0000115100001151)
FOURFOLD(f0765, $0x0000187e0000187e)
FOURFOLD(n0899, $0xffffe333ffffe333)
FOURFOLD(f1175, $0x000025a1000025a1)
FOURFOLD(f1501, $0x0000300b0000300b)
FOURFOLD(n1847, $0xffffc4dfffffc4df)
FOURFOLD(n1961, $0xffffc13bffffc13b)
FOURFOLD(f2053, $0x000041b3000041b3)
FOURFOLD(n2562, $0xffffadfdffffadfd)
FOURFOLD(f3072, $0x0000625400006254)
FOURFOLD(half11, $0x0000040000000400)
FOURFOLD(half18, $0x0002000000020000)

// Of four runs of four bytes the first bytes, the second, ...
DATA turn4<>+0(SB)/8, $0x0d0905010c080400
DATA turn4<>+8(SB)/8, $0x0f0b07030e0a0602
DATA turn4<>+16(SB)/8, $0x0d0905010c080400
DATA turn4<>+24(SB)/8, $0x0f0b07030e0a0602
GLOBL turn4<>(SB), RODATA|NOPTR, $32

// inverse8, of eight columns: the rows in Y0 to Y7 become those in Y10, Y12, Y14, Y6, Y2, Y15, Y13, Y11. half is
// half of what the drop bits behind the point count.
#define TRANSFORM(half, drop) \
	/* The even part: Y0, Y4, Y9, Y8 become t0, t1, t2, t3 */ \
	VPADDD  Y2, Y6, Y8                                        \
	VPMULLD f0541<>(SB), Y8, Y8                               \
	VPMULLD n1847<>(SB), Y6, Y6                               \
	VPADDD  Y8, Y6, Y6                                        \
	VPMULLD f0765<>(SB), Y2, Y2                               \
	VPADDD  Y8, Y2, Y2                                        \
	VPADDD  Y0, Y4, Y8                                        \
	VPSUBD  Y4, Y0, Y9                                        \
	VPSLLD  $13, Y8, Y8                                       \
	VPSLLD  $13, Y9, Y9                                       \
	VPADDD  half(SB), Y8, Y8                                  \
	VPADDD  half(SB), Y9, Y9                                  \
	VPADDD  Y2, Y8, Y0                                        \
	VPSUBD  Y2, Y8, Y8                                        \
	VPADDD  Y6, Y9, Y4                                        \
	VPSUBD  Y6, Y9, Y9                                        \
	/* The odd part: Y7, Y5, Y3, Y1 become o0, o1, o2, o3 */  \
	VPADDD  Y7, Y1, Y10                                       \
	VPADDD  Y5, Y3, Y11                                       \
	VPADDD  Y7, Y3, Y12                                       \
	VPADDD  Y5, Y1, Y13                                       \
	VPADDD  Y12, Y13, Y14                                     \
	VPMULLD f1175<>(SB), Y14, Y14                             \
	VPMULLD f0298<>(SB), Y7, Y7                               \
	VPMULLD f2053<>(SB), Y5, Y5                               \
	VPMULLD f3072<>(SB), Y3, Y3                               \
	VPMULLD f1501<>(SB), Y1, Y1                               \
	VPMULLD n0899<>(SB), Y10, Y10                             \
	VPMULLD n2562<>(SB), Y11, Y11                             \
	VPMULLD n1961<>(SB), Y12, Y12                             \
	VPMULLD n0390<>(SB), Y13, Y13                             \
	VPADDD  Y14, Y12, Y12                                     \
	VPADDD  Y14, Y13, Y13                                     \
	VPADDD  Y10, Y7, Y7                                       \
	VPADDD  Y12, Y7, Y7                                       \
	VPADDD  Y11, Y5, Y5                                       \
	VPADDD  Y13, Y5, Y5                                       \
	VPADDD  Y11, Y3, Y3                                       \
	VPADDD  Y12, Y3, Y3                                       \
	VPADDD  Y10, Y1, Y1                                       \
	VPADDD  Y13, Y1, Y1                                       \
	/* The results: Y10, Y12, Y14, Y6, Y2, Y15, Y13, Y11 */   \
	VPADDD  Y1, Y0, Y10                                       \
	VPSUBD  Y1, Y0, Y11                                       \
	VPADDD  Y3, Y4, Y12                                       \
	VPSUBD  Y3, Y4, Y13                                       \
	VPADDD  Y5, Y9, Y14                                       \
	VPSUBD  Y5, Y9, Y15                                       \
	VPADDD  Y7, Y8, Y6                                        \
	VPSUBD  Y7, Y8, Y2                                        \
	VPSRAD  drop, Y10, Y10                                    \
	VPSRAD  drop, Y12, Y12                                    \
	VPSRAD  drop, Y14, Y14                                    \
	VPSRAD  drop, Y6, Y6                                      \
	VPSRAD  drop, Y2, Y2                                      \
	VPSRAD  drop, Y15, Y15                                    \
	VPSRAD  drop, Y13, Y13                                    \
	VPSRAD  drop, Y11, Y11

// func inverseDCTAVX2(dst *uint8, stride int, block *int16)
// A register holds a row of eight values of 32 bits.
TEXT ·inverseDCTAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ stride+8(FP), DX
	MOVQ block+16(FP), SI
	VPMOVSXWD 0(SI), Y0
	VPMOVSXWD 16(SI), Y1
	VPMOVSXWD 32(SI), Y2
	VPMOVSXWD 48(SI), Y3
	VPMOVSXWD 64(SI), Y4
	VPMOVSXWD 80(SI), Y5
	VPMOVSXWD 96(SI), Y6
	VPMOVSXWD 112(SI), Y7

	TRANSFORM(half11<>, $11)

	// Rows become columns.
	VPUNPCKLDQ  Y12, Y10, Y0
	VPUNPCKHDQ  Y12, Y10, Y1
	VPUNPCKLDQ  Y6, Y14, Y3
	VPUNPCKHDQ  Y6, Y14, Y4
	VPUNPCKLDQ  Y15, Y2, Y5
	VPUNPCKHDQ  Y15, Y2, Y7
	VPUNPCKLDQ  Y11, Y13, Y8
	VPUNPCKHDQ  Y11, Y13, Y9
	VPUNPCKLQDQ Y3, Y0, Y10
	VPUNPCKHQDQ Y3, Y0, Y11
	VPUNPCKLQDQ Y4, Y1, Y12
	VPUNPCKHQDQ Y4, Y1, Y13
	VPUNPCKLQDQ Y8, Y5, Y14
	VPUNPCKHQDQ Y8, Y5, Y15
	VPUNPCKLQDQ Y9, Y7, Y6
	VPUNPCKHQDQ Y9, Y7, Y2
	VPERM2I128  $0x20, Y14, Y10, Y0
	VPERM2I128  $0x20, Y15, Y11, Y1
	VPERM2I128  $0x31, Y14, Y10, Y4
	VPERM2I128  $0x31, Y15, Y11, Y5
	VPERM2I128  $0x31, Y6, Y12, Y8
	VPERM2I128  $0x31, Y2, Y13, Y7
	VPERM2I128  $0x20, Y2, Y13, Y3
	VPERM2I128  $0x20, Y6, Y12, Y2
	VMOVDQA     Y8, Y6

	TRANSFORM(half18<>, $18)

	// To bytes around 0; four columns of four rows each in half a register.
	VPACKSSDW Y12, Y10, Y0
	VPACKSSDW Y6, Y14, Y1
	VPACKSSDW Y15, Y2, Y3
	VPACKSSDW Y11, Y13, Y4
	VPACKSSWB Y1, Y0, Y0
	VPACKSSWB Y4, Y3, Y3

	// Columns become rows of 0 to 255.
	VPSHUFB      turn4<>(SB), Y0, Y0
	VPSHUFB      turn4<>(SB), Y3, Y3
	VPUNPCKLDQ   Y3, Y0, Y1
	VPUNPCKHDQ   Y3, Y0, Y2
	VPCMPEQB     Y4, Y4, Y4
	VPSLLW       $15, Y4, Y5
	VPSRLW       $8, Y5, Y4
	VPOR         Y4, Y5, Y5
	VPXOR        Y5, Y1, Y1
	VPXOR        Y5, Y2, Y2
	LEAQ         (DX)(DX*2), R8
	LEAQ         (DI)(DX*4), R9
	VMOVQ        X1, (DI)
	VPEXTRQ      $1, X1, (DI)(DX*1)
	VMOVQ        X2, (DI)(DX*2)
	VPEXTRQ      $1, X2, (DI)(R8*1)
	VEXTRACTI128 $1, Y1, X1
	VEXTRACTI128 $1, Y2, X2
	VMOVQ        X1, (R9)
	VPEXTRQ      $1, X1, (R9)(DX*1)
	VMOVQ        X2, (R9)(DX*2)
	VPEXTRQ      $1, X2, (R9)(R8*1)
	VZEROUPPER
	RET

// func upsample2x2AVX2(dst, near, far *uint8, blocks int)
// 16 samples a block; it reads one before and one behind them.
TEXT ·upsample2x2AVX2(SB), NOSPLIT, $0-32
	MOVQ     dst+0(FP), DI
	MOVQ     near+8(FP), SI
	MOVQ     far+16(FP), R8
	MOVQ     blocks+24(FP), CX
	VPCMPEQW Y15, Y15, Y15
	VPSRLW   $15, Y15, Y14
	VPSLLW   $3, Y14, Y14  // 8
	VPADDW   Y15, Y14, Y15 // 7

block:
	VPMOVZXBW (SI), Y0
	VPMOVZXBW (R8), Y1
	VPMOVZXBW -1(SI), Y2
	VPMOVZXBW -1(R8), Y3
	VPMOVZXBW 1(SI), Y4
	VPMOVZXBW 1(R8), Y5
	VPADDW    Y0, Y1, Y1
	VPADDW    Y0, Y0, Y0
	VPADDW    Y0, Y1, Y0 // 3*near + far
	VPADDW    Y2, Y3, Y3
	VPADDW    Y2, Y2, Y2
	VPADDW    Y2, Y3, Y2
	VPADDW    Y4, Y5, Y5
	VPADDW    Y4, Y4, Y4
	VPADDW    Y4, Y5, Y4
	VPADDW    Y0, Y0, Y1
	VPADDW    Y0, Y1, Y0 // three times that
	VPADDW    Y14, Y2, Y2
	VPADDW    Y0, Y2, Y2
	VPSRLW    $4, Y2, Y2
	VPADDW    Y15, Y4, Y4
	VPADDW    Y0, Y4, Y4
	VPSRLW    $4, Y4, Y4
	VPSLLW    $8, Y4, Y4
	VPOR      Y2, Y4, Y4
	VMOVDQU   Y4, (DI)
	ADDQ      $16, SI
	ADDQ      $16, R8
	ADDQ      $32, DI
	DECQ      CX
	JNZ       block

	VZEROUPPER
	RET

FOURFOLD(w128, $0x0080008000800080)
FOURFOLD(wRed, $0x66e966e966e966e9)
FOURFOLD(wBlue, $0xc5a2c5a2c5a2c5a2)
FOURFOLD(wGreen, $0x492ea7e6492ea7e6)
FOURFOLD(half16, $0x0000800000008000)

// Where the samples of 16 pixels go in their 48 bytes.
DATA red0<>+0(SB)/8, $0xff02ffff01ffff00
DATA red0<>+8(SB)/8, $0x05ffff04ffff03ff
GLOBL red0<>(SB), RODATA|NOPTR, $16
DATA red1<>+0(SB)/8, $0xffff07ffff06ffff
DATA red1<>+8(SB)/8, $0xff0affff09ffff08
GLOBL red1<>(SB), RODATA|NOPTR, $16
DATA red2<>+0(SB)/8, $0x0dffff0cffff0bff
DATA red2<>+8(SB)/8, $0xffff0fffff0effff
GLOBL red2<>(SB), RODATA|NOPTR, $16
DATA green0<>+0(SB)/8, $0x02ffff01ffff00ff
DATA green0<>+8(SB)/8, $0xffff04ffff03ffff
GLOBL green0<>(SB), RODATA|NOPTR, $16
DATA green1<>+0(SB)/8, $0xff07ffff06ffff05
DATA green1<>+8(SB)/8, $0x0affff09ffff08ff
GLOBL green1<>(SB), RODATA|NOPTR, $16
DATA green2<>+0(SB)/8, $0xffff0cffff0bffff
DATA green2<>+8(SB)/8, $0xff0fffff0effff0d
GLOBL green2<>(SB), RODATA|NOPTR, $16
DATA blue0<>+0(SB)/8, $0xffff01ffff00ffff
DATA blue0<>+8(SB)/8, $0xff04ffff03ffff02
GLOBL blue0<>(SB), RODATA|NOPTR, $16
DATA blue1<>+0(SB)/8, $0x07ffff06ffff05ff
DATA blue1<>+8(SB)/8, $0xffff09ffff08ffff
GLOBL blue1<>(SB), RODATA|NOPTR, $16
DATA blue2<>+0(SB)/8, $0xff0cffff0bffff0a
DATA blue2<>+8(SB)/8, $0x0fffff0effff0dff
GLOBL blue2<>(SB), RODATA|NOPTR, $16

// 16 values of 16 bits become bytes.
#define BYTES(y, x) \
	VEXTRACTI128 $1, y, X7 \
	VPACKUSWB    X7, x, x

// 16 bytes of pixels, of the red in X3, the green in X6 and the blue in X5.
#define PIXELS(red, green, blue, at) \
	VPSHUFB red(SB), X3, X8   \
	VPSHUFB green(SB), X6, X9 \
	VPSHUFB blue(SB), X5, X10 \
	VPOR    X8, X9, X9        \
	VPOR    X10, X9, X9       \
	VMOVDQU X9, at(DI)

// func yccToRGBAVX2(dst, luma, cb, cr *uint8, blocks int)
// 16 pixels a block, in values of 16 bits: 1.402 is 1 + 0.402, 1.772 is 2 - 0.228, and 0.71414 is 1 - 0.28586,
// so that the factors fit.
TEXT ·yccToRGBAVX2(SB), NOSPLIT, $0-40
	MOVQ     dst+0(FP), DI
	MOVQ     luma+8(FP), SI
	MOVQ     cb+16(FP), R8
	MOVQ     cr+24(FP), R9
	MOVQ     blocks+32(FP), CX
	VPCMPEQW Y15, Y15, Y15
	VPSRLW   $15, Y15, Y15 // 1

block:
	VPMOVZXBW (SI), Y0
	VPMOVZXBW (R8), Y1
	VPMOVZXBW (R9), Y2
	VPSUBW    w128<>(SB), Y1, Y1
	VPSUBW    w128<>(SB), Y2, Y2

	// Red: cr + (2*cr*0.402 + 1)/2.
	VPADDW  Y2, Y2, Y3
	VPMULHW wRed<>(SB), Y3, Y3
	VPADDW  Y15, Y3, Y3
	VPSRAW  $1, Y3, Y3
	VPADDW  Y2, Y3, Y3
	VPADDW  Y0, Y3, Y3

	// Blue: 2*cb + (2*cb*-0.228 + 1)/2.
	VPADDW  Y1, Y1, Y4
	VPMULHW wBlue<>(SB), Y4, Y5
	VPADDW  Y15, Y5, Y5
	VPSRAW  $1, Y5, Y5
	VPADDW  Y4, Y5, Y5
	VPADDW  Y0, Y5, Y5

	// Green: (cb*-0.34414 + cr*0.28586) - cr.
	VPUNPCKLWD Y2, Y1, Y6
	VPUNPCKHWD Y2, Y1, Y7
	VPMADDWD   wGreen<>(SB), Y6, Y6
	VPMADDWD   wGreen<>(SB), Y7, Y7
	VPADDD     half16<>(SB), Y6, Y6
	VPADDD     half16<>(SB), Y7, Y7
	VPSRAD     $16, Y6, Y6
	VPSRAD     $16, Y7, Y7
	VPACKSSDW  Y7, Y6, Y6
	VPSUBW     Y2, Y6, Y6
	VPADDW     Y0, Y6, Y6

	BYTES(Y3, X3)
	BYTES(Y6, X6)
	BYTES(Y5, X5)
	PIXELS(red0<>, green0<>, blue0<>, 0)
	PIXELS(red1<>, green1<>, blue1<>, 16)
	PIXELS(red2<>, green2<>, blue2<>, 32)

	ADDQ $16, SI
	ADDQ $16, R8
	ADDQ $16, R9
	ADDQ $48, DI
	DECQ CX
	JNZ  block

	VZEROUPPER
	RET
