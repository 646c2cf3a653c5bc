package augment

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// MaxPixels is the largest picture that is decoded unless another limit is given, 2^27 (about 134
// million) pixels. The header is checked before anything of that size is allocated; a 20,000 x 20,000
// image is refused.
const MaxPixels = 1 << 27

// ErrFormat says that the bytes are no picture in a format that can be read.
var ErrFormat = errors.New("not a JPEG, PNG, GIF, BMP, TIFF or WebP image")

// DecodeOptions are the choices in decoding. The zero value ignores EXIF orientation, as torchvision's
// loader does, and takes [MaxPixels].
type DecodeOptions struct {
	Orient    bool  // turn the picture upright by its EXIF orientation
	MaxPixels int64 // refuse larger pictures; 0: MaxPixels

	side    int      // decode JPEG at a reduced scale, see Reduced; 0: in full
	scratch *Scratch // lends the memory of a JPEG file's pixels; may be nil
}

func (o DecodeOptions) maxPixels() int64 {
	if o.MaxPixels > 0 {
		return o.MaxPixels
	}
	return MaxPixels
}

// check refuses a header before its pixels are allocated.
func (o DecodeOptions) check(w, h int) error {
	if w < 1 || h < 1 {
		return fmt.Errorf("the header says %dx%d pixels", w, h)
	}
	if limit := o.maxPixels(); int64(w) > limit/int64(h) {
		return fmt.Errorf("the header says %dx%d pixels, more than the limit of %d: scale the image down first, or raise the limit", w, h, limit)
	}
	return nil
}

// Decode reads one image as RGB, as Pillow's convert("RGB") gives it, see [FromImage]: JPEG (baseline,
// progressive; grey, YCbCr, RGB, CMYK, YCCK), PNG, the first frame of a GIF, BMP, TIFF and WebP.
func Decode(r io.Reader) (*Image, error) { return DecodeWith(r, DecodeOptions{}) }

// DecodeWith is Decode with options.
func DecodeWith(r io.Reader, opt DecodeOptions) (*Image, error) {
	m, err := decode(r, opt)
	if err != nil {
		return nil, fmt.Errorf("augment: decode: %w", err)
	}
	return m, nil
}

// DecodeFile reads the image in the file named path. Errors name the file.
func DecodeFile(path string) (*Image, error) { return DecodeFileWith(path, DecodeOptions{}) }

// DecodeFileWith is DecodeFile with options.
func DecodeFileWith(path string, opt DecodeOptions) (*Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("augment: %w", err)
	}
	defer f.Close()
	m, err := decode(f, opt)
	if err != nil {
		return nil, fmt.Errorf("augment: decode %s: %w", path, err)
	}
	return m, nil
}

// readers are used again, by one decoder after the other.
var readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

func decode(r io.Reader, opt DecodeOptions) (m *Image, err error) {
	br := readers.Get().(*bufio.Reader)
	br.Reset(r)
	defer func() {
		br.Reset(nil)
		readers.Put(br)
	}()
	head, err := br.Peek(sniffLen)
	if len(head) == 0 {
		if err == nil || err == io.EOF {
			return nil, errors.New("the file is empty")
		}
		return nil, err
	}
	f := sniffImage(head)
	if f == nil {
		if err != nil && err != io.EOF {
			return nil, err
		}
		return nil, ErrFormat
	}
	// The decoders of others are fuzzed, and have panicked before.
	defer func() {
		if p := recover(); p != nil {
			m, err = nil, fmt.Errorf("the %s decoder failed on it: %v", f.name, p)
		}
	}()
	m, err = f.decode(br, opt)
	return m, eofIsUnexpected(err)
}

// An io.EOF that leaves a decoder means that the file ends too early; callers would take it for the
// regular end of a stream.
func eofIsUnexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readAll reads a whole file for the decoders that jump about in it. No picture of the allowed size
// needs more than 8 bytes a pixel, metadata aside; what is longer is no picture.
func (o DecodeOptions) readAll(r io.Reader) ([]byte, error) {
	var b bytes.Buffer
	err := o.readInto(&b, r)
	return b.Bytes(), err
}

// readInto is readAll into a buffer.
func (o DecodeOptions) readInto(b *bytes.Buffer, r io.Reader) error {
	limit := 8*o.maxPixels() + maxHead
	n, err := b.ReadFrom(io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("it is longer than %d bytes, which no image of %d pixels needs", limit, o.maxPixels())
	}
	return err
}
