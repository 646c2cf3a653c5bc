package augment

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"os"
)

// MaxPixels is the largest picture that is decoded, 2^27 (about 134 million) pixels. The header is
// checked before anything of that size is allocated; a 20,000 x 20,000 image is refused.
const MaxPixels = 1 << 27

// ErrFormat says that the bytes are neither JPEG nor PNG.
var ErrFormat = errors.New("not a JPEG or PNG image")

// Decode reads one JPEG or PNG image as RGB, see [FromImage]. EXIF orientation is ignored, as
// torchvision's loader does. An image of more than [MaxPixels] pixels is an error.
func Decode(r io.Reader) (*Image, error) {
	m, err := decode(r)
	if err != nil {
		return nil, fmt.Errorf("augment: decode: %w", err)
	}
	return m, nil
}

// DecodeFile reads the image in the file named path. Errors name the file.
func DecodeFile(path string) (*Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("augment: %w", err)
	}
	defer f.Close()
	m, err := decode(f)
	if err != nil {
		return nil, fmt.Errorf("augment: decode %s: %w", path, err)
	}
	return m, nil
}

func decode(r io.Reader) (*Image, error) {
	br := bufio.NewReader(r)
	head, err := br.Peek(len(pngMagic))
	if len(head) == 0 {
		if err == nil || err == io.EOF {
			return nil, errors.New("the file is empty")
		}
		return nil, err
	}
	config, pixels := jpeg.DecodeConfig, jpeg.Decode
	switch sniffImage(head) {
	case "png":
		config, pixels = png.DecodeConfig, png.Decode
	case "":
		if err != nil && err != io.EOF {
			return nil, err
		}
		return nil, ErrFormat
	}
	// What the header takes is kept for the second reading, so that r need not seek.
	var seen bytes.Buffer
	cfg, err := config(io.TeeReader(br, &seen))
	if err != nil {
		return nil, eofIsUnexpected(err)
	}
	if cfg.Width < 1 || cfg.Height < 1 {
		return nil, fmt.Errorf("the header says %dx%d pixels", cfg.Width, cfg.Height)
	}
	if int64(cfg.Width)*int64(cfg.Height) > MaxPixels {
		return nil, fmt.Errorf("the header says %dx%d pixels, more than the limit of %d: scale the image down first",
			cfg.Width, cfg.Height, MaxPixels)
	}
	var src image.Image
	if src, err = pixels(io.MultiReader(&seen, br)); err != nil {
		return nil, eofIsUnexpected(err)
	}
	return FromImage(src), nil
}

// An io.EOF that leaves a decoder means that the file ends too early; callers would take it for the
// regular end of a stream.
func eofIsUnexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

const (
	pngMagic  = "\x89PNG\r\n\x1a\n"
	jpegMagic = "\xff\xd8"
)

// sniffImage tells the image format of a file from its first bytes: "png", "jpeg" or "".
func sniffImage(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte(pngMagic)):
		return "png"
	case bytes.HasPrefix(head, []byte(jpegMagic)):
		return "jpeg"
	}
	return ""
}
