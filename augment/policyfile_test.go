package augment

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// oneOfEach has every transform, with arguments in each of their forms.
const oneOfEach = `
- RandomResizedCrop: {size: 40, scale: [0.2, 1], ratio: [0.5, 2], interpolation: bicubic}
- RandomResizedCrop: {size: [30, 40]}
- RandomCrop: {size: 28, padding: 4}
- RandomCrop: {size: [24, 28], padding: [1, 2, 3, 4], pad_if_needed: true, fill: [1, 2, 3], padding_mode: reflect}
- Pad: {padding: [2, 3], padding_mode: symmetric}
- Pad:
    padding: 1
    fill: 255
- CenterCrop: {size: 50}
- Resize: {size: 32}
- Resize: {size: [40, 32], interpolation: nearest}
- Resize: {size: 20, max_size: 60}
- RandomHorizontalFlip
- RandomVerticalFlip: {p: 1}
- RandomRotation: {degrees: 30}
- RandomRotation: {degrees: [10, 20], interpolation: bilinear, center: [1, 2], fill: 7}
- RandomAffine: {degrees: 0, translate: [0.1, 0.2], scale: [0.5, 2], shear: 10}
- RandomAffine: {degrees: [-5, 15], shear: [-10, 10, -5, 5], interpolation: bicubic}
- RandomErasing: {p: 1}
- RandomErasing: {p: 1, value: random, scale: [0.1, 0.2], ratio: [1, 1]}
- RandomErasing: {p: 1, value: [10, 20, 30]}
- ColorJitter: {brightness: 0.4, contrast: [0.5, 1.5], saturation: 0, hue: 0.1}
- ColorJitter: {hue: [-0.2, 0.3]}
- ColorJitter: {}
- RandomGrayscale: {p: 1}
- GaussianBlur: {kernel_size: 5}
- GaussianBlur: {kernel_size: 3, sigma: 0.5}
- PillowBlur: {radius: [1, 3]}
- RandomSolarize: {threshold: 127.5, p: 1}
- RandomPosterize: {bits: 3, p: 1}
- RandomInvert: {p: 1}
- RandomAutocontrast: {p: 1}
- RandomEqualize: {p: 1}
- RandomAdjustSharpness: {sharpness_factor: 2, p: 1}
- RandAugment
- TrivialAugmentWide: {fill: 9}
- RandomApply: {p: 0.8, transforms: [ColorJitter: {brightness: 0.4}, RandomInvert]}
- RandomChoice: {transforms: [RandomInvert, RandomHorizontalFlip], p: [1, 3]}
- RandomOrder: {transforms: [RandomInvert, RandomApply: {transforms: [RandomVerticalFlip]}]}
`

func TestPolicyFile(t *testing.T) {
	p, err := ParsePolicy([]byte(oneOfEach))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	m := gradient(50, 44, 3)
	before := m.Clone()
	s := new(Scratch)
	for i, tr := range p {
		seen[nameOf(tr)] = true
		one := Policy{tr}
		want := one.Apply(m, NewRand(1, 2, i, 0))
		for range 2 { // borrowed memory changes nothing
			got := one.view(m, NewRand(1, 2, i, 0), s)
			if got.W != want.W || got.H != want.H || !bytes.Equal(got.Pix, want.Pix) {
				t.Errorf("%s: another result with a Scratch", describe(tr, false))
			}
			s.Release(got)
			if len(s.lent) != 0 {
				t.Fatalf("%s: %d images were not given back", describe(tr, false), len(s.lent))
			}
		}
		if !bytes.Equal(m.Pix, before.Pix) {
			t.Fatalf("%s changed its argument", describe(tr, false))
		}
	}
	for _, name := range TransformNames() {
		if !seen[name] {
			t.Errorf("no %s among the cases", name)
		}
	}
	text, err := p.MarshalYAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, written := range []string{string(text), "[" + p.String() + "]"} {
		again, err := ParsePolicy([]byte(written))
		if err != nil {
			t.Fatalf("%v in %s", err, written)
		}
		if diff := cmp.Diff(p, again); diff != "" {
			t.Error(diff)
		}
	}
}

// The defaults are those that inspect.signature gives for torchvision 0.14.
func TestPolicyFileDefaults(t *testing.T) {
	for text, want := range map[string]Transform{
		"RandomResizedCrop: {size: 8}":               RandomResizedCrop{Size{8, 0}, [2]float64{0.08, 1}, [2]float64{3. / 4, 4. / 3}, Bilinear},
		"RandomCrop: {size: 8}":                      RandomCrop{Size: Size{H: 8}, PaddingMode: PadConstant},
		"RandomRotation: {degrees: 9}":               RandomRotation{Degrees: Degrees{-9, 9}, Interpolation: Nearest},
		"RandomAffine: {degrees: 0}":                 RandomAffine{Interpolation: Nearest},
		"RandomGrayscale":                            RandomGrayscale{0.1},
		"GaussianBlur: {kernel_size: 3}":             GaussianBlur{3, Spreads{0.1, 2}},
		"RandomErasing":                              RandomErasing{0.5, [2]float64{0.02, 0.33}, [2]float64{0.3, 3.3}, Value{}},
		"RandomSolarize: {threshold: 9}":             RandomSolarize{9, 0.5},
		"RandAugment":                                RandAugment{2, 9, 31, Nearest, RGB{}},
		"TrivialAugmentWide":                         TrivialAugmentWide{31, Nearest, RGB{}},
		"RandomApply: {transforms: [RandomInvert]}":  RandomApply{Policy{RandomInvert{0.5}}, 0.5},
		"ColorJitter: {brightness: 1.5, hue: 0.5}":   ColorJitter{Brightness: Factors{0, 2.5}, Hue: Turns{-0.5, 0.5}},
		"RandomChoice: {transforms: [RandomInvert]}": RandomChoice{Transforms: Policy{RandomInvert{0.5}}},
	} {
		p, err := ParsePolicy([]byte("- " + text))
		if err != nil {
			t.Error(err)
			continue
		}
		if !reflect.DeepEqual(p[0], want) {
			t.Errorf("%s: got %+v, want %+v", text, p[0], want)
		}
	}
}

func TestPolicyFileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                           "it is empty",
		"3":                                          "line 1: got 3, want a list of transforms",
		"- RandomFlip":                               `line 1: unknown transform "RandomFlip"; there are CenterCrop, `,
		"- RandomHorizontalFlip\n- Blur":             `line 2: unknown transform "Blur"`,
		"- CenterCrop":                               "line 1: CenterCrop: needs the argument size",
		"- CenterCrop: 32":                           "line 1: CenterCrop: got 32, want arguments as {name: value}",
		"- CenterCrop: {sise: 32}":                   `line 1: CenterCrop: unknown argument "sise"; there are size`,
		"- RandomGrayscale:\n    p: 2":               "RandomGrayscale: p: got 2, want a probability, 0 to 1",
		"- RandomGrayscale: {p: half}":               "RandomGrayscale: p: got half, want a number",
		`- RandomGrayscale: {p: "0.5"}`:              `RandomGrayscale: p: got "0.5", want a number`,
		"- RandomGrayscale: {p: .nan}":               "want a number",
		"- RandomGrayscale: {p: [1]}":                "RandomGrayscale: p: got [1], want one number",
		"- CenterCrop: {size: 0}":                    "size: got 0, want 1 to 8192 pixels",
		"- CenterCrop: {size: 1e9}":                  "want 1 to 8192",
		"- CenterCrop: {size: 3.5}":                  "size: got 3.5, want a number of pixels",
		"- CenterCrop: {size: []}":                   "size: got an empty list",
		"- RandomResizedCrop: {size: 8, scale: 0.5}": "scale: got 0.5, want two numbers",
		"- RandomResizedCrop: {size: 8, scale: [1, 0.5]}":                                   "scale: got [1, 0.5], want two numbers from 0 to 1, the smaller first",
		"- RandomResizedCrop: {size: 8, interpolation: lanczos}":                            "interpolation: got lanczos, want nearest, bilinear or bicubic",
		"- RandomCrop: {size: 8, padding_mode: wrap}":                                       "padding_mode: got wrap, want one of [constant edge reflect symmetric]",
		"- Pad: {padding: -1}":                                                              "padding: got -1",
		"- Pad: {padding: [1, 2, 3]}":                                                       "padding: got [1, 2, 3], want 1, 2 or 4",
		"- Pad: {padding: 1, fill: 256}":                                                    "fill: got 256, want 0 to 255",
		"- Resize: {size: [8, 9], max_size: 10}":                                            "max_size: goes with one number as size",
		"- RandomRotation: {degrees: 9, expand: yes}":                                       "expand: got yes, want true or false",
		"- RandomRotation: {degrees: -9}":                                                   "degrees: got -9",
		"- RandomErasing: {value: noise}":                                                   "value: got noise, want 0 to 255, three of them, or random",
		"- GaussianBlur: {kernel_size: 4}":                                                  "kernel_size: got 4, want an odd number",
		"- GaussianBlur: {kernel_size: 5, sigma: 0}":                                        "sigma: got [0, 0]",
		"- ColorJitter: {hue: 0.6}":                                                         "hue: got [-0.6, 0.6], want two numbers from -0.5 to 0.5",
		"- ColorJitter: {brightness: -1}":                                                   "brightness: got -1, want a strength",
		"- RandAugment: {magnitude: 31}":                                                    "magnitude: got 31, want 0 to 30",
		"- RandomChoice: {transforms: []}":                                                  "transforms: got none",
		"- RandomChoice: {transforms: [RandomInvert], p: [0]}":                              "p: got no share above 0",
		"- RandomApply: {transforms: RandomInvert}":                                         "got RandomInvert, want a list of transforms",
		"- RandomApply:\n    transforms:\n    - RandomInvert\n    - Random":                 `line 4: unknown transform "Random"`,
		strings.Repeat("- RandomApply: {transforms: [", 1):                                  "",
		"- " + strings.Repeat("RandomOrder: {transforms: [", 10) + strings.Repeat("]}", 10): "deep",
		"- CenterCrop: {size: 8}\n  RandomInvert: {}":                                       "got 2 names in one entry",
		"- [a]": "want the name of a transform",
		"---\n- RandomInvert\n---\n- RandomInvert": "a second document",
	} {
		_, err := ParsePolicy([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	for line := range strings.Lines(oneOfEach) {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePolicy(text)
		if err != nil {
			return
		}
		written, err := p.MarshalYAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParsePolicy(written)
		if err != nil {
			t.Fatalf("%v in %s", err, written)
		}
		second, _ := again.MarshalYAML()
		if !bytes.Equal(written, second) {
			t.Errorf("%s became %s", written, second)
		}
		if large(p) {
			return
		}
		p.Apply(gradient(9, 7, 1), NewRand(0, 0, 0, 0))
	})
}

// large reports whether a policy makes images that take long.
func large(p Policy) bool {
	text := p.String()
	return len(p) > 4 || len(text) > 300 || strings.ContainsFunc(text, func(r rune) bool { return r > 127 }) || numberAbove(text, 100)
}

func numberAbove(text string, limit int) bool {
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			n = 0
			continue
		}
		if n = n*10 + int(c-'0'); n > limit {
			return true
		}
	}
	return strings.Contains(text, "e+")
}
