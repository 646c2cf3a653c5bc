package runtime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
)

// npyInfo is what the header of a .npy file says.
type npyInfo struct {
	descr  string // "<f4" or "<f8"
	n, dim int64
	size   int64 // of the header, in bytes
}

// The header is a Python dict; its three keys may stand in any order.
var (
	npyDescr   = regexp.MustCompile(`['"]descr['"]\s*:\s*['"]([^'"]*)['"]`)
	npyFortran = regexp.MustCompile(`['"]fortran_order['"]\s*:\s*(True|False)`)
	npyShape   = regexp.MustCompile(`['"]shape['"]\s*:\s*\(\s*(\d+)\s*,\s*(\d+)\s*,?\s*\)`)
)

// readNPYHeader reads the header of versions 1 to 3. It takes files from
// anywhere, so it does not use npyio, which trusts the header.
func readNPYHeader(r io.Reader) (npyInfo, error) {
	var start [12]byte
	if _, err := io.ReadFull(r, start[:10]); err != nil || string(start[:6]) != "\x93NUMPY" {
		return npyInfo{}, errors.New("is no .npy file")
	}
	length, read := int64(binary.LittleEndian.Uint16(start[8:])), int64(10)
	if start[6] > 1 {
		if _, err := io.ReadFull(r, start[10:]); err != nil {
			return npyInfo{}, errors.New("is cut off in its header")
		}
		length, read = int64(binary.LittleEndian.Uint32(start[8:])), 12
	}
	const limit = 1 << 16 // a header of a plain array has about 100 bytes
	if length > limit {
		return npyInfo{}, fmt.Errorf("got a header of %d bytes, want at most %d", length, limit)
	}
	dict := make([]byte, length)
	if _, err := io.ReadFull(r, dict); err != nil {
		return npyInfo{}, errors.New("is cut off in its header")
	}
	descr, order, shape := npyDescr.FindSubmatch(dict), npyFortran.FindSubmatch(dict), npyShape.FindSubmatch(dict)
	if descr == nil || order == nil || shape == nil {
		return npyInfo{}, fmt.Errorf("got header %.200q, want that of an array with two dimensions", dict)
	}
	if d := string(descr[1]); d != "<f4" && d != "<f8" {
		return npyInfo{}, fmt.Errorf("got elements of type %q, want <f4 or <f8", d)
	}
	if string(order[1]) != "False" {
		return npyInfo{}, errors.New("is in Fortran order, want C order")
	}
	n, err := strconv.ParseInt(string(shape[1]), 10, 40)
	if err != nil {
		return npyInfo{}, fmt.Errorf("shape: %w", err)
	}
	dim, err := strconv.ParseInt(string(shape[2]), 10, 24)
	if err != nil {
		return npyInfo{}, fmt.Errorf("shape: %w", err)
	}
	return npyInfo{descr: string(descr[1]), n: n, dim: dim, size: read + length}, nil
}
