package augment

import (
	"fmt"
)

// ResizeRule says how [Preprocess] scales an image before cropping.
type ResizeRule string

const (
	ResizeExact   ResizeRule = "exact"   // both sides to the given size, changing the aspect ratio
	ResizeShorter ResizeRule = "shorter" // the shorter side to ResizeTo, the longer in proportion (truncated)
	ResizeNone    ResizeRule = "none"    // leave the image as it is
)

// CropRule says how [Preprocess] cuts the resized image to its final size.
type CropRule string

const (
	CropCenter CropRule = "center" // see [Image.CenterCrop]; too small an image is padded with black
	CropNone   CropRule = "none"   // only after ResizeExact, which already gives the final size
)

// Preprocess describes how an image becomes the input of a network when nothing is random: resize,
// crop, scale to [0, 1], subtract Mean, divide by Std. It is written into a model's metadata and read
// back from there; the zero value is not valid, see [EvalPreprocess].
type Preprocess struct {
	Width, Height int        // of the network's input, in pixels
	Resize        ResizeRule // how the image is scaled
	ResizeTo      int        // pixels; ResizeShorter: the shorter side; ResizeExact: both sides, 0 for Width, Height
	Interpolation Filter
	Crop          CropRule
	Mean, Std     [3]float32 // per channel in the order of ChannelOrder, for samples in [0, 1]; Channels = 1 uses the first
	ChannelOrder  string     // "RGB" or "BGR"
	Channels      int        // 3, or 1: the luma (ITU-R 601, as Pillow's "L") alone
}

// Mean and standard deviation of ImageNet's training images, RGB in [0, 1].
var (
	ImageNetMean = [3]float32{0.485, 0.456, 0.406}
	ImageNetStd  = [3]float32{0.229, 0.224, 0.225}
)

// EvalPreprocess returns torchvision's usual evaluation preprocessing for a square input: up to 64
// pixels the whole image is resized to size x size; above, the shorter side is resized to size/0.875
// and the centre is cropped. Bilinear, RGB, ImageNet's mean and standard deviation.
func EvalPreprocess(size int) Preprocess {
	p := Preprocess{
		Width: size, Height: size,
		Resize: ResizeExact, Crop: CropNone,
		Interpolation: Bilinear,
		Mean:          ImageNetMean, Std: ImageNetStd,
		ChannelOrder: "RGB", Channels: 3,
	}
	if size > 64 {
		p.Resize, p.ResizeTo, p.Crop = ResizeShorter, size*8/7, CropCenter
	}
	return p
}

// Gray returns p for a network with one input channel: the luma, with the averages of Mean and Std.
func (p Preprocess) Gray() Preprocess {
	p.Channels = 1
	mean := (p.Mean[0] + p.Mean[1] + p.Mean[2]) / 3
	std := (p.Std[0] + p.Std[1] + p.Std[2]) / 3
	p.Mean, p.Std = [3]float32{mean, mean, mean}, [3]float32{std, std, std}
	return p
}

// maxSide bounds what a model's metadata can make the program allocate.
const maxSide = 1 << 13

