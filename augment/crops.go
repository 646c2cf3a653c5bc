package augment

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
)

// Size is a size in pixels. W = 0 stands for one number: a square, or for [Resized] the shorter side.
type Size struct{ H, W int }

func (s Size) sides() (h, w int) {
	if s.W == 0 {
		return s.H, s.H
	}
	return s.H, s.W
}

func (s Size) check() error {
	if h, w := s.sides(); h < 1 || w < 1 || h > maxSide || w > maxSide {
		return fmt.Errorf("size: got %v, want 1 to %d pixels", s, maxSide)
	}
	return nil
}

// String returns "32" or "[24, 32]", height first.
func (s Size) String() string {
	if s.W == 0 {
		return fmt.Sprint(s.H)
	}
	return fmt.Sprintf("[%d, %d]", s.H, s.W)
}

// RandomResizedCrop cuts out a box of random area and aspect ratio and resizes it, with antialias.
type RandomResizedCrop struct {
	Size          Size       `arg:"size,required"`
	Scale         [2]float64 `arg:"scale"` // area of the box as a share of the image, uniform
	Ratio         [2]float64 `arg:"ratio"` // width/height of the box, uniform in its logarithm
	Interpolation Filter     `arg:"interpolation"`
}

// Draw returns the box for an image of w x h pixels. After ten boxes that do not fit it is the largest
// central one whose ratio is in range, as in torchvision.
func (t RandomResizedCrop) Draw(r *rand.Rand, w, h int) image.Rectangle {
	area := float64(w) * float64(h)
	lo, hi := math.Log(t.Ratio[0]), math.Log(t.Ratio[1])
	for range 10 {
		target := area * uniform(r, t.Scale[0], t.Scale[1])
		ratio := math.Exp(uniform(r, lo, hi))
		bw := int(math.RoundToEven(math.Sqrt(target * ratio)))
		bh := int(math.RoundToEven(math.Sqrt(target / ratio)))
		if 0 < bw && bw <= w && 0 < bh && bh <= h {
			y, x := r.IntN(h-bh+1), r.IntN(w-bw+1)
			return image.Rect(x, y, x+bw, y+bh)
		}
	}
	bw, bh := w, h
	switch ratio := float64(w) / float64(h); {
	case ratio < t.Ratio[0]:
		bh = min(h, max(1, int(math.RoundToEven(float64(w)/t.Ratio[0]))))
	case ratio > t.Ratio[1]:
		bw = min(w, max(1, int(math.RoundToEven(float64(h)*t.Ratio[1]))))
	}
	x, y := (w-bw)/2, (h-bh)/2
	return image.Rect(x, y, x+bw, y+bh)
}

// Apply implements [Transform].
func (t RandomResizedCrop) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	b := t.Draw(r, m.W, m.H)
	h, w := t.Size.sides()
	out := s.Image(w, h)
	m.resizeInto(out, b.Min.X, b.Min.Y, b.Max.X, b.Max.Y, t.Interpolation)
	return out
}

func (t RandomResizedCrop) check() error {
	if err := checkRange("ratio", t.Ratio, 1e-3, 1e3); err != nil {
		return err
	}
	return checkRange("scale", t.Scale, 0, 1)
}

// RandomCrop cuts out a box of a given size at a random place, after padding. Where torchvision raises
// an error, because an image is smaller than the box, it is padded as with PadIfNeeded.
type RandomCrop struct {
	Size        Size    `arg:"size,required"`
	Padding     Padding `arg:"padding"`
	PadIfNeeded bool    `arg:"pad_if_needed"`
	Fill        RGB     `arg:"fill"`
	PaddingMode PadMode `arg:"padding_mode"`
}

// Padding is a number of pixels left, top, right, bottom.
type Padding [4]int

