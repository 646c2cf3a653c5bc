//go:build libjpeg && cgo

package augment

import (
	"bufio"
	"bytes"
	"io"

	"github.com/sslrt/sslrt/augment/internal/libjpeg"
)

// Decoders names what decodes JPEG: libjpeg-turbo through cgo, which the build tag libjpeg asks for. It
// gives Pillow's pixels exactly.
const Decoders = "libjpeg"

// jpegPixels decodes what stands behind a header that was checked.
func jpegPixels(h *jpegHead, r *bufio.Reader, opt DecodeOptions) (*Image, error) {
	data, err := opt.readAll(io.MultiReader(bytes.NewReader(h.bytes), r))
	if err != nil {
		return nil, err
	}
	out, err := libjpeg.Decode(data, h.w, h.h, h.components)
	if err != nil {
		return nil, err
	}
	if h.components != 4 {
		return &Image{W: h.w, H: h.h, Pix: out}, nil
	}
	m := NewImage(h.w, h.h) // inverted, as Adobe writes it and Pillow reads it
	for i := range h.w * h.h {
		p, white := out[4*i:4*i+4], int(out[4*i+3])
		m.set(3*i, lessInk(255-p[0], white), lessInk(255-p[1], white), lessInk(255-p[2], white))
	}
	return m, nil
}