// Validate returns an error that names the first field that is out of range. Every other method
// expects a valid p.
func (p Preprocess) Validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("augment: preprocessing: "+format, args...)
	}
	if p.Width < 1 || p.Height < 1 || p.Width > maxSide || p.Height > maxSide {
		return bad("size %dx%d: want 1 to %d pixels", p.Width, p.Height, maxSide)
	}
	switch p.Resize {
	case ResizeShorter:
		if p.ResizeTo < 1 || p.ResizeTo > maxSide {
			return bad("resize_to %d: want 1 to %d pixels", p.ResizeTo, maxSide)
		}
	case ResizeExact:
		if p.ResizeTo < 0 || p.ResizeTo > maxSide {
			return bad("resize_to %d: want 0 (the size) to %d pixels", p.ResizeTo, maxSide)
		}
	case ResizeNone:
	default:
		return bad("resize %q: want exact, shorter or none", p.Resize)
	}
	if p.Interpolation != Bilinear && p.Interpolation != Bicubic {
		return bad("interpolation %v: want bilinear or bicubic", p.Interpolation)
	}
	switch p.Crop {
	case CropCenter:
	case CropNone:
		fits := p.ResizeTo == 0 || p.ResizeTo == p.Width && p.ResizeTo == p.Height
		if p.Resize != ResizeExact || !fits {
			return bad("crop none after resize %s: the result would not always be %dx%d; use crop center", p.Resize, p.Width, p.Height)
		}
	default:
		return bad("crop %q: want center or none", p.Crop)
	}
	for c := range 3 {
		if !(p.Mean[c] >= -1e6 && p.Mean[c] <= 1e6) { // false for NaN
			return bad("mean %v: not a finite number", p.Mean)
		}
		if !(p.Std[c] > 1e-12 && p.Std[c] <= 1e6) {
			return bad("std %v: want positive numbers", p.Std)
		}
	}
	if p.ChannelOrder != "RGB" && p.ChannelOrder != "BGR" {
		return bad("channel_order %q: want RGB or BGR", p.ChannelOrder)
	}
	if p.Channels != 1 && p.Channels != 3 {
		return bad("channels %d: want 1 or 3", p.Channels)
	}
	return nil
}

// Len is the number of values in one tensor: Channels*Height*Width.
func (p Preprocess) Len() int { return p.Channels * p.Height * p.Width }

// Apply resizes and crops m to Width x Height, still 8-bit RGB. The result may be m itself.
func (p Preprocess) Apply(m *Image) *Image { return p.apply(m, nil) }

// apply is Apply with the memory of s, to which the result is to be released.
func (p Preprocess) apply(m *Image, s *Scratch) *Image {
	w, h := p.resized(m.W, m.H)
	// Of a very long image only the middle is kept; do not scale the rest up first.
	if p.Crop == CropCenter && w*h > MaxPixels {
		m, w, h = p.trim(m, w, h)
	}
	switch {
	case w == m.W && h == m.H && w == p.Width && h == p.Height:
		return m
	case w >= p.Width && h >= p.Height: // scale only what the crop keeps
		ox, _, _ := centerSpan(w, p.Width)
		oy, _, _ := centerSpan(h, p.Height)
		out := s.Image(p.Width, p.Height)
		m.resizePart(out, 0, 0, m.W, m.H, w, h, ox, oy, p.Interpolation)
		return out
	}
	if w != m.W || h != m.H {
		next := s.Image(w, h)
		m.resizeInto(next, 0, 0, m.W, m.H, p.Interpolation)
		m = next
	}
	out := s.Image(p.Width, p.Height)
	m.centerCropInto(out)
	s.Release(m)
	return out
}

// trim cuts the middle out of an image that would be scaled to w x h, at least four times as long as
// the crop needs, and returns it with its new scaled size.
func (p Preprocess) trim(m *Image, w, h int) (*Image, int, int) {
	if w >= h {
		keep := min(m.W, max(1, 4*max(p.Width, p.ResizeTo)*m.W/w+8))
		x0 := (m.W - keep) / 2
		return m.Crop(x0, 0, x0+keep, m.H), max(p.Width, w*keep/m.W), h
	}
	keep := min(m.H, max(1, 4*max(p.Height, p.ResizeTo)*m.H/h+8))
	y0 := (m.H - keep) / 2
	return m.Crop(0, y0, m.W, y0+keep), w, max(p.Height, h*keep/m.H)
}

// Tensor applies p to m and writes the normalised values to dst: [Channels, Height, Width], in the
// channel order of p. len(dst) must be p.Len().
func (p Preprocess) Tensor(dst []float32, m *Image) {
	p.normalizer().tensor(dst, p.Apply(m))
}

// Bytes applies p to m and writes the 8-bit samples to dst: [Height, Width, Channels], in the channel
// order of p, for models that normalise by themselves. len(dst) must be p.Len().
func (p Preprocess) Bytes(dst []uint8, m *Image) { p.pack(dst, p.Apply(m)) }

