package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/engine"
)

// augmentParams are the parameters of all kinds of group augment.
type augmentParams struct {
	Boxes         map[string][4]int `json:"boxes_top_left_height_width"`
	PipelineBoxes map[string][4]int `json:"boxes"`
	Size          pair              // down, right
	Interpolation string

	Top, Left, Height, Width int

	Factor     float64
	Angle      float64
	Expand     bool
	Center     []float64
	Translate  [2]float64
	Scale      float64
	Shear      [2]float64
	Fill       colour
	Border     [4]int `json:"left_top_right_bottom"`
	Mode       augment.PadMode
	I, J, H, W int
	V          []uint8
	Bits       int
	Radius     float64
	Threshold  int
	KernelSize int `json:"kernel_size"`
	Sigma      float64
	Mean, Std  [3]float32
	Steps      []string
	Sequence   []adjustment
}

// colour is one number for all channels, or three.
type colour augment.RGB

func (c *colour) UnmarshalJSON(data []byte) error {
	var v uint8
	if json.Unmarshal(data, &v) == nil {
		*c = colour{v, v, v}
		return nil
	}
	return json.Unmarshal(data, (*augment.RGB)(c))
}

// adjustment is a name and a factor, ["hue", 0.1].
type adjustment struct {
	name   string
	factor float64
}

func (a *adjustment) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&a.name, &a.factor})
}

func (a adjustment) apply(m *augment.Image) error {
	switch a.name {
	case "brightness":
		m.AdjustBrightness(a.factor)
	case "contrast":
		m.AdjustContrast(a.factor)
	case "saturation":
		m.AdjustSaturation(a.factor)
	case "hue":
		m.AdjustHue(a.factor)
	case "gamma":
		m.AdjustGamma(a.factor)
	case "sharpness":
		m.AdjustSharpness(a.factor)
	default:
		return uncovered("no adjustment %q", a.name)
	}
	return nil
}

// augmentKinds change an image called name; they may change m itself.
var augmentKinds = map[string]func(m *augment.Image, name string, p augmentParams) (*augment.Image, error){
	"resized_crop": func(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
		return resizedCrop(m, p.Boxes[name], p.Size[1], p.Size[0], p.Interpolation)
	},
	"resize": func(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
		return resizedCrop(m, [4]int{0, 0, m.H, m.W}, p.Size[1], p.Size[0], p.Interpolation)
	},
	"hflip": change(func(m *augment.Image, p augmentParams) { m.FlipHorizontal() }),
	"vflip": change(func(m *augment.Image, p augmentParams) { m.FlipVertical() }),
	"center_crop": func(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
		return m.CenterCrop(p.Size[1], p.Size[0]), nil
	},
	"crop": func(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
		return m.Crop(p.Left, p.Top, p.Left+p.Width, p.Top+p.Height), nil
	},
	"rotate": func(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
		f, err := sampling(p.Interpolation)
		if err != nil {
			return nil, err
		}
		return m.Rotate(augment.Rotation{Angle: p.Angle, Interpolation: f, Expand: p.Expand, Center: p.Center, Fill: augment.RGB(p.Fill)}), nil
	},
	"affine": func(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
		f, err := sampling(p.Interpolation)
		if err != nil {
			return nil, err
		}
		return m.Affine(augment.Affine{Angle: p.Angle, Translate: p.Translate, Scale: p.Scale, Shear: p.Shear,
			Interpolation: f, Center: p.Center, Fill: augment.RGB(p.Fill)}), nil
	},
	"pad": func(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
		return m.Pad(p.Border[0], p.Border[1], p.Border[2], p.Border[3], p.Mode, augment.RGB(p.Fill)), nil
	},
	"erase": func(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
		var fill augment.RGB
		if copy(fill[:], p.V) == 1 {
			fill = augment.RGB{p.V[0], p.V[0], p.V[0]}
		}
		m.Erase(p.J, p.I, p.J+p.W, p.I+p.H, fill)
		return m, nil
	},
	"adjust_brightness": adjust("brightness"),
	"adjust_contrast":   adjust("contrast"),
	"adjust_saturation": adjust("saturation"),
	"adjust_hue":        adjust("hue"),
	"adjust_gamma":      adjust("gamma"),
	"adjust_sharpness":  adjust("sharpness"),
	"rgb_to_grayscale":  change(func(m *augment.Image, p augmentParams) { m.Grayscale() }),
	"solarize":          change(func(m *augment.Image, p augmentParams) { m.Solarize(p.Threshold) }),
	"posterize":         change(func(m *augment.Image, p augmentParams) { m.Posterize(p.Bits) }),
	"invert":            change(func(m *augment.Image, p augmentParams) { m.Invert() }),
	"autocontrast":      change(func(m *augment.Image, p augmentParams) { m.Autocontrast() }),
	"equalize":          change(func(m *augment.Image, p augmentParams) { m.Equalize() }),
	"gaussian_blur": func(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
		return m.GaussianBlur(p.KernelSize, p.Sigma), nil
	},
	"pil_gaussian_blur": func(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
		return m.PillowBlur(p.Radius), nil
	},
	"color_jitter_sequence": adjustSequence,
}

