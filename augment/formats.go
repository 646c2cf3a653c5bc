package augment

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// format is a file format of single pictures.
type format struct {
	name     string
	suffixes []string
	is       func(head []byte) bool // tells it by the first sniffLen bytes, or all there are
	decode   func(r *bufio.Reader, opt DecodeOptions) (*Image, error)
}

// maxHead bounds what may stand before the pixels: metadata, thumbnails, colour profiles.
const maxHead = 16 << 20

var errLongHead = errors.New("more than 16 MiB of metadata stand before the pixels")

// sniffLen is how many bytes tell a format.
const sniffLen = 18

// knownFormats is made at first use, so that decoders may refer to it.
var knownFormats = sync.OnceValue(formats)

func formats() []format {
	return []format{
		{"JPEG", []string{".jpg", ".jpeg", ".jpe", ".jfif"}, magic("\xff\xd8"), decodeJPEG},
		{"PNG", []string{".png"}, magic(pngMagic), decodePNG},
		{"GIF", []string{".gif"}, magic("GIF87a", "GIF89a"), decodeGIF},
		{"BMP", []string{".bmp"}, isBMP, decodeBMP},
		{"TIFF", []string{".tif", ".tiff"}, magic("II*\x00", "MM\x00*"), decodeTIFF},
		{"WebP", []string{".webp"}, isWebP, decodeWebP},
	}
}

func magic(any ...string) func([]byte) bool {
	return func(head []byte) bool {
		return slices.ContainsFunc(any, func(m string) bool { return bytes.HasPrefix(head, []byte(m)) })
	}
}

// isBMP looks at more than the two letters, which a list of files may begin with: reserved bytes that
// are zero, and the size of the second header.
func isBMP(head []byte) bool {
	if len(head) < 18 || string(head[:2]) != "BM" || binary.LittleEndian.Uint32(head[6:]) != 0 {
		return false
	}
	return slices.Contains([]uint32{12, 40, 52, 56, 64, 108, 124}, binary.LittleEndian.Uint32(head[14:]))
}

func isWebP(head []byte) bool {
	return len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WEBP"
}

// sniffImage tells the format of a picture from its first bytes; nil when it is none.
func sniffImage(head []byte) *format {
	for _, f := range knownFormats() {
		if f.is(head) {
			return &f
		}
	}
	return nil
}

// imageSuffixes are the ends of names that are taken for pictures.
var imageSuffixes = func() []string {
	var out []string
	for _, f := range knownFormats() {
		out = append(out, f.suffixes...)
	}
	return out
}()

func isImageName(name string) bool {
	return slices.Contains(imageSuffixes, strings.ToLower(filepath.Ext(name)))
}

// standard decodes with the usual pair of functions, the header first.
func standard(r io.Reader, opt DecodeOptions, config func(io.Reader) (image.Config, error), pixels func(io.Reader) (image.Image, error)) (image.Image, error) {
	// What the header takes is kept for the second reading, so that r need not seek.
	var seen bytes.Buffer
	c, err := config(io.TeeReader(r, &seen))
	if err != nil {
		return nil, err
	}
	if err := opt.check(c.Width, c.Height); err != nil {
		return nil, err
	}
	return pixels(io.MultiReader(&seen, r))
}

const pngMagic = "\x89PNG\r\n\x1a\n"

func decodePNG(r *bufio.Reader, opt DecodeOptions) (*Image, error) {
	var in io.Reader = r
	orientation := 1
	if opt.Orient {
		head, exif, err := readPNGHead(r)
		if err != nil {
			return nil, err
		}
		orientation = exifOrientation(exif)
		in = io.MultiReader(bytes.NewReader(head), r)
	}
	src, err := standard(in, opt, png.DecodeConfig, png.Decode)
	if err != nil {
		return nil, err
	}
	return orient(FromImage(src), orientation), nil
}

// readPNGHead reads the chunks before the pixels and returns them, and the EXIF block among them.
func readPNGHead(r io.Reader) (head, exif []byte, err error) {
	head = make([]byte, len(pngMagic))
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, nil, err
	}
	for {
		var start [8]byte // length and type
		if _, err := io.ReadFull(r, start[:]); err != nil {
			return nil, nil, err
		}
		head = append(head, start[:]...)
		n := int64(binary.BigEndian.Uint32(start[:]))
		kind := string(start[4:])
		if kind == "IDAT" || kind == "IEND" {
			return head, exif, nil
		}
		if n+4+int64(len(head)) > maxHead {
			return nil, nil, errLongHead
		}
		at := len(head)
		head, err = appendN(head, r, n+4) // and a checksum
		if err != nil {
			return nil, nil, err
		}
		if kind == "eXIf" && exif == nil {
			exif = head[at : int64(at)+n]
		}
	}
}

