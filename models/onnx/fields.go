package onnx

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The methods of this file are the field kinds ONNX uses. Each reads the field at
// hand when it is the one named, or writes it when there is something to write:
// a scalar is written when it is not zero, when it stood in the file, or, in a new
// message, when must is set.

func integer[T int32 | int64 | DataType | AttrType | DataLocation](v *visitor, num protowire.Number, name string, p *T, must bool) {
	if v.reading {
		if v.at(num, name, protowire.VarintType) {
			*p = T(v.uint)
			v.saw()
		}
		return
	}
	if *p == 0 && !v.msg.needs(num, must) {
		return
	}
	v.flush(num)
	v.scratch = protowire.AppendTag(v.scratch[:0], num, protowire.VarintType)
	v.scratch = protowire.AppendVarint(v.scratch, uint64(int64(*p)))
	v.emit(v.scratch)
}

func (v *visitor) float(num protowire.Number, name string, p *float32, must bool) {
	if v.reading {
		if v.at(num, name, protowire.Fixed32Type) {
			*p = math.Float32frombits(uint32(v.uint))
			v.saw()
		}
		return
	}
	bits := math.Float32bits(*p)
	if bits == 0 && !v.msg.needs(num, must) {
		return
	}
	v.flush(num)
	v.scratch = protowire.AppendTag(v.scratch[:0], num, protowire.Fixed32Type)
	v.scratch = protowire.AppendFixed32(v.scratch, bits)
	v.emit(v.scratch)
}

func (v *visitor) text(num protowire.Number, name string, p *string) {
	if v.reading {
		if v.at(num, name, protowire.BytesType) {
			*p = string(v.bytes)
			v.saw()
		}
		return
	}
	if *p == "" && !v.msg.has(num) {
		return
	}
	v.head(num, int64(len(*p)))
	v.emitText(*p)
}

// saw notes that the field at hand stands in the file.
func (v *visitor) saw() {
	v.msg.seen |= 1 << v.num
}

// blob is a bytes field; nil means absent. What is read aliases the input.
func (v *visitor) blob(num protowire.Number, name string, p *[]byte, must bool) {
	if v.reading {
		if v.at(num, name, protowire.BytesType) {
			*p = v.bytes[:len(v.bytes):len(v.bytes)]
		}
		return
	}
	if *p == nil && !(must && !v.msg.has(0)) {
		return
	}
	v.head(num, int64(len(*p)))
	v.emit(*p)
}

func (v *visitor) texts(num protowire.Number, name string, p *[]string) {
	if v.reading {
		if v.at(num, name, protowire.BytesType) {
			*p = append(*p, string(v.bytes))
		}
		return
	}
	for _, s := range *p {
		v.head(num, int64(len(s)))
		v.emitText(s)
	}
}

func (v *visitor) blobs(num protowire.Number, name string, p *[][]byte) {
	if v.reading {
		if v.at(num, name, protowire.BytesType) {
			*p = append(*p, v.bytes[:len(v.bytes):len(v.bytes)])
		}
		return
	}
	for _, s := range *p {
		v.head(num, int64(len(s)))
		v.emit(s)
	}
}

// scalar describes how the elements of a repeated scalar field stand in a file.
type scalar[T any] struct {
	typ    protowire.Type
	size   func(T) int
	append func([]byte, T) []byte
	value  func(uint64) T
}

var (
	int64Scalar = scalar[int64]{protowire.VarintType,
		func(x int64) int { return protowire.SizeVarint(uint64(x)) },
		func(b []byte, x int64) []byte { return protowire.AppendVarint(b, uint64(x)) },
		func(u uint64) int64 { return int64(u) }}
	int32Scalar = scalar[int32]{protowire.VarintType,
		func(x int32) int { return protowire.SizeVarint(uint64(int64(x))) },
		func(b []byte, x int32) []byte { return protowire.AppendVarint(b, uint64(int64(x))) },
		func(u uint64) int32 { return int32(u) }}
	uint64Scalar = scalar[uint64]{protowire.VarintType,
		protowire.SizeVarint,
		protowire.AppendVarint,
		func(u uint64) uint64 { return u }}
	float32Scalar = scalar[float32]{protowire.Fixed32Type,
		func(float32) int { return 4 },
		func(b []byte, x float32) []byte { return protowire.AppendFixed32(b, math.Float32bits(x)) },
		func(u uint64) float32 { return math.Float32frombits(uint32(u)) }}
	float64Scalar = scalar[float64]{protowire.Fixed64Type,
		func(float64) int { return 8 },
		func(b []byte, x float64) []byte { return protowire.AppendFixed64(b, math.Float64bits(x)) },
		math.Float64frombits}
)

