package distance

import "golang.org/x/sys/cpu"

// haveFMA says that dotsFMA can run; tests turn it off.
var haveFMA = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// dotsFMA sets out: [tileA, tileB] to the dot products of the first n elements, a
// multiple of 8, of the rows of a, which stand first, and of b.
//
//go:noescape
func dotsFMA(rows *[tileA + tileB]*float32, n int, out *[tileA * tileB]float32)
