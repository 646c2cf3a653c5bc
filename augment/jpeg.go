package augment

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// jpegHead is what stands before the first scan of a JPEG file.
type jpegHead struct {
	bytes      []byte // from the start of the file up to the first scan
	w, h       int
	components int
	subsampled bool // of four components: the second and third have half the width and height
	frame      int  // where the frame header lies in bytes; 0: there is none
	adobe      int  // where the Adobe marker lies in bytes; 0: there is none
	transform  byte // what the Adobe marker says: 0 as they are, 1 YCbCr, 2 YCCK
	exif       []byte
}

// maxHead bounds what may stand before the pixels: metadata, thumbnails, colour profiles.
const maxHead = 16 << 20

var errLongHead = errors.New("more than 16 MiB of metadata stand before the pixels")

// readJPEGHead reads up to the first scan. It is as lenient as the decoder that reads the rest: what
// lies between two markers is skipped.
func readJPEGHead(r *bufio.Reader) (*jpegHead, error) {
	h := &jpegHead{}
	for {
		marker, err := h.marker(r)
		if err != nil {
			return nil, err
		}
		if marker == 0xd9 { // end of image
			return nil, errors.New("the file ends before its pixels")
		}
		if marker >= 0xd0 && marker <= 0xd8 {
			continue // alone, without a length
		}
		start := len(h.bytes)
		var size [2]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return nil, eofIsUnexpected(err)
		}
		n := int(binary.BigEndian.Uint16(size[:]))
		if n < 2 {
			return nil, errors.New("a segment is shorter than its own length")
		}
		if start+n > maxHead {
			return nil, errLongHead
		}
		h.bytes = append(h.bytes, size[:]...)
		h.bytes = append(h.bytes, make([]byte, n-2)...)
		segment := h.bytes[start+2:]
		if _, err := io.ReadFull(r, segment); err != nil {
			return nil, eofIsUnexpected(err)
		}
		switch {
		case marker == 0xda: // start of scan: the pixels follow
			return h, nil
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc:
			if err := h.frameHeader(start, marker, segment); err != nil {
				return nil, err
			}
		case marker == 0xee && len(segment) >= 12 && string(segment[:5]) == "Adobe":
			h.adobe, h.transform = start, segment[11]
		case marker == 0xe1 && bytes.HasPrefix(segment, []byte("Exif\x00\x00")) && h.exif == nil:
			h.exif = bytes.Clone(segment[6:])
		}
	}
}

// marker reads to the next marker and returns its code.
func (h *jpegHead) marker(r *bufio.Reader) (byte, error) {
	last := byte(0)
	for range maxHead {
		b, err := r.ReadByte()
		if err != nil {
			return 0, eofIsUnexpected(err)
		}
		if last == 0xff && b != 0 && b != 0xff {
			h.bytes = append(h.bytes, last, b)
			return b, nil
		}
		last = b
	}
	return 0, errLongHead
}

func (h *jpegHead) frameHeader(start int, marker byte, s []byte) error {
	switch {
	case h.frame != 0:
		return errors.New("two frame headers")
	case marker > 0xc2:
		return fmt.Errorf("unsupported JPEG: process %d (lossless, hierarchical or arithmetic coding)", marker-0xc0)
	case len(s) < 6 || len(s) != 6+3*int(s[5]):
		return errors.New("the frame header has the wrong length")
	case s[0] != 8:
		return fmt.Errorf("unsupported JPEG: %d bits per sample", s[0])
	}
	h.frame = start
	h.h, h.w, h.components = int(binary.BigEndian.Uint16(s[1:])), int(binary.BigEndian.Uint16(s[3:])), int(s[5])
	h.subsampled = h.components == 4 && s[7] == 0x22 && s[10] == 0x11
	return nil
}

// decodeJPEG reads baseline and progressive files of one (grey), three (YCbCr, RGB) or four (CMYK,
// YCCK) components.
func decodeJPEG(r *bufio.Reader, opt DecodeOptions) (*Image, error) {
	h, err := readJPEGHead(r)
	if err != nil {
		return nil, err
	}
	if h.frame == 0 {
		return nil, errors.New("there is no frame header before the pixels")
	}
	if err := opt.check(h.w, h.h); err != nil {
		return nil, err
	}
	m, err := jpegPixels(h, r, opt)
	if err != nil {
		return nil, err
	}
	if opt.Orient {
		m = orient(m, exifOrientation(h.exif))
	}
	return m, nil
}
