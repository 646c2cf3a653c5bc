package augment

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// The .npy format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
const npyMagic = "\x93NUMPY"

// npyHeader is what stands before the values of an array.
type npyHeader struct {
	descr string // element type: "|u1", "<i8"
	shape []int64
	size  int64 // of the header, in bytes
}

// The header is a Python dict; its three keys may stand in any order.
var (
	npyDescr   = regexp.MustCompile(`['"]descr['"]\s*:\s*['"]([^'"]*)['"]`)
	npyFortran = regexp.MustCompile(`['"]fortran_order['"]\s*:\s*(True|False)`)
	npyShape   = regexp.MustCompile(`['"]shape['"]\s*:\s*\(([\d\s,]*)\)`)
)

func readNPYHeader(r io.Reader) (npyHeader, error) {
	var start [12]byte
	if _, err := io.ReadFull(r, start[:10]); err != nil || string(start[:6]) != npyMagic {
		return npyHeader{}, errors.New("not a .npy array")
	}
	length, read := int64(binary.LittleEndian.Uint16(start[8:])), int64(10)
	if start[6] > 1 {
		if _, err := io.ReadFull(r, start[10:]); err != nil {
			return npyHeader{}, fmt.Errorf("header: %w", eofIsUnexpected(err))
		}
		length, read = int64(binary.LittleEndian.Uint32(start[8:])), 12
	}
	const limit = 1 << 16 // a header of a plain array has about 100 bytes
	if length > limit {
		return npyHeader{}, fmt.Errorf("got a header of %d bytes, want at most %d", length, limit)
	}
	dict := make([]byte, length)
	if _, err := io.ReadFull(r, dict); err != nil {
		return npyHeader{}, fmt.Errorf("header: %w", eofIsUnexpected(err))
	}
	descr, order, shape := npyDescr.FindSubmatch(dict), npyFortran.FindSubmatch(dict), npyShape.FindSubmatch(dict)
	if descr == nil || order == nil || shape == nil {
		return npyHeader{}, fmt.Errorf("got header %.200q, want that of a plain array", dict)
	}
	if string(order[1]) != "False" {
		return npyHeader{}, errors.New("the array is in Fortran order: save it in C order (np.ascontiguousarray)")
	}
	h := npyHeader{descr: string(descr[1]), size: read + length}
	total := int64(1)
	for _, field := range strings.Split(string(shape[1]), ",") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil || n > math.MaxInt32 || len(h.shape) == 8 || n > 0 && total > math.MaxInt64/16/n {
			return npyHeader{}, fmt.Errorf("shape (%.100s): too large", shape[1])
		}
		h.shape = append(h.shape, n)
		total *= max(n, 1)
	}
	return h, nil
}

// count is the number of values.
func (h npyHeader) count() int64 {
	n := int64(1)
	for _, d := range h.shape {
		n *= d
	}
	return n
}

// isImages says whether the array has the shape and type of images.
func (h npyHeader) isImages() bool {
	return h.descr == "|u1" && (len(h.shape) == 3 || len(h.shape) == 4)
}

func (h npyHeader) String() string {
	s := make([]string, len(h.shape))
	for i, d := range h.shape {
		s[i] = strconv.FormatInt(d, 10)
	}
	return fmt.Sprintf("%s [%s]", h.descr, strings.Join(s, ", "))
}

// images returns the source of an array of uint8: [N, H, W], [N, H, W, C] or [N, C, H, W].
func (h npyHeader) images(opt DecodeOptions) (*arraySource, error) {
	if !h.isImages() {
		return nil, fmt.Errorf("got an array %v, want images: uint8 [N, H, W], [N, H, W, C] or [N, C, H, W]", h)
	}
	s := &arraySource{n: int(h.shape[0]), h: int(h.shape[1]), w: int(h.shape[2]), c: 1}
	if len(h.shape) == 4 {
		channels := func(n int64) bool { return n == 1 || n == 3 || n == 4 }
		switch {
		case channels(h.shape[3]):
			s.c = int(h.shape[3])
		case channels(h.shape[1]):
			s.c, s.planar = int(h.shape[1]), true
			s.h, s.w = int(h.shape[2]), int(h.shape[3])
		default:
			return nil, fmt.Errorf("got an array %v: neither the second nor the last axis has 1, 3 or 4 channels", h)
		}
	}
	s.stride = int64(s.h) * int64(s.w) * int64(s.c)
	return s, s.checkSize(opt)
}