// numbers is a repeated scalar field, packed or not: protobuf readers must take
// both. ONNX packs the data of tensors and nothing else.
func numbers[T any](v *visitor, num protowire.Number, name string, p *[]T, packed bool, kind scalar[T]) {
	if v.reading {
		readNumbers(v, num, name, p, packed, kind)
		return
	}
	if len(*p) == 0 && !v.msg.has(num) {
		return
	}
	if v.msg.notes != nil && v.msg.notes.repack&(1<<num) != 0 {
		packed = !packed
	}
	if packed {
		var size int64
		for _, x := range *p {
			size += int64(kind.size(x))
		}
		v.head(num, size)
		if v.out == nil {
			v.size += size
			return
		}
	} else {
		v.flush(num)
	}
	buf := v.scratch[:0]
	for _, x := range *p {
		if !packed {
			buf = protowire.AppendTag(buf, num, kind.typ)
		}
		if buf = kind.append(buf, x); len(buf) >= 1<<15 {
			v.emit(buf)
			buf = buf[:0]
		}
	}
	v.emit(buf)
	v.scratch = buf[:0]
}

func readNumbers[T any](v *visitor, num protowire.Number, name string, p *[]T, packed bool, kind scalar[T]) {
	if v.num != num || v.known {
		return
	}
	isPacked := v.typ == protowire.BytesType
	if !isPacked {
		if v.at(num, name, kind.typ) {
			*p = append(*p, kind.value(v.uint))
		}
	} else {
		v.known = true
		*p, v.err = unpack(*p, v.bytes, kind)
		if v.err != nil {
			v.err = fmt.Errorf("%s: %w", name, v.err)
		}
		if len(*p) == 0 {
			v.saw()
		}
	}
	if isPacked != packed {
		v.msg.keep().repack |= 1 << num
	}
}

func unpack[T any](to []T, b []byte, kind scalar[T]) ([]T, error) {
	if n := kind.count(b); cap(to)-len(to) < n {
		to = append(make([]T, 0, len(to)+n), to...)
	}
	for len(b) > 0 {
		var u uint64
		var n int
		switch kind.typ {
		case protowire.Fixed32Type:
			var u32 uint32
			u32, n = protowire.ConsumeFixed32(b)
			u = uint64(u32)
		case protowire.Fixed64Type:
			u, n = protowire.ConsumeFixed64(b)
		default:
			u, n = protowire.ConsumeVarint(b)
		}
		if n < 0 {
			return to, parseError(n)
		}
		to, b = append(to, kind.value(u)), b[n:]
	}
	return to, nil
}

// count returns how many elements b holds.
func (s scalar[T]) count(b []byte) int {
	switch s.typ {
	case protowire.Fixed32Type:
		return len(b) / 4
	case protowire.Fixed64Type:
		return len(b) / 8
	}
	n := 0
	for _, c := range b {
		if c < 0x80 {
			n++
		}
	}
	return n
}

// pointer is a *T that is a message.
type pointer[T any] interface {
	*T
	message
}

// child is a singular message field; nil means absent.
func child[T any, P pointer[T]](v *visitor, num protowire.Number, name string, p **T) {
	if v.reading {
		if v.at(num, name, protowire.BytesType) {
			if *p == nil {
				*p = new(T)
			}
			if err := v.read(P(*p), v.bytes); err != nil {
				v.fail(name, err)
			}
		}
		return
	}
	if *p != nil {
		v.nested(num, P(*p))
	}
}

// children is a repeated message field.
func children[T any, P pointer[T]](v *visitor, num protowire.Number, name string, p *[]*T) {
	if v.reading {
		if v.at(num, name, protowire.BytesType) {
			m := new(T)
			if err := v.read(P(m), v.bytes); err != nil {
				v.fail(fmt.Sprintf("%s %d", name, len(*p)), err)
			}
			*p = append(*p, m)
		}
		return
	}
	for _, m := range *p {
		v.nested(num, P(m))
	}
}

// values is children for messages held by value.
func values[T any, P pointer[T]](v *visitor, num protowire.Number, name string, p *[]T) {
	if v.reading {
		if v.at(num, name, protowire.BytesType) {
			*p = append(*p, *new(T))
			if err := v.read(P(&(*p)[len(*p)-1]), v.bytes); err != nil {
				v.fail(fmt.Sprintf("%s %d", name, len(*p)-1), err)
			}
		}
		return
	}
	for i := range *p {
		v.nested(num, P(&(*p)[i]))
	}
}

func (v *visitor) fail(where string, err error) {
	v.err = fmt.Errorf("%s: %w", where, err)
}

func (v *visitor) nested(num protowire.Number, m message) {
	count := visitor{detach: v.detach}
	count.write(m)
	v.head(num, count.size)
	if v.out == nil {
		v.size += count.size
		return
	}
	v.write(m)
}
