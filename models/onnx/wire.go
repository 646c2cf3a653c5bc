package onnx

import (
	"errors"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxDepth bounds how deep messages nest, as protobuf's own readers do. A
// subgraph costs three levels (node, attribute, graph).
const maxDepth = 100

// message is a protobuf message. visit names every field once, in field-number
// order; the same list serves reading and writing, so the two cannot differ.
type message interface {
	visit(v *visitor)
	base() *wire
}

// notes remembers what the Go values of a message cannot say about its bytes, so
// that writing gives the same bytes again.
type notes struct {
	repack  uint32 // bit n: repeated field n was packed where ONNX does not pack, or the reverse
	unknown []rawField
}

type rawField struct {
	num protowire.Number
	raw []byte // tag and value
}

// wire is embedded in every message type.
type wire struct {
	// seen has bit n set when field n stood in the file, zero or not, and bit 0
	// when the message comes from a file at all. Lists count when they are empty.
	seen  uint32
	notes *notes
}

func (w *wire) base() *wire { return w }

func (w *wire) keep() *notes {
	if w.notes == nil {
		w.notes = new(notes)
	}
	return w.notes
}

func (w *wire) has(num protowire.Number) bool {
	return w.seen&(1<<num) != 0
}

// needs reports whether field num must be written although its value is zero:
// because it stood in the file, or because this is a new message and must is set.
func (w *wire) needs(num protowire.Number, must bool) bool {
	return w.has(num) || must && !w.has(0)
}

// visitor is a reader or a writer of messages, whichever is non-nil. As a writer
// with out == nil it only counts.
type visitor struct {
	msg *wire // of the message being visited

	// Reading: the field at hand.
	reading bool
	depth   int
	num     protowire.Number
	typ     protowire.Type
	uint    uint64 // varint, fixed32, fixed64
	bytes   []byte // length-delimited
	known   bool
	err     error

	// Writing.
	out     io.Writer
	size    int64
	flushed int // unknown fields already written
	scratch []byte
	detach  map[*Tensor]region // tensors whose data goes to a second file
}

// decode reads the fields of b into m. Singular messages that come twice merge,
// as protobuf asks.
func decode(m message, b []byte) error {
	v := visitor{reading: true}
	return v.read(m, b)
}

func (v *visitor) read(m message, b []byte) error {
	if v.depth++; v.depth > maxDepth {
		return fmt.Errorf("messages nest deeper than %d", maxDepth)
	}
	outer := *v
	defer func() { *v = outer; v.depth-- }()
	v.msg = m.base()
	v.msg.seen |= 1
	for pos := 0; pos < len(b); {
		num, typ, n := protowire.ConsumeTag(b[pos:])
		if n < 0 {
			return fmt.Errorf("byte %d: %w", pos, parseError(n))
		}
		rest := b[pos+n:]
		v.num, v.typ, v.known, v.err = num, typ, false, nil
		size := 0
		switch typ {
		case protowire.VarintType:
			v.uint, size = protowire.ConsumeVarint(rest)
		case protowire.Fixed32Type:
			var u uint32
			u, size = protowire.ConsumeFixed32(rest)
			v.uint = uint64(u)
		case protowire.Fixed64Type:
			v.uint, size = protowire.ConsumeFixed64(rest)
		case protowire.BytesType:
			v.bytes, size = protowire.ConsumeBytes(rest)
		default: // groups: nothing in ONNX has ever used them
			return fmt.Errorf("byte %d: field %d has wire type %d", pos, num, typ)
		}
		if size < 0 {
			return fmt.Errorf("byte %d: field %d: %w", pos, num, parseError(size))
		}
		m.visit(v)
		if v.err != nil {
			return v.err
		}
		if !v.known {
			keep := v.msg.keep()
			keep.unknown = append(keep.unknown, rawField{num, b[pos : pos+n+size : pos+n+size]})
		}
		pos += n + size
	}
	return nil
}

func parseError(n int) error {
	err := protowire.ParseError(n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// at reports whether the field at hand is number num, and checks its wire type.
func (v *visitor) at(num protowire.Number, name string, typ protowire.Type) bool {
	if v.num != num || v.known {
		return false
	}
	v.known = true
	if v.typ != typ {
		v.err = fmt.Errorf("%s: wire type %d, want %d", name, v.typ, typ)
		return false
	}
	return true
}

// encodeTo writes the fields of m and returns how many bytes they are.
func encodeTo(out io.Writer, m message, detach map[*Tensor]region) (int64, error) {
	v := visitor{out: out, detach: detach}
	v.write(m)
	return v.size, v.err
}

func (v *visitor) write(m message) {
	msg, flushed := v.msg, v.flushed
	v.msg, v.flushed = m.base(), 0
	m.visit(v)
	v.flush(math.MaxInt32)
	v.msg, v.flushed = msg, flushed
}

// flush writes the unknown fields that belong before field num.
func (v *visitor) flush(num protowire.Number) {
	if v.msg.notes == nil {
		return
	}
	for _, f := range v.msg.notes.unknown[v.flushed:] {
		if f.num >= num {
			return
		}
		v.emit(f.raw)
		v.flushed++
	}
}

func (v *visitor) emit(b []byte) {
	v.size += int64(len(b))
	if v.out != nil && v.err == nil {
		_, v.err = v.out.Write(b)
	}
}

func (v *visitor) emitText(s string) {
	v.size += int64(len(s))
	if v.out != nil && v.err == nil {
		_, v.err = io.WriteString(v.out, s)
	}
}

// head writes the tag of a length-delimited field and its length.
func (v *visitor) head(num protowire.Number, size int64) {
	v.flush(num)
	v.scratch = protowire.AppendTag(v.scratch[:0], num, protowire.BytesType)
	v.scratch = protowire.AppendVarint(v.scratch, uint64(size))
	v.emit(v.scratch)
}
