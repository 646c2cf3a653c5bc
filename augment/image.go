package augment

import (
	"bufio"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
)

// Image is an 8-bit RGB picture, interleaved and row-major: Pix[(y*W+x)*3+c], len(Pix) = H*W*3.
type Image struct {
	W, H int
	Pix  []uint8
}

// NewImage returns a black image of w x h pixels.
func NewImage(w, h int) *Image {
	if w < 1 || h < 1 {
		panic(fmt.Sprintf("augment: image of %dx%d pixels", w, h))
	}
	return &Image{W: w, H: h, Pix: make([]uint8, w*h*3)}
}

// Clone returns a copy that shares nothing with m.
func (m *Image) Clone() *Image {
	return &Image{W: m.W, H: m.H, Pix: append([]uint8(nil), m.Pix...)}
}

// Crop returns a copy of the pixels [x0,x1) x [y0,y1). The box must lie inside m and not be empty.
func (m *Image) Crop(x0, y0, x1, y1 int) *Image {
	m.checkBox(x0, y0, x1, y1)
	out := NewImage(x1-x0, y1-y0)
	m.cropInto(out, x0, y0)
	return out
}

func (m *Image) cropInto(out *Image, x0, y0 int) {
	for y := range out.H {
		copy(out.Pix[y*out.W*3:(y+1)*out.W*3], m.Pix[((y0+y)*m.W+x0)*3:])
	}
}

func (m *Image) checkBox(x0, y0, x1, y1 int) {
	if x0 < 0 || y0 < 0 || x1 > m.W || y1 > m.H || x0 >= x1 || y0 >= y1 {
		panic(fmt.Sprintf("augment: box (%d,%d)-(%d,%d) in an image of %dx%d", x0, y0, x1, y1, m.W, m.H))
	}
}

// CenterCrop returns the central w x h pixels as torchvision's center_crop does: the offset is
// (W-w)/2 rounded half to even, and an image that is too small is padded with black first.
func (m *Image) CenterCrop(w, h int) *Image {
	out := NewImage(w, h)
	m.centerCropInto(out)
	return out
}

func (m *Image) centerCropInto(out *Image) {
	w, h := out.W, out.H
	sx, dx, nx := centerSpan(m.W, w)
	sy, dy, ny := centerSpan(m.H, h)
	if nx < w || ny < h {
		clear(out.Pix)
	}
	for y := range ny {
		copy(out.Pix[((dy+y)*w+dx)*3:((dy+y)*w+dx+nx)*3], m.Pix[((sy+y)*m.W+sx)*3:])
	}
}

// centerSpan gives, along one axis, where to read, where to write and how much. Padding puts the
// smaller half in front, so the padded case truncates where the cropping case rounds.
func centerSpan(have, want int) (src, dst, n int) {
	if have < want {
		return 0, (want - have) / 2, have
	}
	return int(math.RoundToEven(float64(have-want) / 2)), 0, want
}

// FlipHorizontal mirrors m left to right, in place.
func (m *Image) FlipHorizontal() {
	for y := range m.H {
		row := m.Pix[y*m.W*3 : (y+1)*m.W*3]
		for i, j := 0, len(row)-3; i < j; i, j = i+3, j-3 {
			row[i], row[j] = row[j], row[i]
			row[i+1], row[j+1] = row[j+1], row[i+1]
			row[i+2], row[j+2] = row[j+2], row[i+2]
		}
	}
}

