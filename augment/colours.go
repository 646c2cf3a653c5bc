package augment

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Factors is a range of factors to be drawn from uniformly; the zero value leaves the adjustment out.
type Factors [2]float64

// Around returns the factors from max(0, 1-v) to 1+v, torchvision's meaning of one number.
func Around(v float64) Factors {
	if v == 0 {
		return Factors{}
	}
	return Factors{max(0, 1-v), 1 + v}
}

// Turns is a range of shares of the circle of hues, -0.5 to 0.5; a number v in a policy file stands for
// -v to v. The zero value leaves the adjustment out.
type Turns [2]float64

// ColorJitter changes brightness, contrast, saturation and hue in random order. What has no range is
// left out.
type ColorJitter struct {
	Brightness Factors `arg:"brightness"`
	Contrast   Factors `arg:"contrast"`
	Saturation Factors `arg:"saturation"`
	Hue        Turns   `arg:"hue"`
}

// Jittered returns a ColorJitter by torchvision's four numbers.
func Jittered(brightness, contrast, saturation, hue float64) ColorJitter {
	return ColorJitter{Around(brightness), Around(contrast), Around(saturation), Turns{-hue, hue}}
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
	j := Jitter{Order: [4]Adjustment{Brightness, Contrast, Saturation, Hue}}
	r.Shuffle(len(j.Order), func(a, b int) { j.Order[a], j.Order[b] = j.Order[b], j.Order[a] })
	for a, v := range [...][2]float64{t.Brightness, t.Contrast, t.Saturation, t.Hue} {
		j.Skip[a] = v == [2]float64{}
		j.Factor[a] = uniform(r, v[0], v[1])
	}
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
func (t ColorJitter) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	t.Draw(r).Apply(m)
	return m
}

func (t ColorJitter) check() error {
	for name, v := range map[string]Factors{"brightness": t.Brightness, "contrast": t.Contrast, "saturation": t.Saturation} {
		if err := checkRange(name, v, 0, 1e3); err != nil {
			return err
		}
	}
	return checkRange("hue", t.Hue, -0.5, 0.5)
}

// RandomGrayscale makes the image grey with probability P.
type RandomGrayscale struct {
	P float64 `arg:"p"`
}

// Apply implements [Transform].
func (t RandomGrayscale) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	if r.Float64() < t.P {
		m.Grayscale()
	}
	return m
}

func (t RandomGrayscale) check() error { return checkP(t.P) }

// GaussianBlur blurs with a standard deviation drawn uniformly from Sigma, in pixels.
type GaussianBlur struct {
	Kernel int     `arg:"kernel_size,required"` // odd, in pixels
	Sigma  Spreads `arg:"sigma"`
}

// Spreads is a range of standard deviations in pixels; one number in a policy file stands for itself.
type Spreads [2]float64

// Draw returns the standard deviation of one application.
func (t GaussianBlur) Draw(r *rand.Rand) float64 { return uniform(r, t.Sigma[0], t.Sigma[1]) }

// Apply implements [Transform].
func (t GaussianBlur) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	m.blur(t.Kernel, t.Draw(r))
	return m
}

func (t GaussianBlur) check() error {
	if t.Kernel < 1 || t.Kernel%2 == 0 || t.Kernel > maxSide {
		return fmt.Errorf("kernel_size: got %d, want an odd number of pixels", t.Kernel)
	}
	return checkRange("sigma", t.Sigma, 1e-3, 1e3)
}

// PillowBlur blurs as Pillow's ImageFilter.GaussianBlur with a radius drawn uniformly, see
// [Image.PillowBlur]. It is none of torchvision's; the code of MoCo v2, DINO and Barlow Twins has it.
type PillowBlur struct {
	Radius Spreads `arg:"radius"`
}

// Apply implements [Transform].
func (t PillowBlur) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	m.pillowBlur(uniform(r, t.Radius[0], t.Radius[1]), s)
	return m
}

func (t PillowBlur) check() error { return checkRange("radius", t.Radius, 0, 1e3) }

// RandomSolarize inverts samples at or above Threshold with probability P (BYOL's second view).
type RandomSolarize struct {
	Threshold float64 `arg:"threshold,required"`
	P         float64 `arg:"p"`
}

// Apply implements [Transform].
func (t RandomSolarize) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	if r.Float64() < t.P {
		m.Solarize(int(math.Ceil(t.Threshold)))
	}
	return m
}

func (t RandomSolarize) check() error {
	if !(t.Threshold >= 0 && t.Threshold <= 256) {
		return fmt.Errorf("threshold: got %g, want 0 to 256", t.Threshold)
	}
	return checkP(t.P)
}

// RandomPosterize keeps the highest bits of each sample with probability P.
type RandomPosterize struct {
	Bits int     `arg:"bits,required"` // 0 to 8
	P    float64 `arg:"p"`
}

// Apply implements [Transform].
func (t RandomPosterize) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	if r.Float64() < t.P {
		m.Posterize(t.Bits)
	}
	return m
}

func (t RandomPosterize) check() error {
	if t.Bits < 0 || t.Bits > 8 {
		return fmt.Errorf("bits: got %d, want 0 to 8", t.Bits)
	}
	return checkP(t.P)
}

// RandomInvert inverts with probability P.
type RandomInvert struct {
	P float64 `arg:"p"`
}

// Apply implements [Transform].
func (t RandomInvert) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	if r.Float64() < t.P {
		m.Invert()
	}
	return m
}

func (t RandomInvert) check() error { return checkP(t.P) }

// RandomAutocontrast stretches each channel over all values with probability P.
type RandomAutocontrast struct {
	P float64 `arg:"p"`
}

// Apply implements [Transform].
func (t RandomAutocontrast) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	if r.Float64() < t.P {
		m.Autocontrast()
	}
	return m
}

func (t RandomAutocontrast) check() error { return checkP(t.P) }

// RandomEqualize equalises the histogram of each channel with probability P.
type RandomEqualize struct {
	P float64 `arg:"p"`
}

// Apply implements [Transform].
func (t RandomEqualize) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	if r.Float64() < t.P {
		m.Equalize()
	}
	return m
}

func (t RandomEqualize) check() error { return checkP(t.P) }

// RandomAdjustSharpness sharpens (factor above 1) or smooths (below) with probability P.
type RandomAdjustSharpness struct {
	Factor float64 `arg:"sharpness_factor,required"`
	P      float64 `arg:"p"`
}

// Apply implements [Transform].
func (t RandomAdjustSharpness) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	if r.Float64() < t.P {
		m.adjustSharpness(t.Factor, s)
	}
	return m
}

func (t RandomAdjustSharpness) check() error {
	if !(t.Factor >= 0 && t.Factor <= 1e3) {
		return fmt.Errorf("sharpness_factor: got %g, want 0 or more", t.Factor)
	}
	return checkP(t.P)
}