// pack writes m, which has the final size, to dst [Height, Width, Channels].
func (p Preprocess) pack(dst []uint8, m *Image) {
	p.checkLen(len(dst))
	switch {
	case p.Channels == 1:
		for i := range dst {
			dst[i] = luma(m.Pix[i*3], m.Pix[i*3+1], m.Pix[i*3+2])
		}
	case p.ChannelOrder == "BGR":
		for i := 0; i < len(dst); i += 3 {
			dst[i], dst[i+1], dst[i+2] = m.Pix[i+2], m.Pix[i+1], m.Pix[i]
		}
	default:
		copy(dst, m.Pix)
	}
}

func (p Preprocess) checkLen(n int) {
	if n != p.Len() {
		panic(fmt.Sprintf("augment: destination of %d values, want %dx%dx%d", n, p.Channels, p.Height, p.Width))
	}
}

// Image turns a normalised tensor [Channels, Height, Width] back into pixels, rounded and clipped: the
// inverse of [Preprocess.Tensor] up to its resizing, for looking at what a network sees.
func (p Preprocess) Image(src []float32) *Image {
	p.checkLen(len(src))
	out := NewImage(p.Width, p.Height)
	n := p.Width * p.Height
	for c := range 3 {
		plane := c
		if p.ChannelOrder == "BGR" {
			plane = 2 - c
		}
		if p.Channels == 1 {
			plane = 0
		}
		for i, v := range src[plane*n : (plane+1)*n] {
			v = (v*p.Std[plane]+p.Mean[plane])*255 + 0.5
			out.Pix[i*3+c] = uint8(min(max(v, 0), 255))
		}
	}
	return out
}

// normalizer maps 8-bit samples to float32 by table; the entries are computed in float32 as
// torchvision's ToTensor and Normalize do.
type normalizer struct {
	p     Preprocess
	table [3][256]float32 // by output channel
}

func (p Preprocess) normalizer() *normalizer {
	n := &normalizer{p: p}
	for c := range 3 {
		for v := range 256 {
			n.table[c][v] = (float32(v)/255 - p.Mean[c]) / p.Std[c]
		}
	}
	return n
}

// tensor writes m, which has the final size, to dst [Channels, Height, Width].
func (n *normalizer) tensor(dst []float32, m *Image) {
	n.p.checkLen(len(dst))
	if n.p.Channels == 1 {
		for i := range dst {
			dst[i] = n.table[0][luma(m.Pix[i*3], m.Pix[i*3+1], m.Pix[i*3+2])]
		}
		return
	}
	plane := n.p.Height * n.p.Width
	r, g, b := dst[:plane], dst[plane:2*plane], dst[2*plane:]
	tr, tg, tb := &n.table[0], &n.table[1], &n.table[2]
	if n.p.ChannelOrder == "BGR" {
		r, b = b, r
		tr, tb = tb, tr
	}
	pix := m.Pix[:3*plane]
	for i := range plane {
		r[i] = tr[pix[3*i]]
		g[i] = tg[pix[3*i+1]]
		b[i] = tb[pix[3*i+2]]
	}
}

// Window returns the part of an image of w x h pixels that the network sees, in pixels of the image:
// x0, y0 to x1, y1, from edge to edge. A crop larger than the resized image reaches beyond it.
func (p Preprocess) Window(w, h int) (x0, y0, x1, y1 float64) {
	rw, rh := p.resized(w, h)
	left, top := float64(cropOffset(rw, p.Width)), float64(cropOffset(rh, p.Height))
	sx, sy := float64(w)/float64(rw), float64(h)/float64(rh)
	return left * sx, top * sy, (left + float64(p.Width)) * sx, (top + float64(p.Height)) * sy
}

// cropOffset is where a central crop begins, negative where it is padded.
func cropOffset(have, want int) int {
	src, dst, _ := centerSpan(have, want)
	return src - dst
}

// resized returns the size of an image of w x h pixels before it is cropped.
func (p Preprocess) resized(w, h int) (int, int) {
	switch p.Resize {
	case ResizeExact:
		if p.ResizeTo > 0 {
			return p.ResizeTo, p.ResizeTo
		}
		return p.Width, p.Height
	case ResizeShorter:
		if w <= h {
			return p.ResizeTo, p.ResizeTo * h / w
		}
		return p.ResizeTo * w / h, p.ResizeTo
	}
	return w, h
}
