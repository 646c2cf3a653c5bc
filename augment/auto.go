package augment

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// RandAugment applies NumOps operations of a fixed list at one strength: Cubuk et al., RandAugment
// (2020), with torchvision's list.
type RandAugment struct {
	NumOps        int    `arg:"num_ops"`
	Magnitude     int    `arg:"magnitude"` // 0 to Bins-1
	Bins          int    `arg:"num_magnitude_bins"`
	Interpolation Filter `arg:"interpolation"`
	Fill          RGB    `arg:"fill"`
}

// Apply implements [Transform].
func (t RandAugment) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	for range t.NumOps {
		op := randOps[r.IntN(len(randOps))]
		next := op.apply(m, r, s, op.at(t.Magnitude, t.Bins, m), t.Interpolation, t.Fill)
		s.releaseUnless(m, next)
		m = next
	}
	return m
}

func (t RandAugment) check() error {
	switch {
	case t.NumOps < 0 || t.NumOps > 100:
		return fmt.Errorf("num_ops: got %d, want 0 to 100", t.NumOps)
	case t.Bins < 2 || t.Bins > 1000:
		return fmt.Errorf("num_magnitude_bins: got %d, want 2 to 1000", t.Bins)
	case t.Magnitude < 0 || t.Magnitude >= t.Bins:
		return fmt.Errorf("magnitude: got %d, want 0 to %d", t.Magnitude, t.Bins-1)
	}
	return nil
}

// TrivialAugmentWide applies one operation of a fixed list at a random strength: Müller and Hutter,
// TrivialAugment (2021), with torchvision's wide list.
type TrivialAugmentWide struct {
	Bins          int    `arg:"num_magnitude_bins"`
	Interpolation Filter `arg:"interpolation"`
	Fill          RGB    `arg:"fill"`
}

// Apply implements [Transform].
func (t TrivialAugmentWide) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	op := trivialOps[r.IntN(len(trivialOps))]
	bin := 0
	if op.high != op.low {
		bin = r.IntN(t.Bins)
	}
	return op.apply(m, r, s, op.at(bin, t.Bins, m), t.Interpolation, t.Fill)
}

func (t TrivialAugmentWide) check() error {
	if t.Bins < 2 || t.Bins > 1000 {
		return fmt.Errorf("num_magnitude_bins: got %d, want 2 to 1000", t.Bins)
	}
	return nil
}

// autoOp is an operation whose strength grows from low to high over the bins.
type autoOp struct {
	kind      autoKind
	low, high float64
}

type autoKind int

const (
	opIdentity autoKind = iota
	opShearX
	opShearY
	opTranslateX
	opTranslateY
	opRotate
	opBrightness
	opColor
	opContrast
	opSharpness
	opPosterize
	opSolarize
	opAutoContrast
	opEqualize
)

// Translations of RandAugment are shares of the side, those of TrivialAugment pixels.
var (
	randOps = []autoOp{
		{opIdentity, 0, 0}, {opShearX, 0, 0.3}, {opShearY, 0, 0.3},
		{opTranslateX, 0, 150. / 331}, {opTranslateY, 0, 150. / 331}, {opRotate, 0, 30},
		{opBrightness, 0, 0.9}, {opColor, 0, 0.9}, {opContrast, 0, 0.9}, {opSharpness, 0, 0.9},
		{opPosterize, 8, 4}, {opSolarize, 255, 0}, {opAutoContrast, 0, 0}, {opEqualize, 0, 0},
	}
	trivialOps = []autoOp{
		{opIdentity, 0, 0}, {opShearX, 0, 0.99}, {opShearY, 0, 0.99},
		{opTranslateX, 0, 32}, {opTranslateY, 0, 32}, {opRotate, 0, 135},
		{opBrightness, 0, 0.99}, {opColor, 0, 0.99}, {opContrast, 0, 0.99}, {opSharpness, 0, 0.99},
		{opPosterize, 8, 2}, {opSolarize, 255, 0}, {opAutoContrast, 0, 0}, {opEqualize, 0, 0},
	}
)

// at is the strength in one of a number of bins, for an image.
func (o autoOp) at(bin, bins int, m *Image) float64 {
	v := o.low + (o.high-o.low)*float64(bin)/float64(bins-1)
	if o.high < 1 { // a share of the side
		switch o.kind {
		case opTranslateX:
			return v * float64(m.W)
		case opTranslateY:
			return v * float64(m.H)
		}
	}
	if o.kind == opPosterize {
		return o.low - math.RoundToEven(o.low-v)
	}
	return v
}

// apply carries the operation out at strength v, with a random sign where it has two directions.
func (o autoOp) apply(m *Image, r *rand.Rand, s *Scratch, v float64, f Filter, fill RGB) *Image {
	if o.kind >= opShearX && o.kind <= opSharpness && r.IntN(2) == 1 {
		v = -v
	}
	a := Affine{Scale: 1, Interpolation: f, Fill: fill}
	switch o.kind {
	case opShearX, opShearY:
		a.Shear[o.kind-opShearX] = math.Atan(v) * 180 / math.Pi
		a.Center = topLeft
	case opTranslateX, opTranslateY:
		a.Translate[o.kind-opTranslateX] = math.Trunc(v)
	case opRotate:
		return m.rotate(Rotation{Angle: v, Interpolation: f, Fill: fill}, s)
	case opBrightness:
		m.AdjustBrightness(1 + v)
	case opColor:
		m.AdjustSaturation(1 + v)
	case opContrast:
		m.AdjustContrast(1 + v)
	case opSharpness:
		m.adjustSharpness(1+v, s)
	case opPosterize:
		m.Posterize(int(v))
	case opSolarize:
		m.Solarize(int(math.Ceil(v)))
	case opAutoContrast:
		m.Autocontrast()
	case opEqualize:
		m.Equalize()
	}
	if o.kind < opShearX || o.kind > opTranslateY {
		return m
	}
	out := s.Image(m.W, m.H)
	m.affineInto(out, a)
	return out
}

var topLeft = []float64{0, 0}
