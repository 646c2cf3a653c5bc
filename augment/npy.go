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
	"strings"

	"github.com/sslrt/sslrt/augment/npy"
)

// isImages says whether the array has the shape and type of images.
func isImages(h npy.Header) bool {
	return h.Type == "|u1" && (len(h.Shape) == 3 || len(h.Shape) == 4)
}

// imagesOf returns the source of an array of uint8: [N, H, W], [N, H, W, C] or [N, C, H, W].
func imagesOf(h npy.Header, opt DecodeOptions) (*arraySource, error) {
	if !isImages(h) {
		return nil, fmt.Errorf("got an array %v, want images: uint8 [N, H, W], [N, H, W, C] or [N, C, H, W]", h)
	}
	for _, d := range h.Shape {
		if d > math.MaxInt32 {
			return nil, fmt.Errorf("got an array %v: too large", h)
		}
	}
	s := &arraySource{n: int(h.Shape[0]), h: int(h.Shape[1]), w: int(h.Shape[2]), c: 1}
	if len(h.Shape) == 4 {
		channels := func(n int64) bool { return n == 1 || n == 3 || n == 4 }
		switch {
		case channels(h.Shape[3]):
			s.c = int(h.Shape[3])
		case channels(h.Shape[1]):
			s.c, s.planar = int(h.Shape[1]), true
			s.h, s.w = int(h.Shape[2]), int(h.Shape[3])
		default:
			return nil, fmt.Errorf("got an array %v: neither the second nor the last axis has 1, 3 or 4 channels", h)
		}
	}
	s.stride = int64(s.h) * int64(s.w) * int64(s.c)
	return s, s.checkSize(opt)
}

// readLabels reads an array of whole numbers, [N] or [N, 1], for n images.
func readLabels(h npy.Header, r io.Reader, n int) ([]int64, error) {
	if len(h.Type) != 3 || !strings.ContainsRune("<>|", rune(h.Type[0])) || !strings.ContainsRune("iu", rune(h.Type[1])) ||
		!strings.ContainsRune("1248", rune(h.Type[2])) || len(h.Shape) < 1 || h.Count() != h.Shape[0] {
		return nil, fmt.Errorf("got labels %v, want whole numbers [N]", h)
	}
	if h.Shape[0] != int64(n) {
		return nil, fmt.Errorf("%d labels for %d images", h.Shape[0], n)
	}
	width := int(h.Type[2] - '0')
	var order binary.ByteOrder = binary.LittleEndian
	if h.Type[0] == '>' {
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
		if h.Type[1] == 'u' && width < 8 {
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
	h, err := npy.ReadHeader(f)
	if err != nil {
		return nil, err
	}
	s, err := imagesOf(h, opt.Decode)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if have := info.Size() - h.Size; have < h.Count() {
		return nil, fmt.Errorf("the header says %v, %d bytes in all, but the file has %d: it is truncated", h, h.Size+h.Count(), info.Size())
	}
	s.path, s.data, s.close, s.offset = path, f, f.Close, h.Size
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
		lh, err := npy.ReadHeader(l)
		var labels []int64
		if err == nil {
			labels, err = readLabels(lh, l, s.n)
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
