package runtime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// npyInfo is what the header of a .npy file says.
type npyInfo struct {
	descr string // "<f4" and so on, see npyTypes
	shape []int64
	size  int64 // of the header, in bytes
}

// rows returns the array as vectors: all axes but the first are one.
func (h npyInfo) rows() (n, dim int64, err error) {
	if len(h.shape) < 2 {
		return 0, 0, fmt.Errorf("got an array of shape %v, want [N, dim]", h.shape)
	}
	dim = 1
	for _, d := range h.shape[1:] {
		if dim *= d; dim > maxDim {
			return 0, 0, fmt.Errorf("got an array of shape %v, want at most %d values a row", h.shape, maxDim)
		}
	}
	return h.shape[0], dim, nil
}

// maxDim is the largest size of a vector: more than an image of 2,000 x 2,000 pixels.
const maxDim = 1 << 24

// The header is a Python dict; its three keys may stand in any order.
var (
	npyDescr   = regexp.MustCompile(`['"]descr['"]\s*:\s*['"]([^'"]*)['"]`)
	npyFortran = regexp.MustCompile(`['"]fortran_order['"]\s*:\s*(True|False)`)
	npyShape   = regexp.MustCompile(`['"]shape['"]\s*:\s*\(([\d\s,]*)\)`)
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
		return npyInfo{}, fmt.Errorf("got header %.200q, want that of a plain array", dict)
	}
	h := npyInfo{descr: string(descr[1]), size: read + length}
	for _, field := range strings.Split(string(shape[1]), ",") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		n, err := strconv.ParseInt(field, 10, 41)
		if err != nil || len(h.shape) == 8 {
			return npyInfo{}, fmt.Errorf("got shape (%.100s), want up to 8 sizes below 2^40", shape[1])
		}
		h.shape = append(h.shape, n)
	}
	if string(order[1]) != "False" && len(h.shape) > 1 {
		return npyInfo{}, errors.New("is in Fortran order, want C order (np.ascontiguousarray)")
	}
	return h, nil
}
