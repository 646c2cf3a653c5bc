package jpeg

import (
	"encoding/binary"
	"errors"
)

const (
	lutBits = 10
	lutSize = 1 << lutBits
)

// huffman decodes the symbols of one table.
type huffman struct {
	set bool

	// lut is by the next lutBits bits: the code's length and, above it, its symbol; 0 for longer codes.
	lut [lutSize]uint16

	// fast, of AC tables, is for codes that fit with the bits of their value: 0, or that value, the run of
	// zeros before it, and how many bits both take: value<<16 | run<<8 | bits.
	fast [lutSize]int32

	// By length, for longer codes: codes below limit, as 16 bits from the left, have at most this length;
	// the symbol is symbols[code + offset].
	limit   [18]uint32
	offset  [17]int32
	symbols [256]uint8
	count   int
}

func (d *Decoder) huffmanTables(s []byte) error {
	for len(s) > 0 {
		if len(s) < 17 {
			return errors.New("a Huffman table is cut off")
		}
		class, table, total := s[0]>>4, s[0]&15, 0
		for _, n := range s[1:17] {
			total += int(n)
		}
		if class > 1 || table > 3 || total > 256 || len(s) < 17+total {
			return errors.New("a Huffman table is damaged")
		}
		h := &d.dc[table]
		if class == 1 {
			h = &d.ac[table]
		}
		if err := h.build(s[1:17], s[17:17+total], class == 1); err != nil {
			return err
		}
		s = s[17+total:]
	}
	return nil
}

// build makes the table of codes: counts by length, and the symbols in order.
func (h *huffman) build(counts, symbols []byte, ac bool) error {
	h.set, h.count = true, len(symbols)
	clear(h.lut[:])
	copy(h.symbols[:], symbols)
	code, at := uint32(0), 0
	for length := 1; length <= 16; length++ {
		n := int(counts[length-1])
		h.offset[length] = int32(at) - int32(code)
		if length <= lutBits {
			for i := range n {
				first := (code + uint32(i)) << (lutBits - length)
				if int(first)+1<<(lutBits-length) > lutSize {
					return errors.New("a Huffman table has too many codes")
				}
				for k := range 1 << (lutBits - length) {
					h.lut[int(first)+k] = uint16(symbols[at+i])<<8 | uint16(length)
				}
			}
		}
		code += uint32(n)
		at += n
		if code > 1<<length {
			return errors.New("a Huffman table has too many codes")
		}
		h.limit[length] = code << (16 - length)
		code <<= 1
	}
	h.limit[17] = 1 << 31
	if ac {
		h.buildFast()
	}
	return nil
}

func (h *huffman) buildFast() {
	for i, e := range h.lut {
		h.fast[i] = 0
		length, run, size := int(e&0xff), int(e>>12), int(e>>8&15)
		if length == 0 || size == 0 || length+size > lutBits {
			continue
		}
		v := i >> (lutBits - length - size) & (1<<size - 1)
		if v < 1<<(size-1) {
			v += -1<<size + 1
		}
		h.fast[i] = int32(v)<<16 | int32(run)<<8 | int32(length+size)
	}
}

// bits reads the compressed data of a scan. Behind their end it yields zeros and counts them.
type bits struct {
	data []byte
	pos  int
	acc  uint64 // the next bits, from the left; behind the first n stand zeros or the bits that follow
	n    int    // bits of acc that count
	over int    // of these, those that are made up
}

// fill makes sure that at least 48 bits are there.
func (b *bits) fill() {
	if b.n > 48 {
		return
	}
	if b.pos+8 <= len(b.data) {
		v := binary.BigEndian.Uint64(b.data[b.pos:])
		if x := ^v; (x-0x0101010101010101)&v&0x8080808080808080 == 0 { // no 0xff
			b.acc |= v >> b.n
			b.pos += (63 - b.n) >> 3
			b.n |= 56
			return
		}
	}
	for b.n <= 56 {
		v := byte(0)
		switch {
		case b.pos >= len(b.data), b.data[b.pos] == 0xff && (b.pos+1 >= len(b.data) || b.data[b.pos+1] != 0):
			b.over += 8 // the end, or a marker
		case b.data[b.pos] == 0xff:
			v = 0xff
			b.pos += 2
		default:
			v = b.data[b.pos]
			b.pos++
		}
		b.acc |= uint64(v) << (56 - b.n)
		b.n += 8
	}
}

// ended reports that more was read than there is.
func (b *bits) ended() bool { return b.over > b.n }

// skip drops n bits, of which at least n are there.
func (b *bits) skip(n int) {
	b.acc <<= n
	b.n -= n
}

// take returns the next n bits, 0 to 16; they must be there.
func (b *bits) take(n int) int {
	v := int(b.acc >> 1 >> (63 - n))
	b.skip(n)
	return v
}

// value returns a number of n bits whose first bit is its sign, as T.81 extends it.
func (b *bits) value(n int) int {
	v := b.take(n)
	if n > 0 && v < 1<<(n-1) {
		v += -1<<n + 1
	}
	return v
}

// symbol decodes the next symbol; at least 16 bits must be there.
func (h *huffman) symbol(b *bits) (int, bool) {
	e := int(h.lut[b.acc>>(64-lutBits)])
	if e == 0 {
		if e = h.long(b.acc); e == 0 {
			return 0, false
		}
	}
	b.skip(e & 0xff)
	return e >> 8, true
}

// long decodes a code of more than lutBits bits: as lut does, 0 if there is none.
func (h *huffman) long(acc uint64) int {
	next := uint32(acc >> 48)
	length := lutBits + 1
	for next >= h.limit[length] {
		length++
	}
	if length > 16 {
		return 0
	}
	at := int32(next>>(16-length)) + h.offset[length]
	if at < 0 || int(at) >= h.count {
		return 0
	}
	return int(h.symbols[at])<<8 | length
}