// appendN appends n bytes of r, allocating no more than are there.
func appendN(b []byte, r io.Reader, n int64) ([]byte, error) {
	buf := bytes.NewBuffer(b)
	m, err := io.CopyN(buf, r, n)
	if m < n && (err == nil || err == io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return buf.Bytes(), err
}

func decodeBMP(r *bufio.Reader, opt DecodeOptions) (*Image, error) {
	src, err := standard(r, opt, bmp.DecodeConfig, bmp.Decode)
	if err != nil {
		return nil, err
	}
	return FromImage(src), nil
}

func decodeTIFF(r *bufio.Reader, opt DecodeOptions) (*Image, error) {
	data, err := opt.readAll(r)
	if err != nil {
		return nil, err
	}
	at := func() io.Reader { return bytes.NewReader(data) }
	c, err := tiff.DecodeConfig(at())
	if err != nil {
		return nil, err
	}
	if err := opt.check(c.Width, c.Height); err != nil {
		return nil, err
	}
	src, err := tiff.Decode(at())
	if err != nil {
		return nil, err
	}
	m := FromImage(src)
	// Fax coding (compression 2 to 4) of 0 for black: the package takes white runs for white, libtiff
	// and so Pillow for 0.
	if c := tiffValue(data, 259); c >= 2 && c <= 4 && tiffValue(data, 262) == 1 {
		for i, v := range m.Pix {
			m.Pix[i] = 255 - v
		}
	}
	if opt.Orient {
		m = orient(m, exifOrientation(data))
	}
	return m, nil
}

// decodeGIF reads the first frame. Where it does not cover the picture the rest has the background of
// Pillow: the frame's transparent colour, else the first of the palette.
func decodeGIF(r *bufio.Reader, opt DecodeOptions) (*Image, error) {
	head, fill, err := readGIFHead(r)
	if err != nil {
		return nil, err
	}
	src, err := standard(io.MultiReader(bytes.NewReader(head), r), opt, gif.DecodeConfig, gif.Decode)
	if err != nil {
		return nil, err
	}
	frame, ok := src.(*image.Paletted)
	if !ok || frame.Rect.Empty() {
		return nil, errors.New("the first frame has no palette or no pixels")
	}
	w, h := int(binary.LittleEndian.Uint16(head[6:])), int(binary.LittleEndian.Uint16(head[8:]))
	if frame.Rect == image.Rect(0, 0, w, h) {
		return FromImage(frame), nil
	}
	whole := NewImage(w, h)
	if fill < len(frame.Palette) {
		c := color.NRGBAModel.Convert(frame.Palette[fill]).(color.NRGBA)
		for i := 0; i < len(whole.Pix); i += 3 {
			whole.set(i, c.R, c.G, c.B)
		}
	}
	part, to := FromImage(frame), frame.Rect.Min
	for y := range part.H {
		copy(whole.Pix[((to.Y+y)*w+to.X)*3:], part.Pix[y*part.W*3:(y+1)*part.W*3])
	}
	return whole, nil
}

// readGIFHead reads up to the first frame and takes out its mark of transparency: convert("RGB") keeps
// the colour that the palette gives the transparent index, the standard library makes it black. It
// returns that index, 0 without one.
func readGIFHead(r io.Reader) (head []byte, transparent int, err error) {
	next := func(n int) []byte {
		at := len(head)
		if err == nil && at+n > maxHead {
			err = errLongHead
		}
		if err == nil {
			head, err = appendN(head, r, int64(n))
		}
		if err != nil {
			return make([]byte, n)
		}
		return head[at:]
	}
	if screen := next(13); screen[10]&0x80 != 0 {
		next(3 << (screen[10]&7 + 1)) // the palette
	}
	for err == nil {
		if next(1)[0] != '!' {
			return head, transparent, err // a frame, or what is no GIF
		}
		control := next(1)[0] == 0xf9
		for err == nil {
			n := int(next(1)[0])
			if n == 0 {
				break
			}
			block := next(n)
			if control && n == 4 && block[0]&1 != 0 {
				block[0] &^= 1
				transparent = int(block[3])
			}
		}
	}
	return nil, 0, err
}
