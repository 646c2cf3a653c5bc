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

const canReduce = true

// jpegPixels decodes what stands behind a header that was checked.
func jpegPixels(h *jpegHead, r *bufio.Reader, opt DecodeOptions) (*Image, error) {
	data, err := opt.readAll(io.MultiReader(bytes.NewReader(h.bytes), r))
	if err != nil {
		return nil, err
	}
	eighths := opt.eighths(h.w, h.h)
	width, height := (h.w*eighths+7)/8, (h.h*eighths+7)/8
	out, err := libjpeg.Decode(data, width, height, h.components, eighths)
	if err != nil {
		return nil, err
	}
	if h.components != 4 {
		return &Image{W: width, H: height, Pix: out}, nil
	}
	m := NewImage(width, height) // inverted, as Adobe writes it and Pillow reads it
	for i := range width * height {
		p, white := out[4*i:4*i+4], int(out[4*i+3])
		m.set(3*i, lessInk(255-p[0], white), lessInk(255-p[1], white), lessInk(255-p[2], white))
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
