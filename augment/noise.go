package augment

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// NoiseKind says how images are spoilt for a denoising autoencoder (Vincent et al.,
// 2010, "Stacked denoising autoencoders").
type NoiseKind string

const (
	NoiseGaussian   NoiseKind = "gaussian"   // Level: standard deviation, of values in 0..1
	NoiseMasking    NoiseKind = "masking"    // Level: share of pixels that become 0
	NoiseSaltPepper NoiseKind = "saltpepper" // Level: share of pixels that become 0 or 1, evenly
)

// Noise spoils images of values in 0..1: x*keep + add, limited to 0..1, where Draw
// draws keep and add. Masking and salt and pepper strike all channels of a pixel
// together. The zero value leaves images as they are.
type Noise struct {
	Kind  NoiseKind
	Level float64
}

// DefaultLevel returns the usual level of a kind: 0.2, for masking 0.3 and for salt
// and pepper 0.1.
func (k NoiseKind) DefaultLevel() float64 {
	switch k {
	case NoiseMasking:
		return 0.3
	case NoiseSaltPepper:
		return 0.1
	}
	return 0.2
}

// Validate reports an unknown kind or a level out of range.
func (n Noise) Validate() error {
	kinds := []string{string(NoiseGaussian), string(NoiseMasking), string(NoiseSaltPepper)}
	most := 1.0
	switch n.Kind {
	case "":
		if n.Level != 0 {
			return fmt.Errorf("augment: a noise level of %g without a kind of noise: choose %s", n.Level, strings.Join(kinds, ", "))
		}
		return nil
	case NoiseGaussian:
		most = 10
	case NoiseMasking, NoiseSaltPepper:
	default:
		return fmt.Errorf("augment: unknown noise %q: choose %s", n.Kind, strings.Join(kinds, ", "))
	}
	if !(n.Level > 0 && n.Level <= most) {
		return fmt.Errorf("augment: the noise level is %g, want more than 0 and at most %g for %s", n.Level, most, n.Kind)
	}
	return nil
}

// Draw fills keep and add: [images, channels, pixels]. The same random stream gives
// the same noise; either may be nil.
func (n Noise) Draw(r *rand.Rand, images, channels, pixels int, keep, add []float32) {
	for i := range keep {
		keep[i] = 1
	}
	clear(add)
	switch n.Kind {
	case NoiseGaussian:
		for i := range add {
			add[i] = float32(n.Level * r.NormFloat64())
		}
	case NoiseMasking, NoiseSaltPepper:
		for at := range images * pixels {
			if r.Float64() >= n.Level {
				continue
			}
			value := float32(0)
			if n.Kind == NoiseSaltPepper && r.Uint64()&1 == 1 {
				value = 1
			}
			for c := range channels {
				i := (at/pixels*channels+c)*pixels + at%pixels
				if keep != nil {
					keep[i] = 0
				}
				if add != nil {
					add[i] = value
				}
			}
		}
	}
}

// Apply spoils x: [images, channels, pixels], values in 0..1, in place.
func (n Noise) Apply(r *rand.Rand, x []float32, channels, pixels int) {
	if n.Kind == "" {
		return
	}
	keep, add := make([]float32, len(x)), make([]float32, len(x))
	n.Draw(r, len(x)/(channels*pixels), channels, pixels, keep, add)
	for i := range x {
		x[i] = min(max(x[i]*keep[i]+add[i], 0), 1)
	}
}
