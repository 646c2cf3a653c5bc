package augment

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"

	"golang.org/x/image/webp"
)

// decodeWebP reads lossy and lossless WebP, of an animation the first frame. Alpha is dropped.
func decodeWebP(r *bufio.Reader, opt DecodeOptions) (*Image, error) {
	data, err := opt.readAll(r)
	if err != nil {
		return nil, err
	}
	file, err := readWebP(data)
	if err != nil {
		return nil, err
	}
	c, err := webp.DecodeConfig(bytes.NewReader(file.still))
	if err != nil {
		return nil, err
	}
	if err := opt.check(c.Width, c.Height); err != nil {
		return nil, err
	}
	src, err := webp.Decode(bytes.NewReader(file.still))
	if err != nil {
		return nil, err
	}
	var m *Image
	switch src := src.(type) {
	case *image.YCbCr:
		m = fromVP8(src)
	case *image.NYCbCrA:
		m = fromVP8(&src.YCbCr)
	default:
		m = FromImage(src)
	}
	if file.w > 0 { // a frame of an animation, on a canvas that is black
		if err := opt.check(file.w, file.h); err != nil {
			return nil, err
		}
		if file.x+m.W > file.w || file.y+m.H > file.h {
			return nil, fmt.Errorf("the first frame of %dx%d pixels at %d, %d leaves the picture of %dx%d", m.W, m.H, file.x, file.y, file.w, file.h)
		}
		if m.W != file.w || m.H != file.h {
			whole := NewImage(file.w, file.h)
			for y := range m.H {
				copy(whole.Pix[((file.y+y)*whole.W+file.x)*3:], m.Pix[y*m.W*3:(y+1)*m.W*3])
			}
			m = whole
		}
	}
	if opt.Orient {
		m = orient(m, exifOrientation(file.exif))
	}
	return m, nil
}

// webpFile is what the chunks of a WebP file hold.
type webpFile struct {
	still []byte // a file of one picture: the whole, or the first frame of an animation
	exif  []byte
	// The canvas of an animation, and where its first frame lies; w is 0 for a still picture.
	w, h, x, y int
}

// https://developers.google.com/speed/webp/docs/riff_container
func readWebP(data []byte) (webpFile, error) {
	f := webpFile{still: data}
	var canvas []byte
	var err error
	frame := false
	chunks(data[12:], func(kind string, body []byte) bool {
		switch {
		case kind == "VP8X" && len(body) >= 10 && body[0]&2 != 0:
			canvas = body
		case kind == "EXIF" && f.exif == nil:
			f.exif = bytes.TrimPrefix(body, []byte("Exif\x00\x00"))
		case kind == "ANMF" && !frame:
			frame = true
			if canvas == nil || len(body) < 16 {
				err = errors.New("the animation has no canvas, or a frame without header")
				return false
			}
			f.w, f.h = uint24(canvas[4:])+1, uint24(canvas[7:])+1
			f.x, f.y = 2*uint24(body), 2*uint24(body[3:])
			f.still = stillWebP(body)
		}
		return true
	})
	if err == nil && canvas != nil && !frame {
		err = errors.New("the animation has no frame")
	}
	return f, err
}

// stillWebP makes a file of the frame of an animation.
func stillWebP(frame []byte) []byte {
	out := []byte("RIFF\x00\x00\x00\x00WEBP")
	chunks(frame[16:], func(kind string, body []byte) bool {
		if kind == "ALPH" { // wants the extended header
			head := make([]byte, 10)
			head[0] = 1 << 4
			copy(head[4:], frame[6:12]) // width and height
			out = appendChunk(out, "VP8X", head)
		}
		out = appendChunk(out, kind, body)
		return kind == "ALPH"
	})
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out
}

func appendChunk(out []byte, kind string, body []byte) []byte {
	out = append(out, kind...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(body)))
	out = append(out, body...)
	return append(out, make([]byte, len(body)&1)...)
}

// chunks calls f for each whole chunk until it returns false.
func chunks(b []byte, f func(kind string, body []byte) bool) {
	for len(b) >= 8 {
		n := uint64(binary.LittleEndian.Uint32(b[4:]))
		if n > uint64(len(b)-8) {
			return
		}
		if !f(string(b[:4]), b[8:8+n]) {
			return
		}
		b = b[min(8+n+n&1, uint64(len(b))):]
	}
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// fromVP8 converts as libwebp does: chroma interpolated over two by two samples, weighted 9:3:3:1, and
// the colours of television (BT.601, luma 16 to 235), where JPEG's use the whole range.
func fromVP8(src *image.YCbCr) *Image {
	w, h := src.Rect.Dx(), src.Rect.Dy()
	m := NewImage(w, h)
	cw, ch := (w+1)/2, (h+1)/2
	line := func(plane []uint8, y int) []uint8 { return plane[min(max(y, 0), ch-1)*src.CStride:][:cw] }
	cb, cr := make([]uint8, w), make([]uint8, w)
	for y := range h {
		near, far := y/2, y/2+1
		if y%2 == 0 {
			far = y/2 - 1
		}
		upsampleVP8(cb, line(src.Cb, near), line(src.Cb, far))
		upsampleVP8(cr, line(src.Cr, near), line(src.Cr, far))
		luma, out := src.Y[y*src.YStride:], m.Pix[y*w*3:]
		for x := range w {
			m := func(v uint8, factor int) int { return int(v) * factor >> 8 }
			l := m(luma[x], 19077)
			out[3*x] = clip8((l + m(cr[x], 26149) - 14234) >> 6)
			out[3*x+1] = clip8((l - m(cb[x], 6419) - m(cr[x], 13320) + 8708) >> 6)
			out[3*x+2] = clip8((l + m(cb[x], 33050) - 17685) >> 6)
		}
	}
	return m
}

// upsampleVP8 doubles a row of chroma: near is the row of the samples, far the next nearest one. The
// intermediate rounding is libwebp's.
func upsampleVP8(dst, near, far []uint8) {
	edge := func(i int) uint8 { return uint8((3*int(near[i]) + int(far[i]) + 2) >> 2) }
	dst[0] = edge(0)
	for i := 1; i < len(near); i++ {
		nl, n, fl, f := int(near[i-1]), int(near[i]), int(far[i-1]), int(far[i])
		sum := nl + n + fl + f + 8
		a := (sum + 2*(n+fl)) >> 3
		b := (sum + 2*(nl+f)) >> 3
		dst[2*i-1] = uint8((a + nl) >> 1)
		dst[2*i] = uint8((b + n) >> 1)
	}
	if last := len(dst) - 1; last > 0 && last%2 == 1 {
		dst[last] = edge(len(near) - 1)
	}
}