// change wraps an operation that works in place.
func change(f func(m *augment.Image, p augmentParams)) func(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
	return func(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
		f(m, p)
		return m, nil
	}
}

// sampling is the interpolation of a rotation, torchvision's default where a case says nothing.
func sampling(interpolation string) (augment.Filter, error) {
	if interpolation == "" {
		return augment.Nearest, nil
	}
	f, err := augment.ParseFilter(interpolation)
	if err != nil {
		return 0, uncovered("no interpolation %q", interpolation)
	}
	return f, nil
}

func adjust(what string) func(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
	return func(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
		return m, adjustment{what, p.Factor}.apply(m)
	}
}

func adjustSequence(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
	for _, a := range p.Sequence {
		if err := a.apply(m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// resizedCrop cuts the box top, left, height, width and scales it.
func resizedCrop(m *augment.Image, box [4]int, w, h int, interpolation string) (*augment.Image, error) {
	f, err := augment.ParseFilter(interpolation)
	if err != nil {
		return nil, uncovered("no interpolation %q", interpolation)
	}
	return augment.ResizeBox(m, box[1], box[0], box[1]+box[3], box[0]+box[2], w, h, f), nil
}

// pipeline runs steps such as "resized_crop box a -> 48x48 bicubic",
// "gaussian_blur 5 sigma 0.9" and "sequence".
func pipeline(m *augment.Image, name string, p augmentParams) (*augment.Image, error) {
	for _, step := range p.Steps {
		kind, rest, _ := strings.Cut(step, " ")
		q := p
		q.Boxes = p.PipelineBoxes
		var err error
		switch kind {
		case "resized_crop":
			_, size, _ := strings.Cut(rest, "-> ")
			_, err = fmt.Sscanf(size, "%dx%d %s", &q.Size[0], &q.Size[1], &q.Interpolation)
		case "gaussian_blur":
			_, err = fmt.Sscanf(rest, "%d sigma %g", &q.KernelSize, &q.Sigma)
		case "solarize":
			_, err = fmt.Sscanf(rest, "%d", &q.Threshold)
		case "sequence":
			kind = "color_jitter_sequence"
		}
		f := augmentKinds[kind]
		if err != nil || f == nil {
			return nil, uncovered("no step %q", step)
		}
		if m, err = f(m, name, q); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func runAugment(c *Case, _ engine.Machine) error {
	switch c.Op {
	case "normalize":
		return runNormalize(c)
	case "random_resized_crop_distribution":
		return runCropDraws(c)
	case "color_jitter_distribution":
		return runJitterDraws(c)
	}
	f := augmentKinds[c.Op]
	if c.Op == "pipeline" {
		f = pipeline
	}
	if f == nil {
		return uncovered("no such augmentation yet")
	}
	var p augmentParams
	if err := c.params(&p); err != nil {
		return err
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	images, err := c.openShared()
	if err != nil {
		return err
	}
	defer images.Close()
	compared := 0
	for _, out := range c.Outputs {
		name, ok := strings.CutPrefix(out, "pil_") // Pillow's rules are ours
		if !ok && c.Op == "erase" {                // torchvision erases tensors only
			name, ok = strings.CutPrefix(out, "tensor_")
		}
		if !ok {
			continue
		}
		m, err := images.image(name)
		if err != nil {
			return err
		}
		got, err := f(m, name, p)
		if err != nil {
			return err
		}
		want, err := a.image(out)
		if err != nil {
			return err
		}
		if err := comparePixels(c, out, got, want); err != nil {
			return err
		}
		compared++
	}
	if compared == 0 {
		return uncovered("it has no output of Pillow's")
	}
	return nil
}

// comparePixels holds the largest difference against max_abs; where a case has
// none, 95 % of the values must be within 4 levels.
func comparePixels(c *Case, out string, got, want *augment.Image) error {
	var t struct {
		Tolerance struct {
			MaxAbs *float64 `json:"max_abs"`
		}
	}
	if err := json.Unmarshal(c.raw, &t); err != nil {
		return err
	}
	worst, _, err := pixelDistance(out, got, want)
	if err != nil {
		return err
	}
	if limit := t.Tolerance.MaxAbs; limit != nil {
		if worst > *limit {
			return fmt.Errorf("%s: differs by up to %g levels, allowed %g", out, worst, *limit)
		}
		return nil
	}
	off := 0
	for i, v := range got.Pix {
		if d := int(v) - int(want.Pix[i]); d > 4 || d < -4 {
			off++
		}
	}
	if 20*off > len(got.Pix) {
		return fmt.Errorf("%s: %d of %d values differ by more than 4 levels", out, off, len(got.Pix))
	}
	return nil
}

// pixelDistance returns the largest and the mean difference of two images.
func pixelDistance(what string, got, want *augment.Image) (worst, mean float64, err error) {
	if got.W != want.W || got.H != want.H {
		return 0, 0, fmt.Errorf("%s: got %dx%d pixels, want %dx%d", what, got.W, got.H, want.W, want.H)
	}
	for i, v := range got.Pix {
		d := math.Abs(float64(v) - float64(want.Pix[i]))
		worst = max(worst, d)
		mean += d
	}
	return worst, mean / float64(len(got.Pix)), nil
}

// image reads uint8 pixels [H, W, 3], or [H, W] for grey.
func (a *arrays) image(name string) (*augment.Image, error) {
	if err := a.readable(name); err != nil {
		return nil, err
	}
	pix, err := read[uint8](a, name)
	if err != nil {
		return nil, err
	}
	shape := a.shape(name)
	m := augment.NewImage(shape[1], shape[0])
	if len(pix) == len(m.Pix) {
		copy(m.Pix, pix)
		return m, nil
	}
	for i, v := range pix {
		m.Pix[3*i], m.Pix[3*i+1], m.Pix[3*i+2] = v, v, v
	}
	return m, nil
}

func runNormalize(c *Case) error {
	var p augmentParams
	if err := c.params(&p); err != nil {
		return err
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	images, err := c.openShared()
	if err != nil {
		return err
	}
	defer images.Close()
	for _, out := range c.Outputs {
		m, err := images.image(strings.TrimSuffix(out, "_normalized"))
		if err != nil {
			return err
		}
		pre := augment.EvalPreprocess(32)
		pre.Width, pre.Height, pre.Mean, pre.Std = m.W, m.H, p.Mean, p.Std
		got := make([]float32, pre.Len())
		pre.Tensor(got, m)
		if err := c.check(a, out, widen(got)); err != nil {
			return err
		}
	}
	return nil
}

func widen(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}