// readLabels reads an array of whole numbers, [N] or [N, 1], for n images.
func (h npyHeader) readLabels(r io.Reader, n int) ([]int64, error) {
	if len(h.descr) != 3 || !strings.ContainsRune("<>|", rune(h.descr[0])) || !strings.ContainsRune("iu", rune(h.descr[1])) ||
		!strings.ContainsRune("1248", rune(h.descr[2])) || len(h.shape) < 1 || h.count() != h.shape[0] {
		return nil, fmt.Errorf("got labels %v, want whole numbers [N]", h)
	}
	if h.shape[0] != int64(n) {
		return nil, fmt.Errorf("%d labels for %d images", h.shape[0], n)
	}
	width := int(h.descr[2] - '0')
	var order binary.ByteOrder = binary.LittleEndian
	if h.descr[0] == '>' {
		order = binary.BigEndian
	}
	br := bufio.NewReader(r)
	var out []int64 // grows with what is there, not with what the header says
	var b [8]byte
	for i := range n {
		if _, err := io.ReadFull(br, b[:width]); err != nil {
			return nil, fmt.Errorf("label %d: %w", i, eofIsUnexpected(err))
		}
		var v int64
		switch width {
		case 1:
			v = int64(int8(b[0]))
		case 2:
			v = int64(int16(order.Uint16(b[:])))
		case 4:
			v = int64(int32(order.Uint32(b[:])))
		default:
			v = int64(order.Uint64(b[:]))
		}
		if h.descr[1] == 'u' && width < 8 {
			v &= 1<<(8*width) - 1
		}
		out = append(out, v)
	}
	return out, nil
}

// openNPY opens an array of images; its labels are found beside it, see labelNames.
func openNPY(path string, opt SourceOptions) (Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("augment: %w", err)
	}
	s, err := newNPYSource(path, f, opt)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("augment: %s: %w", path, err)
	}
	return s, nil
}

func newNPYSource(path string, f *os.File, opt SourceOptions) (*arraySource, error) {
	h, err := readNPYHeader(f)
	if err != nil {
		return nil, err
	}
	s, err := h.images(opt.Decode)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if have := info.Size() - h.size; have < h.count() {
		return nil, fmt.Errorf("the header says %v, %d bytes in all, but the file has %d: it is truncated", h, h.size+h.count(), info.Size())
	}
	s.path, s.data, s.close, s.offset = path, f, f.Close, h.size
	base := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	for _, name := range labelNames(base) {
		beside := filepath.Join(filepath.Dir(path), name+".npy")
		l, err := os.Open(beside)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		defer l.Close()
		lh, err := readNPYHeader(l)
		var labels []int64
		if err == nil {
			labels, err = lh.readLabels(l, s.n)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(beside), err)
		}
		s.numbered(labels)
		break
	}
	return s, nil
}

// imageNames are what arrays of images are called, and their labels.
var imageNames = []struct{ images, labels string }{
	{"images", "labels"}, {"image", "label"}, {"x", "y"}, {"X", "y"}, {"X", "Y"}, {"data", "labels"}, {"data", "label"},
	{"data", "targets"}, {"images", "targets"}, {"arr_0", "arr_1"},
}

var nameParts = regexp.MustCompile(`[^_.\-]+|[_.\-]`)

// labelNames lists what the labels of an array of images may be called: x_train has y_train,
// test_images test_labels.
func labelNames(images string) []string {
	var out []string
	for _, pair := range imageNames {
		if images == pair.images {
			out = append(out, pair.labels)
			continue
		}
		parts, found := nameParts.FindAllString(images, -1), false
		for i, p := range parts {
			if p == pair.images {
				parts[i], found = pair.labels, true
			}
		}
		if found {
			out = append(out, strings.Join(parts, ""))
		}
	}
	return append(out, images+"_labels")
}

// arraySplit is the part of a data set that the name of an array claims, "" for none.
func arraySplit(name string) string {
	for _, p := range nameParts.FindAllString(name, -1) {
		switch p {
		case "train", "test", "val":
			return p
		case "valid", "validation":
			return "val"
		}
	}
	return ""
}
