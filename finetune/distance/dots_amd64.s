#include "textflag.h"

// The sum of the 8 values of y, whose lower half is x, into out[at].
#define SUM(y, x, at) \
	VEXTRACTF128 $1, y, X15  \
	VADDPS       X15, x, x   \
	VHADDPS      x, x, x     \
	VHADDPS      x, x, x     \
	VMOVSS       x, (at*4)(DI)

// One row of a, in Y15, times the three rows of b in Y12 to Y14.
#define ROW(row, y0, y1, y2) \
	VMOVUPS     (row)(CX*4), Y15 \
	VFMADD231PS Y12, Y15, y0     \
	VFMADD231PS Y13, Y15, y1     \
	VFMADD231PS Y14, Y15, y2

// func dotsFMA(rows *[7]*float32, n int, out *[12]float32)
TEXT ·dotsFMA(SB), NOSPLIT, $0-24
	MOVQ rows+0(FP), SI
	MOVQ n+8(FP), DX
	MOVQ out+16(FP), DI
	MOVQ 0(SI), R8
	MOVQ 8(SI), R9
	MOVQ 16(SI), R10
	MOVQ 24(SI), R11
	MOVQ 32(SI), R12
	MOVQ 40(SI), R13
	MOVQ 48(SI), AX
	XORQ CX, CX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	VXORPS Y8, Y8, Y8
	VXORPS Y9, Y9, Y9
	VXORPS Y10, Y10, Y10
	VXORPS Y11, Y11, Y11
	JMP  check

loop:
	VMOVUPS (R12)(CX*4), Y12
	VMOVUPS (R13)(CX*4), Y13
	VMOVUPS (AX)(CX*4), Y14
	ROW(R8, Y0, Y1, Y2)
	ROW(R9, Y3, Y4, Y5)
	ROW(R10, Y6, Y7, Y8)
	ROW(R11, Y9, Y10, Y11)
	ADDQ    $8, CX

check:
	CMPQ CX, DX
	JLT  loop
	SUM(Y0, X0, 0)
	SUM(Y1, X1, 1)
	SUM(Y2, X2, 2)
	SUM(Y3, X3, 3)
	SUM(Y4, X4, 4)
	SUM(Y5, X5, 5)
	SUM(Y6, X6, 6)
	SUM(Y7, X7, 7)
	SUM(Y8, X8, 8)
	SUM(Y9, X9, 9)
	SUM(Y10, X10, 10)
	SUM(Y11, X11, 11)
	VZEROUPPER
	RET
