package augment

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"strings"
)

// A Transform is one step of a [Policy]. Apply draws its parameters from r and returns the result; it
// may change m in place and return it. The named transforms also have a Draw method, which draws the
// parameters without touching pixels.
type Transform interface {
	Apply(m *Image, r *rand.Rand) *Image
}

// Policy is a list of transforms, applied in order.
type Policy []Transform

// Apply returns an augmented view of m, drawn from r. m itself is left as it is.
func (p Policy) Apply(m *Image, r *rand.Rand) *Image {
	if len(p) == 0 {
		return m.Clone()
	}
	if _, fresh := p[0].(RandomResizedCrop); !fresh {
		m = m.Clone()
	}
	for _, t := range p {
		m = t.Apply(m, r)
	}
	return m
}

// SimCLR returns the augmentations of Chen et al. (2020) with the strengths published for CIFAR-10:
// random resized crop to size x size (8 to 100 % of the area), flip, colour jitter .4 .4 .4 .1 with
// probability .8, grey with .2, and above 64 pixels Gaussian blur with .5.
func SimCLR(size int) Policy {
	p := Policy{
		RandomResizedCrop{Width: size, Height: size, Scale: [2]float64{0.08, 1}, Ratio: [2]float64{3. / 4, 4. / 3}},
		RandomHorizontalFlip{P: 0.5},
		RandomApply{P: 0.8, Transform: ColorJitter{Brightness: 0.4, Contrast: 0.4, Saturation: 0.4, Hue: 0.1}},
		RandomGrayscale{P: 0.2},
	}
	if size > 64 {
		// The kernel spans a tenth of the image, as in the paper's appendix A.
		p = append(p, RandomApply{P: 0.5, Transform: GaussianBlur{Kernel: size/10 | 1, Sigma: [2]float64{0.1, 2}}})
	}
	return p
}

// Mild returns the augmentations of autoencoders: the largest central square, above 64
// pixels a random box of 50 to 100 % of the area instead, resized to size x size, and
// flip.
func Mild(size int) Policy {
	crop := RandomResizedCrop{Width: size, Height: size, Scale: [2]float64{1, 1}, Ratio: [2]float64{1, 1}}
	if size > 64 {
		crop.Scale, crop.Ratio = [2]float64{0.5, 1}, [2]float64{3. / 4, 4. / 3}
	}
	return Policy{crop, RandomHorizontalFlip{P: 0.5}}
}

// RandomResizedCrop cuts out a box of random area and aspect ratio and resizes it, with antialias.
type RandomResizedCrop struct {
	Width, Height int        // of the result, in pixels
	Scale         [2]float64 // area of the box as a share of the image, uniform
	Ratio         [2]float64 // width/height of the box, uniform in its logarithm
	Interpolation Filter
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
func (t RandomResizedCrop) Apply(m *Image, r *rand.Rand) *Image {
	b := t.Draw(r, m.W, m.H)
	return ResizeBox(m, b.Min.X, b.Min.Y, b.Max.X, b.Max.Y, t.Width, t.Height, t.Interpolation)
}

// RandomHorizontalFlip mirrors with probability P.
type RandomHorizontalFlip struct{ P float64 }

// Apply implements [Transform].
func (t RandomHorizontalFlip) Apply(m *Image, r *rand.Rand) *Image {
	if r.Float64() < t.P {
		m.FlipHorizontal()
	}
	return m
}

// RandomGrayscale makes the image grey with probability P.
type RandomGrayscale struct{ P float64 }

// Apply implements [Transform].
func (t RandomGrayscale) Apply(m *Image, r *rand.Rand) *Image {
	if r.Float64() < t.P {
		m.Grayscale()
	}
	return m
}

// RandomSolarize inverts samples at or above Threshold with probability P (BYOL's second view).
type RandomSolarize struct {
	P         float64
	Threshold int
}

// Apply implements [Transform].
func (t RandomSolarize) Apply(m *Image, r *rand.Rand) *Image {
	if r.Float64() < t.P {
		m.Solarize(t.Threshold)
	}
	return m
}

// RandomApply applies another transform with probability P.
type RandomApply struct {
	P         float64
	Transform Transform
}

// Apply implements [Transform].
func (t RandomApply) Apply(m *Image, r *rand.Rand) *Image {
	if r.Float64() < t.P {
		return t.Transform.Apply(m, r)
	}
	return m
}

// ColorJitter changes brightness, contrast, saturation and hue in random order. A strength v draws a
// factor uniformly from [max(0, 1-v), 1+v]; Hue draws from [-Hue, Hue], at most 0.5. What has strength
// 0 is left out.
type ColorJitter struct {
	Brightness, Contrast, Saturation, Hue float64
}

// Adjustment names one step of a [Jitter].
type Adjustment uint8

const (
	Brightness Adjustment = iota
	Contrast
	Saturation
	Hue
)

// Jitter holds drawn parameters of [ColorJitter].
type Jitter struct {
	Order  [4]Adjustment // a permutation
	Factor [4]float64    // by Adjustment
	Skip   [4]bool       // by Adjustment
}

// Draw returns the parameters of one application.
func (t ColorJitter) Draw(r *rand.Rand) Jitter {
	var j Jitter
	for i, o := range r.Perm(4) {
		j.Order[i] = Adjustment(o)
	}
	for a, v := range [4]float64{t.Brightness, t.Contrast, t.Saturation} {
		j.Factor[a] = uniform(r, max(0, 1-v), 1+v)
		j.Skip[a] = v == 0
	}
	j.Factor[Hue] = uniform(r, -t.Hue, t.Hue)
	j.Skip[Hue] = t.Hue == 0
	return j
}

// Apply makes the adjustments in place.
func (j Jitter) Apply(m *Image) {
	for _, a := range j.Order {
		if j.Skip[a] {
			continue
		}
		switch f := j.Factor[a]; a {
		case Brightness:
			m.AdjustBrightness(f)
		case Contrast:
			m.AdjustContrast(f)
		case Saturation:
			m.AdjustSaturation(f)
		case Hue:
			m.AdjustHue(f)
		}
	}
}

// Apply implements [Transform].
func (t ColorJitter) Apply(m *Image, r *rand.Rand) *Image {
	t.Draw(r).Apply(m)
	return m
}

// GaussianBlur blurs with a standard deviation drawn uniformly from Sigma, in pixels.
type GaussianBlur struct {
	Kernel int // odd, in pixels
	Sigma  [2]float64
}

// Draw returns the standard deviation of one application.
func (t GaussianBlur) Draw(r *rand.Rand) float64 { return uniform(r, t.Sigma[0], t.Sigma[1]) }

// Apply implements [Transform].
func (t GaussianBlur) Apply(m *Image, r *rand.Rand) *Image {
	return m.GaussianBlur(t.Kernel, t.Draw(r))
}

func uniform(r *rand.Rand, lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }

// String lists the transforms with their parameters.
func (p Policy) String() string {
	s := ""
	for i, t := range p {
		if i > 0 {
			s += ", "
		}
		s += describe(t)
	}
	return s
}

func describe(t Transform) string {
	if a, ok := t.(RandomApply); ok {
		return fmt.Sprintf("RandomApply{P:%v %s}", a.P, describe(a.Transform))
	}
	return strings.TrimPrefix(fmt.Sprintf("%T%+v", t, t), "augment.")
}
