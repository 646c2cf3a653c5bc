//go:build !libjpeg || !cgo

package augment

import (
	"bufio"
	"bytes"
	"image"
	"image/jpeg"
	"io"
)

// Decoders names what decodes JPEG: the standard library, with chroma and colours of our own. With the
// build tag libjpeg it is libjpeg-turbo through cgo.
const Decoders = "Go"

const canReduce = false

// jpegPixels decodes what stands behind a header that was checked.
func jpegPixels(h *jpegHead, r *bufio.Reader, _ DecodeOptions) (*Image, error) {
	if h.components == 4 {
		h.plainCMYK()
	}
	src, err := jpeg.Decode(io.MultiReader(bytes.NewReader(h.bytes), r))
	if err != nil {
		return nil, err
	}
	if cmyk, ok := src.(*image.CMYK); ok {
		return fromAdobe(cmyk, h.transform != 0, h.subsampled), nil
	}
	return FromImage(src), nil
}

// plainCMYK makes the header say that the four components are to be left as they are. The standard
// library's decoder then gives them unchanged; asked for the colours of YCCK it would repeat chroma,
// and without an Adobe marker it would refuse, where libjpeg takes CMYK.
func (h *jpegHead) plainCMYK() {
	if h.adobe != 0 {
		h.bytes[h.adobe+2+11] = 0
		return
	}
	marker := append([]byte("\xff\xd8\xff\xee\x00\x0eAdobe"), make([]byte, 7)...)
	h.bytes = append(marker, h.bytes[2:]...) // without its start of image
}

// fromAdobe converts four components as libjpeg and Pillow do: YCCK to CMYK, subsampled components
// interpolated; samples inverted as Adobe writes them (so Pillow reads every file of four components);
// CMYK to RGB without a profile. src holds 255 minus each sample, subsampled ones repeated.
func fromAdobe(src *image.CMYK, ycck, subsampled bool) *Image {
	w, h := src.Rect.Dx(), src.Rect.Dy()
	c := chroma{sx: 1, sy: 1, cw: w, ch: h}
	if subsampled {
		c = chroma{sx: 2, sy: 2, cw: (w + 1) / 2, ch: (h + 1) / 2}
	}
	c.stride = c.cw
	c.cb, c.cr = make([]uint8, c.cw*c.ch), make([]uint8, c.cw*c.ch)
	for y := range c.ch {
		for x := range c.cw {
			p := src.Pix[y*c.sy*src.Stride+x*c.sx*4:]
			c.cb[y*c.cw+x], c.cr[y*c.cw+x] = 255-p[1], 255-p[2]
		}
	}
	m := NewImage(w, h)
	first, second, third := make([]uint8, w), make([]uint8, c.cw*c.sx), make([]uint8, c.cw*c.sx)
	for y := range h {
		c.row(y, second, third)
		in, out := src.Pix[y*src.Stride:], m.Pix[y*w*3:(y+1)*w*3]
		for x := range w {
			first[x] = 255 - in[4*x]
		}
		if ycck {
			yccToRGB(out, first, second, third)
		} else {
			for x := range w {
				out[3*x], out[3*x+1], out[3*x+2] = 255-first[x], 255-second[x], 255-third[x]
			}
		}
		for x := range w { // out holds cyan, magenta and yellow
			white := 255 - int(in[4*x+3])
			p := out[3*x : 3*x+3]
			p[0], p[1], p[2] = lessInk(p[0], white), lessInk(p[1], white), lessInk(p[2], white)
		}
	}
	return m
}
