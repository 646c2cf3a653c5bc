package runtime

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/sslrt/sslrt/augment/npy"
)

// npyType is how an element is stored.
type npyType struct {
	width int
	value func(b []byte) float64
}

// npyTypes are the element types that become float32.
var npyTypes = map[string]npyType{
	"<f4": {4, func(b []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))) }},
	"<f8": {8, func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }},
	"<f2": {2, func(b []byte) float64 { return halfFloat(binary.LittleEndian.Uint16(b)) }},
	"|b1": {1, func(b []byte) float64 { return float64(b[0]) }},
	"|u1": {1, func(b []byte) float64 { return float64(b[0]) }},
	"|i1": {1, func(b []byte) float64 { return float64(int8(b[0])) }},
	"<u2": {2, func(b []byte) float64 { return float64(binary.LittleEndian.Uint16(b)) }},
	"<i2": {2, func(b []byte) float64 { return float64(int16(binary.LittleEndian.Uint16(b))) }},
	"<u4": {4, func(b []byte) float64 { return float64(binary.LittleEndian.Uint32(b)) }},
	"<i4": {4, func(b []byte) float64 { return float64(int32(binary.LittleEndian.Uint32(b))) }},
	"<u8": {8, func(b []byte) float64 { return float64(binary.LittleEndian.Uint64(b)) }},
	"<i8": {8, func(b []byte) float64 { return float64(int64(binary.LittleEndian.Uint64(b))) }},
}

// halfFloat is the value of an IEEE half.
func halfFloat(h uint16) float64 {
	sign, exponent, fraction := 1.0, int(h>>10&31), float64(h&1023)
	if h>>15 == 1 {
		sign = -1
	}
	switch exponent {
	case 0:
		return sign * math.Ldexp(fraction, -24)
	case 31:
		if fraction != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}

// readNPY reads an array of vectors, [N, ...] in C order; size is that of the whole
// file. Of dim 0 nothing is read.
func readNPY(r io.Reader, size int64) (x []float32, dim int, err error) {
	h, err := npy.ReadHeader(r)
	if err != nil {
		return nil, 0, err
	}
	n, d, err := vectorsOf(h)
	if err != nil {
		return nil, 0, err
	}
	values, err := npyRead(h, r, size, n, d)
	return values, int(d), err
}

// vectorsOf takes an array for vectors: all axes but the first are one.
func vectorsOf(h npy.Header) (n, dim int64, err error) {
	if len(h.Shape) < 2 {
		return 0, 0, fmt.Errorf("got an array of shape %v, want [N, dim]", h.Shape)
	}
	dim = 1
	for _, d := range h.Shape[1:] {
		if dim *= d; dim > maxDim {
			return 0, 0, fmt.Errorf("got an array of shape %v, want at most %d values a row", h.Shape, maxDim)
		}
	}
	return h.Shape[0], dim, nil
}

// maxDim is the largest size of a vector: more than an image of 2,000 x 2,000 pixels.
const maxDim = 1 << 24

// npyRead reads n rows of dim values. Memory grows with what is there, not with what the
// header claims.
func npyRead(h npy.Header, r io.Reader, size, n, dim int64) ([]float32, error) {
	typ, ok := npyTypes[h.Type]
	if !ok {
		return nil, fmt.Errorf("got elements of type %q, want one of %v", h.Type, slices.Sorted(maps.Keys(npyTypes)))
	}
	width, rest := int64(typ.width), size-h.Size
	if dim > 0 && n > rest/width/dim || n*dim*width != rest {
		return nil, fmt.Errorf("got %d bytes of data, want an array (%d, %d) of %s", rest, n, dim, h.Type)
	}
	br := bufio.NewReaderSize(r, 1<<16)
	x := make([]float32, 0, min(n*dim, 1<<20))
	var b [8]byte
	for range n * dim {
		if _, err := io.ReadFull(br, b[:width]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		x = append(x, float32(typ.value(b[:width])))
	}
	return x, nil
}
