//go:build libjpeg && cgo

package augment

import (
	"github.com/sslrt/sslrt/augment/internal/libjpeg"
)

// Decoders names what decodes JPEG: libjpeg-turbo through cgo, which the build tag libjpeg asks for, or this
// package itself. At full size both give Pillow's pixels exactly.
const Decoders = "libjpeg"

// jpegPixels decodes a file whose header was read.
func jpegPixels(mem *jpegMemory, data []byte, opt DecodeOptions) (*Image, error) {
	d := &mem.decoder
	eighths := opt.eighths(d.W, d.H)
	width, height := (d.W*eighths+7)/8, (d.H*eighths+7)/8
	if d.Components != 4 {
		m := opt.scratch.Image(width, height)
		if err := libjpeg.Decode(m.Pix, data, width, height, d.Components, eighths); err != nil {
			opt.scratch.Release(m)
			return nil, err
		}
		return m, nil
	}
	out := make([]uint8, 4*width*height)
	if err := libjpeg.Decode(out, data, width, height, 4, eighths); err != nil {
		return nil, err
	}
	m := NewImage(width, height) // inverted, as Adobe writes it and Pillow reads it
	for i := range width * height {
		p, white := out[4*i:4*i+4], int(out[4*i+3])
		m.set(3*i, lessInk(255-p[0], white), lessInk(255-p[1], white), lessInk(255-p[2], white))
	}
	return m, nil
}