// FromImage converts any image of the standard library as Pillow's convert("RGB") would: alpha is
// dropped without compositing, grey is repeated, palettes are expanded, 16-bit samples keep their high
// byte, and chroma of 4:2:0, 4:2:2 and 4:4:0 images is interpolated.
//
// Pillow 9 clips 16-bit grey to 255 instead, which turns such a picture white; that is not followed.
func FromImage(src image.Image) *Image {
	b := src.Bounds()
	out := NewImage(b.Dx(), b.Dy())
	switch src := src.(type) {
	case *image.YCbCr:
		if b.Min.X%4 != 0 || b.Min.Y%4 != 0 { // the chroma grid does not start at this corner
			out.fromAny(src)
			break
		}
		out.fromYCbCr(src)
	case *image.Gray:
		for y := range out.H {
			row := src.Pix[src.PixOffset(b.Min.X, b.Min.Y+y):]
			for x := range out.W {
				out.set((y*out.W+x)*3, row[x], row[x], row[x])
			}
		}
	case *image.Gray16:
		for y := range out.H {
			row := src.Pix[src.PixOffset(b.Min.X, b.Min.Y+y):]
			for x := range out.W {
				out.set((y*out.W+x)*3, row[2*x], row[2*x], row[2*x])
			}
		}
	case *image.NRGBA:
		out.fromSamples(src.Pix, src.PixOffset(b.Min.X, b.Min.Y), src.Stride, 4, 1)
	case *image.NRGBA64:
		out.fromSamples(src.Pix, src.PixOffset(b.Min.X, b.Min.Y), src.Stride, 8, 2)
	case *image.RGBA:
		if !src.Opaque() {
			out.fromAny(src)
			break
		}
		out.fromSamples(src.Pix, src.PixOffset(b.Min.X, b.Min.Y), src.Stride, 4, 1)
	case *image.RGBA64:
		if !src.Opaque() {
			out.fromAny(src)
			break
		}
		out.fromSamples(src.Pix, src.PixOffset(b.Min.X, b.Min.Y), src.Stride, 8, 2)
	case *image.Paletted:
		out.fromPaletted(src)
	case *image.CMYK:
		out.fromCMYK(src)
	default:
		out.fromAny(src)
	}
	return out
}

func (m *Image) set(i int, r, g, b uint8) {
	p := m.Pix[i : i+3 : i+3]
	p[0], p[1], p[2] = r, g, b
}

// fromSamples reads pixels of the given size in bytes whose channels are step bytes apart, high byte first.
func (m *Image) fromSamples(pix []uint8, offset, stride, size, step int) {
	for y := range m.H {
		row := pix[offset+y*stride:]
		for x := range m.W {
			p := row[x*size : x*size+2*step+1]
			m.set((y*m.W+x)*3, p[0], p[step], p[2*step])
		}
	}
}

func (m *Image) fromPaletted(src *image.Paletted) {
	var table [256][3]uint8
	for i, c := range src.Palette {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		if i < 256 {
			table[i] = [3]uint8{n.R, n.G, n.B}
		}
	}
	for y := range m.H {
		row := src.Pix[src.PixOffset(src.Rect.Min.X, src.Rect.Min.Y+y):]
		for x := range m.W {
			c := table[row[x]]
			m.set((y*m.W+x)*3, c[0], c[1], c[2])
		}
	}
}

// fromCMYK follows Pillow's convert("RGB").
func (m *Image) fromCMYK(src *image.CMYK) {
	for y := range m.H {
		row := src.Pix[src.PixOffset(src.Rect.Min.X, src.Rect.Min.Y+y):]
		for x := range m.W {
			p := row[4*x : 4*x+4]
			white := 255 - int(p[3])
			m.set((y*m.W+x)*3, lessInk(p[0], white), lessInk(p[1], white), lessInk(p[2], white))
		}
	}
}

// lessInk is white, 255 less the black, minus the ink's share of it, rounded.
func lessInk(ink uint8, white int) uint8 {
	t := int(ink)*white + 128
	return uint8(max(0, white-(t>>8+t)>>8))
}

func (m *Image) fromAny(src image.Image) {
	b := src.Bounds()
	for y := range m.H {
		for x := range m.W {
			c := color.NRGBAModel.Convert(src.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA)
			m.set((y*m.W+x)*3, c.R, c.G, c.B)
		}
	}
}

// ToImage returns a copy of m for the standard library's encoders.
func (m *Image) ToImage() image.Image {
	out := image.NewRGBA(image.Rect(0, 0, m.W, m.H))
	for i, j := 0, 0; i < len(m.Pix); i, j = i+3, j+4 {
		out.Pix[j], out.Pix[j+1], out.Pix[j+2], out.Pix[j+3] = m.Pix[i], m.Pix[i+1], m.Pix[i+2], 255
	}
	return out
}

// WritePNG writes m to path. The file appears whole or not at all.
func (m *Image) WritePNG(path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("augment: write %s: %w", path, err)
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriter(f)
	if err = png.Encode(w, m.ToImage()); err != nil {
		return err
	}
	if err = w.Flush(); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