// Apply implements [Transform].
func (t RandomCrop) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	src := m
	pad := func(p Padding) {
		if p == (Padding{}) {
			return
		}
		next := padded(src, p, t.PaddingMode, t.Fill, s)
		s.releaseUnless(src, m)
		src = next
	}
	h, w := t.Size.sides()
	pad(t.Padding)
	// The whole of what is missing on both sides, as torchvision does.
	pad(Padding{max(0, w-src.W), 0, max(0, w-src.W), 0})
	pad(Padding{0, max(0, h-src.H), 0, max(0, h-src.H)})
	y, x := r.IntN(src.H-h+1), r.IntN(src.W-w+1)
	out := s.Image(w, h)
	src.cropInto(out, x, y)
	s.releaseUnless(src, m)
	return out
}

func (t RandomCrop) check() error { return checkPadding(t.Padding, t.PaddingMode) }

func checkPadding(p Padding, mode PadMode) error {
	for _, n := range p {
		if n < 0 || n > maxSide {
			return fmt.Errorf("padding: got %d, want 0 to %d pixels", n, maxSide)
		}
	}
	return checkOneOf("padding_mode", mode, PadConstant, PadEdge, PadReflect, PadSymmetric)
}

func padded(m *Image, p Padding, mode PadMode, fill RGB, s *Scratch) *Image {
	out := s.Image(m.W+p[0]+p[2], m.H+p[1]+p[3])
	m.padInto(out, p[0], p[1], mode, fill)
	return out
}

// Pad adds pixels on the four sides.
type Pad struct {
	Padding     Padding `arg:"padding,required"`
	Fill        RGB     `arg:"fill"`
	PaddingMode PadMode `arg:"padding_mode"`
}

// Apply implements [Transform].
func (t Pad) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	return padded(m, t.Padding, t.PaddingMode, t.Fill, s)
}

func (t Pad) check() error { return checkPadding(t.Padding, t.PaddingMode) }

// CenterCrop cuts out the middle; too small an image is padded with black.
type CenterCrop struct {
	Size Size `arg:"size,required"`
}

// Apply implements [Transform].
func (t CenterCrop) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	h, w := t.Size.sides()
	out := s.Image(w, h)
	m.centerCropInto(out)
	return out
}

// Resized scales to a size ("Resize" in a policy file, after torchvision); one number is the shorter side, the longer one in proportion and at most
// MaxSize (0: no limit). Of a result longer than 8192 pixels the middle is kept.
type Resized struct {
	Size          Size   `arg:"size,required"`
	Interpolation Filter `arg:"interpolation"`
	MaxSize       int    `arg:"max_size"`
}

// Apply implements [Transform].
func (t Resized) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	h, w := t.Size.H, t.Size.W
	if w == 0 {
		short, long := t.Size.H, t.Size.H*max(m.W, m.H)/min(m.W, m.H)
		if t.MaxSize > 0 && long > t.MaxSize {
			short, long = max(1, t.MaxSize*short/long), t.MaxSize
		}
		if w, h = long, short; m.W <= m.H {
			w, h = short, long
		}
	}
	// Of a picture of 1 x 100,000 pixels only the middle is scaled up.
	x0, y0, x1, y1 := 0, 0, m.W, m.H
	if w > maxSide {
		keep := max(1, m.W*maxSide/w)
		x0, w = (m.W-keep)/2, maxSide
		x1 = x0 + keep
	}
	if h > maxSide {
		keep := max(1, m.H*maxSide/h)
		y0, h = (m.H-keep)/2, maxSide
		y1 = y0 + keep
	}
	out := s.Image(w, h)
	m.resizeInto(out, x0, y0, x1, y1, t.Interpolation)
	return out
}

