package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Floats returns the elements of a float32, float64, float16 or bfloat16 tensor as
// float32; float64 is rounded to nearest.
func (t *Tensor) Floats() ([]float32, error) {
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	switch t.Type {
	case Float:
		return convert(b, 4, func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) }), nil
	case Double:
		return convert(b, 8, func(b []byte) float32 { return float32(math.Float64frombits(le.Uint64(b))) }), nil
	case Float16:
		return convert(b, 2, func(b []byte) float32 { return halfToFloat(le.Uint16(b)) }), nil
	case BFloat16:
		return convert(b, 2, func(b []byte) float32 { return math.Float32frombits(uint32(le.Uint16(b)) << 16) }), nil
	}
	return nil, t.wrap(fmt.Errorf("is %v, want a floating-point type", t.Type))
}

// Int64s returns the elements of an integer or bool tensor as int64. A uint64 over
// the range of int64 is an error.
func (t *Tensor) Int64s() ([]int64, error) {
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	switch t.Type {
	case Int64:
		return convert(b, 8, func(b []byte) int64 { return int64(le.Uint64(b)) }), nil
	case Int32:
		return convert(b, 4, func(b []byte) int64 { return int64(int32(le.Uint32(b))) }), nil
	case Int16:
		return convert(b, 2, func(b []byte) int64 { return int64(int16(le.Uint16(b))) }), nil
	case Int8:
		return convert(b, 1, func(b []byte) int64 { return int64(int8(b[0])) }), nil
	case Uint32:
		return convert(b, 4, func(b []byte) int64 { return int64(le.Uint32(b)) }), nil
	case Uint16:
		return convert(b, 2, func(b []byte) int64 { return int64(le.Uint16(b)) }), nil
	case Uint8, Bool:
		return convert(b, 1, func(b []byte) int64 { return int64(b[0]) }), nil
	case Uint64:
		xs := convert(b, 8, func(b []byte) int64 { return int64(le.Uint64(b)) })
		for _, x := range xs {
			if x < 0 {
				return nil, t.wrap(fmt.Errorf("%d does not fit int64", uint64(x)))
			}
		}
		return xs, nil
	}
	return nil, t.wrap(fmt.Errorf("is %v, want an integer type", t.Type))
}

// Strings returns the elements of a string tensor.
func (t *Tensor) Strings() ([]string, error) {
	if t.Type != String {
		return nil, t.wrap(fmt.Errorf("is %v, want string", t.Type))
	}
	if err := t.storage(); err != nil {
		return nil, t.wrap(err)
	}
	s := make([]string, len(t.StringsData))
	for i, x := range t.StringsData {
		s[i] = string(x)
	}
	return s, nil
}

func convert[T any](b []byte, size int, f func([]byte) T) []T {
	out := make([]T, len(b)/size)
	for i := range out {
		out[i] = f(b[i*size:])
	}
	return out
}

// halfToFloat widens an IEEE 754 binary16, exactly.
func halfToFloat(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exp, frac := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exp {
	case 0: // zero and subnormal: frac * 2^-24
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*0x1p-24))
	case 0x1f: // infinity and NaN
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

// WithFloats returns a tensor like t with other elements, stored the way that t
// stores its own: float32, float64 or, rounded to nearest, float16 or bfloat16.
func (t *Tensor) WithFloats(v []float32) (*Tensor, error) {
	if t.Location == External {
		return nil, t.wrap(errExternal)
	}
	if n, err := t.Elems(); err != nil || n != int64(len(v)) {
		return nil, t.wrap(fmt.Errorf("%d values for shape %v", len(v), t.Dims))
	}
	to := *t
	le := binary.LittleEndian
	var bits func(b []byte, x float32) []byte
	switch t.Type {
	case Float:
		bits = func(b []byte, x float32) []byte { return le.AppendUint32(b, math.Float32bits(x)) }
	case Double:
		bits = func(b []byte, x float32) []byte { return le.AppendUint64(b, math.Float64bits(float64(x))) }
	case Float16:
		bits = func(b []byte, x float32) []byte { return le.AppendUint16(b, floatToHalf(x)) }
	case BFloat16:
		bits = func(b []byte, x float32) []byte { return le.AppendUint16(b, floatToBrain(x)) }
	default:
		return nil, t.wrap(fmt.Errorf("is %v, want a floating-point type", t.Type))
	}
	switch {
	case len(t.FloatData) > 0:
		to.FloatData = append([]float32(nil), v...)
	case len(t.DoubleData) > 0:
		to.DoubleData = make([]float64, len(v))
		for i, x := range v {
			to.DoubleData[i] = float64(x)
		}
	case len(t.Int32Data) > 0: // the types of 16 bits, one element each
		to.Int32Data = make([]int32, len(v))
		for i, x := range v {
			to.Int32Data[i] = int32(le.Uint16(bits(nil, x)))
		}
	default:
		to.Raw = make([]byte, 0, len(t.Raw))
		for _, x := range v {
			to.Raw = bits(to.Raw, x)
		}
	}
	return &to, nil
}

// floatToHalf rounds to the nearest IEEE 754 binary16, ties to even; beyond its
// range is infinity.
func floatToHalf(x float32) uint16 {
	bits := math.Float32bits(x)
	sign := uint16(bits >> 16 & 0x8000)
	abs := bits &^ (1 << 31)
	switch {
	case abs > 0xff<<23: // NaN stays one
		return sign | 0x7e00
	case abs >= 0x477ff000: // 65520 and up
		return sign | 0x7c00
	case abs < 113<<23: // subnormal: whole numbers of 2^-24
		n := math.RoundToEven(float64(math.Float32frombits(abs)) * 0x1p24)
		return sign | uint16(n)
	}
	abs += 0xfff + abs>>13&1
	return sign | uint16((abs>>13)-(112<<10))
}

// floatToBrain rounds to the nearest bfloat16, ties to even.
func floatToBrain(x float32) uint16 {
	bits := math.Float32bits(x)
	if x != x {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
