//go:build !amd64

package distance

var haveFMA = false

func dotsFMA(*[tileA + tileB]*float32, int, *[tileA * tileB]float32) { panic("no FMA") }
