package augment

import (
	"bufio"
	"bytes"
	"sync"

	"github.com/sslrt/sslrt/augment/internal/jpeg"
)

// jpegMemory is what decoding a file needs beside its pixels. It is kept for the next file.
type jpegMemory struct {
	file    bytes.Buffer
	decoder jpeg.Decoder
	rows    []uint8
}

var jpegMemories = sync.Pool{New: func() any { return new(jpegMemory) }}

// maxKept is the largest file, in pixels and in bytes, whose memory is kept.
const maxKept = 1 << 24

// decodeJPEG reads baseline and progressive files of one (grey), three (YCbCr, RGB) or four (CMYK,
// YCCK) components.
func decodeJPEG(r *bufio.Reader, opt DecodeOptions) (*Image, error) {
	mem := jpegMemories.Get().(*jpegMemory)
	d := &mem.decoder
	mem.file.Reset()
	if err := opt.readInto(&mem.file, r); err != nil {
		return nil, err
	}
	data := mem.file.Bytes()
	if err := d.Head(data); err != nil {
		return nil, err
	}
	if err := opt.check(d.W, d.H); err != nil {
		return nil, err
	}
	m, err := jpegPixels(mem, data, opt)
	if err != nil {
		return nil, err
	}
	if opt.Orient {
		turned := orient(m, exifOrientation(d.Exif))
		if turned != m {
			opt.scratch.Release(m)
		}
		m = turned
	}
	if max(d.W*d.H, mem.file.Cap()) <= maxKept {
		jpegMemories.Put(mem)
	}
	return m, nil
}

// eighths is the scale at which a JPEG of w x h pixels is decoded.
func (o DecodeOptions) eighths(w, h int) int {
	n := 8
	for o.side > 0 && n > 1 && min(w, h)*n/2 >= o.side*8 {
		n /= 2
	}
	return n
}
