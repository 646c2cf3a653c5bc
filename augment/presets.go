package augment

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// presets are published recipes by name; all are functions of the image size.
var presets = map[string]func(size int) Views{
	"simclr_cifar": func(size int) Views { return Alike(2, SimCLR(size)) },

	// Chen et al. (2020a) at strength 1: the colours of ImageNet's experiments.
	"simclr": func(size int) Views {
		return Alike(2, Policy{
			randomCrop(size, 0.08, Bilinear), flip, jitter(0.8, 0.8, 0.8, 0.2), RandomGrayscale{P: 0.2}, blurred(0.5, size),
		})
	},

	// He et al. (2020): jitter always and after grey, the flip last, no blur.
	"moco_v1": func(size int) Views {
		return Alike(2, Policy{
			randomCrop(size, 0.2, Bilinear), RandomGrayscale{P: 0.2}, Jittered(0.4, 0.4, 0.4, 0.4), flip,
		})
	},

	// Chen et al. (2020b); SimSiam too.
	"moco_v2": func(size int) Views {
		return Alike(2, Policy{
			randomCrop(size, 0.2, Bilinear), jitter(0.4, 0.4, 0.4, 0.1), RandomGrayscale{P: 0.2}, pillowBlurred(0.5), flip,
		})
	},

	// Grill et al. (2020), two unlike views.
	"byol": func(size int) Views {
		base := Policy{randomCrop(size, 0.08, Bicubic), flip, jitter(0.4, 0.4, 0.2, 0.1), RandomGrayscale{P: 0.2}}
		return Views{
			{Count: 1, Policy: append(slices.Clip(base), blurred(1, size))},
			{Count: 1, Policy: append(slices.Clip(base), blurred(0.1, size), RandomSolarize{Threshold: 128, P: 0.2})},
		}
	},

	// Zbontar et al. (2021) have BYOL's with Pillow's blur; VICReg too.
	"barlow": func(size int) Views {
		base := Policy{randomCrop(size, 0.08, Bicubic), flip, jitter(0.4, 0.4, 0.2, 0.1), RandomGrayscale{P: 0.2}}
		return Views{
			{Count: 1, Policy: append(slices.Clip(base), pillowBlurred(1))},
			{Count: 1, Policy: append(slices.Clip(base), pillowBlurred(0.1), RandomSolarize{Threshold: 128, P: 0.2})},
		}
	},

	// Caron et al. (2021): two large crops and eight small ones, 96 pixels beside 224.
	"dino": func(size int) Views {
		colours := Policy{flip, jitter(0.4, 0.4, 0.2, 0.1), RandomGrayscale{P: 0.2}}
		crop := func(size int, lo, hi float64, then ...Transform) Policy {
			c := randomCrop(size, lo, Bicubic)
			c.Scale[1] = hi
			return slices.Concat(Policy{c}, colours, then)
		}
		local := max(8, int(math.Round(float64(size)*96/224)))
		return Views{
			{Count: 1, Policy: crop(size, 0.4, 1, pillowBlurred(1))},
			{Count: 1, Policy: crop(size, 0.4, 1, pillowBlurred(0.1), RandomSolarize{Threshold: 128, P: 0.2})},
			{Count: 8, Size: local, Policy: crop(local, 0.05, 0.4, pillowBlurred(0.5))},
		}
	},

	// Khosla et al. (2020), the authors' code for CIFAR.
	"supcon": func(size int) Views {
		return Alike(2, Policy{randomCrop(size, 0.2, Bilinear), flip, jitter(0.4, 0.4, 0.4, 0.1), RandomGrayscale{P: 0.2}})
	},

	// He et al. (2022): crop and flip only.
	"mae": func(size int) Views {
		return Alike(1, Policy{randomCrop(size, 0.2, Bicubic), flip})
	},

	"autoencoder": func(size int) Views { return Alike(1, Mild(size)) },

	// Nothing random: the evaluation's resize and crop.
	"none": func(size int) Views {
		pre := EvalPreprocess(size)
		if pre.Resize == ResizeExact {
			return Alike(1, Policy{Resized{Size: Size{size, size}}})
		}
		return Alike(1, Policy{Resized{Size: Size{H: pre.ResizeTo}}, CenterCrop{Size{H: size}}})
	},
}

// Presets returns the names of published recipes, sorted.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// Preset returns the views of a published recipe for images of a size in pixels.
func Preset(name string, size int) (Views, error) {
	f, ok := presets[name]
	if !ok {
		return nil, fmt.Errorf("augment: unknown preset %q; there are %s", name, strings.Join(Presets(), ", "))
	}
	return f(size), nil
}

var flip = RandomHorizontalFlip{P: 0.5}

func randomCrop(size int, smallest float64, f Filter) RandomResizedCrop {
	return RandomResizedCrop{Size: Size{H: size}, Scale: [2]float64{smallest, 1}, Ratio: [2]float64{3. / 4, 4. / 3}, Interpolation: f}
}

func jitter(b, c, s, h float64) RandomApply {
	return RandomApply{P: 0.8, Transforms: Policy{Jittered(b, c, s, h)}}
}

// blurred has a kernel that spans a tenth of the image, as in SimCLR's appendix A.
func blurred(p float64, size int) Transform {
	return applied(p, GaussianBlur{Kernel: size/10 | 1, Sigma: Spreads{0.1, 2}})
}

func pillowBlurred(p float64) Transform { return applied(p, PillowBlur{Radius: Spreads{0.1, 2}}) }

func applied(p float64, t Transform) Transform {
	if p == 1 {
		return t
	}
	return RandomApply{P: p, Transforms: Policy{t}}
}

// SimCLR returns the augmentations of Chen et al. (2020) with the strengths published for CIFAR-10:
// random resized crop to size x size (8 to 100 % of the area), flip, colour jitter .4 .4 .4 .1 with
// probability .8, grey with .2, and above 64 pixels Gaussian blur with .5.
func SimCLR(size int) Policy {
	p := Policy{randomCrop(size, 0.08, Bilinear), flip, jitter(0.4, 0.4, 0.4, 0.1), RandomGrayscale{P: 0.2}}
	if size > 64 {
		p = append(p, blurred(0.5, size))
	}
	return p
}

// Mild returns the augmentations of autoencoders: the largest central square, above 64
// pixels a random box of 50 to 100 % of the area instead, resized to size x size, and
// flip.
func Mild(size int) Policy {
	crop := randomCrop(size, 1, Bilinear)
	crop.Ratio = [2]float64{1, 1}
	if size > 64 {
		crop.Scale, crop.Ratio = [2]float64{0.5, 1}, [2]float64{3. / 4, 4. / 3}
	}
	return Policy{crop, flip}
}