func (t Resized) check() error {
	switch {
	case t.MaxSize < 0 || t.MaxSize > maxSide:
		return fmt.Errorf("max_size: got %d, want 0 to %d pixels", t.MaxSize, maxSide)
	case t.MaxSize > 0 && t.Size.W != 0:
		return fmt.Errorf("max_size: goes with one number as size, got %v", t.Size)
	case t.MaxSize > 0 && t.MaxSize <= t.Size.H:
		return fmt.Errorf("max_size: got %d, want more than the size %d", t.MaxSize, t.Size.H)
	}
	return nil
}

// RandomHorizontalFlip mirrors left to right with probability P.
type RandomHorizontalFlip struct {
	P float64 `arg:"p"`
}

// Apply implements [Transform].
func (t RandomHorizontalFlip) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	if r.Float64() < t.P {
		m.FlipHorizontal()
	}
	return m
}

func (t RandomHorizontalFlip) check() error { return checkP(t.P) }

// RandomVerticalFlip mirrors top to bottom with probability P.
type RandomVerticalFlip struct {
	P float64 `arg:"p"`
}

// Apply implements [Transform].
func (t RandomVerticalFlip) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	if r.Float64() < t.P {
		m.FlipVertical()
	}
	return m
}

func (t RandomVerticalFlip) check() error { return checkP(t.P) }

// Degrees is a range of angles; one number d in a policy file stands for -d to d.
type Degrees [2]float64

// RandomRotation turns by a random angle, counter-clockwise.
type RandomRotation struct {
	Degrees       Degrees   `arg:"degrees,required"`
	Interpolation Filter    `arg:"interpolation"`
	Expand        bool      `arg:"expand"`
	Center        []float64 `arg:"center"` // x, y in pixels; nil for the image's centre
	Fill          RGB       `arg:"fill"`
}

// Draw returns the angle of one application.
func (t RandomRotation) Draw(r *rand.Rand) float64 { return uniform(r, t.Degrees[0], t.Degrees[1]) }

// Apply implements [Transform].
func (t RandomRotation) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	return m.rotate(Rotation{t.Draw(r), t.Interpolation, t.Expand, t.Center, t.Fill}, s)
}

func (t RandomRotation) check() error {
	if t.Expand && t.Center != nil {
		return fmt.Errorf("center: does not go with expand")
	}
	return checkTurn(t.Degrees, t.Center)
}

func checkTurn(d Degrees, center []float64) error {
	if center != nil {
		if len(center) != 2 {
			return fmt.Errorf("center: got %d numbers, want x and y", len(center))
		}
		if err := checkRange("center", [2]float64{min(center[0], center[1]), max(center[0], center[1])}, -maxSide, maxSide); err != nil {
			return err
		}
	}
	return checkRange("degrees", d, -1e6, 1e6)
}

// RandomAffine rotates, moves, scales and shears at random, on a canvas of the same size.
type RandomAffine struct {
	Degrees       Degrees   `arg:"degrees,required"` // clockwise
	Translate     []float64 `arg:"translate"`        // largest move, as shares of width and height; nil: none
	Scale         []float64 `arg:"scale"`            // smallest and largest factor; nil: 1
	Shear         []float64 `arg:"shear"`            // degrees: along x from the first to the second, along y third to fourth
	Interpolation Filter    `arg:"interpolation"`
	Fill          RGB       `arg:"fill"`
	Center        []float64 `arg:"center"` // x, y in pixels; nil for the image's centre
}

// Draw returns the parameters of one application to an image of w x h pixels.
func (t RandomAffine) Draw(r *rand.Rand, w, h int) Affine {
	a := Affine{Angle: uniform(r, t.Degrees[0], t.Degrees[1]), Scale: 1, Interpolation: t.Interpolation, Center: t.Center, Fill: t.Fill}
	if len(t.Translate) == 2 {
		dx, dy := t.Translate[0]*float64(w), t.Translate[1]*float64(h)
		a.Translate = [2]float64{math.RoundToEven(uniform(r, -dx, dx)), math.RoundToEven(uniform(r, -dy, dy))}
	}
	if len(t.Scale) == 2 {
		a.Scale = uniform(r, t.Scale[0], t.Scale[1])
	}
	for k := 0; k+1 < min(len(t.Shear), 4); k += 2 {
		a.Shear[k/2] = uniform(r, t.Shear[k], t.Shear[k+1])
	}
	return a
}

