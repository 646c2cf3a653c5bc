// Package npy reads the headers of NumPy's arrays in files that come from anywhere:
// no header makes it panic, or take more memory than 64 KiB.
package npy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Magic is what a .npy file begins with. The format is NEP 1, "A Simple File Format
// for NumPy Arrays".
const Magic = "\x93NUMPY"

// Header is what stands before the values of an array, which are in C order.
type Header struct {
	Type  string  // of an element: "|u1", "<i8", "<f4"; ">" is big-endian
	Shape []int64 // up to 8 sizes below 2^40; none is a single value
	Size  int64   // of the header, in bytes: where the values begin
}

// The header is a Python dict; its three keys may stand in any order.
var (
	descrKey   = regexp.MustCompile(`['"]descr['"]\s*:\s*['"]([^'"]*)['"]`)
	fortranKey = regexp.MustCompile(`['"]fortran_order['"]\s*:\s*(True|False)`)
	shapeKey   = regexp.MustCompile(`['"]shape['"]\s*:\s*\(([\d\s,]*)\)`)
)

// longest is the longest header that is read; that of a plain array has about 100 bytes.
const longest = 1 << 16

// ReadHeader reads the header of versions 1 to 3 and leaves r at the first value.
// Errors: no .npy array, a header cut off or of a structured array, a shape of more
// than 2^59 values, Fortran order of several axes.
func ReadHeader(r io.Reader) (Header, error) {
	var start [12]byte
	if _, err := io.ReadFull(r, start[:10]); err != nil || string(start[:6]) != Magic {
		return Header{}, errors.New("not a .npy array")
	}
	length, read := int64(binary.LittleEndian.Uint16(start[8:])), int64(10)
	if start[6] > 1 {
		if _, err := io.ReadFull(r, start[10:]); err != nil {
			return Header{}, fmt.Errorf("header: %w", io.ErrUnexpectedEOF)
		}
		length, read = int64(binary.LittleEndian.Uint32(start[8:])), 12
	}
	if length > longest {
		return Header{}, fmt.Errorf("got a header of %d bytes, want at most %d", length, longest)
	}
	dict := make([]byte, length)
	if _, err := io.ReadFull(r, dict); err != nil {
		return Header{}, fmt.Errorf("header: %w", io.ErrUnexpectedEOF)
	}
	descr, order, shape := descrKey.FindSubmatch(dict), fortranKey.FindSubmatch(dict), shapeKey.FindSubmatch(dict)
	if descr == nil || order == nil || shape == nil {
		return Header{}, fmt.Errorf("got header %.200q, want that of a plain array", dict)
	}
	h := Header{Type: string(descr[1]), Size: read + length}
	total := int64(1)
	for _, field := range strings.Split(string(shape[1]), ",") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		n, err := strconv.ParseInt(field, 10, 41)
		if err != nil || len(h.Shape) == 8 || n > 0 && total > math.MaxInt64/16/n {
			return Header{}, fmt.Errorf("got shape (%.100s), want up to 8 sizes below 2^40, and no more than 2^59 values", shape[1])
		}
		h.Shape = append(h.Shape, n)
		total *= max(n, 1)
	}
	if string(order[1]) != "False" && len(h.Shape) > 1 {
		return Header{}, errors.New("the array is in Fortran order: save it in C order (np.ascontiguousarray)")
	}
	return h, nil
}

// Count is the number of values.
func (h Header) Count() int64 {
	n := int64(1)
	for _, d := range h.Shape {
		n *= d
	}
	return n
}

// String is the element type and the shape: "|u1 [100, 28, 28]".
func (h Header) String() string {
	s := make([]string, len(h.Shape))
	for i, d := range h.Shape {
		s[i] = strconv.FormatInt(d, 10)
	}
	return fmt.Sprintf("%s [%s]", h.Type, strings.Join(s, ", "))
}