// Apply implements [Transform].
func (t RandomAffine) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	out := s.Image(m.W, m.H)
	m.affineInto(out, t.Draw(r, m.W, m.H))
	return out
}

func (t RandomAffine) check() error {
	if err := checkTurn(t.Degrees, t.Center); err != nil {
		return err
	}
	if n := len(t.Translate); n != 0 && n != 2 {
		return fmt.Errorf("translate: got %d numbers, want shares of width and height", n)
	}
	for _, v := range t.Translate {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("translate: got %g, want shares of 0 to 1", v)
		}
	}
	if n := len(t.Scale); n != 0 && n != 2 {
		return fmt.Errorf("scale: got %d numbers, want the smallest and the largest factor", n)
	}
	if t.Scale != nil {
		if err := checkRange("scale", [2]float64(t.Scale), 1e-3, 1e3); err != nil {
			return err
		}
	}
	if n := len(t.Shear); n != 0 && n != 2 && n != 4 {
		return fmt.Errorf("shear: got %d numbers, want 2 or 4 angles", n)
	}
	for k := 0; k+1 < len(t.Shear); k += 2 {
		if err := checkRange("shear", [2]float64(t.Shear[k:k+2]), -89, 89); err != nil {
			return err
		}
	}
	return nil
}

// RandomErasing fills a random box with probability P. It acts on 8-bit samples, before normalisation:
// Value 0 is black.
type RandomErasing struct {
	P     float64    `arg:"p"`
	Scale [2]float64 `arg:"scale"` // area of the box as a share of the image
	Ratio [2]float64 `arg:"ratio"` // height/width of the box
	Value Value      `arg:"value"`
}

// Value is a colour, or noise: every sample uniform over 0 to 255, as in Zhong et al., Random erasing
// data augmentation (2020).
type Value struct {
	Color  RGB
	Random bool
}

// Draw returns the box for an image of w x h pixels, ok false if ten boxes did not fit.
func (t RandomErasing) Draw(r *rand.Rand, w, h int) (box image.Rectangle, ok bool) {
	lo, hi := math.Log(t.Ratio[0]), math.Log(t.Ratio[1])
	for range 10 {
		area := float64(w*h) * uniform(r, t.Scale[0], t.Scale[1])
		ratio := math.Exp(uniform(r, lo, hi))
		bh := int(math.RoundToEven(math.Sqrt(area * ratio)))
		bw := int(math.RoundToEven(math.Sqrt(area / ratio)))
		if bh < h && bw < w {
			y, x := r.IntN(h-bh+1), r.IntN(w-bw+1)
			return image.Rect(x, y, x+bw, y+bh), true
		}
	}
	return image.Rectangle{}, false
}

// Apply implements [Transform].
func (t RandomErasing) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	if r.Float64() >= t.P {
		return m
	}
	b, ok := t.Draw(r, m.W, m.H)
	switch {
	case !ok || b.Empty():
	case t.Value.Random:
		for y := b.Min.Y; y < b.Max.Y; y++ {
			row := m.Pix[(y*m.W+b.Min.X)*3 : (y*m.W+b.Max.X)*3]
			for i := range row {
				row[i] = uint8(r.Uint32())
			}
		}
	default:
		m.Erase(b.Min.X, b.Min.Y, b.Max.X, b.Max.Y, t.Value.Color)
	}
	return m
}

func (t RandomErasing) check() error {
	if err := checkP(t.P); err != nil {
		return err
	}
	if err := checkRange("ratio", t.Ratio, 1e-3, 1e3); err != nil {
		return err
	}
	return checkRange("scale", t.Scale, 0, 1)
}
