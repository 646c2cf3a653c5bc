package augment

import (
	"bytes"
	"context"
	"math"
	"slices"
	"strings"
	"testing"
)

// Table 4.4 of the research notes: crop scale, jitter, grey, blur, solarize, order.
func TestPresets(t *testing.T) {
	want := map[string][]string{
		"simclr_cifar": {"RandomResizedCrop 0.08, RandomHorizontalFlip, ColorJitter 0.4 0.4 0.4 0.1, RandomGrayscale 0.2, GaussianBlur 0.5"},
		"simclr":       {"RandomResizedCrop 0.08, RandomHorizontalFlip, ColorJitter 0.8 0.8 0.8 0.2, RandomGrayscale 0.2, GaussianBlur 0.5"},
		"moco_v1":      {"RandomResizedCrop 0.2, RandomGrayscale 0.2, ColorJitter always 0.4 0.4 0.4 0.4, RandomHorizontalFlip"},
		"moco_v2":      {"RandomResizedCrop 0.2, ColorJitter 0.4 0.4 0.4 0.1, RandomGrayscale 0.2, PillowBlur 0.5, RandomHorizontalFlip"},
		"byol": {"RandomResizedCrop 0.08 bicubic, RandomHorizontalFlip, ColorJitter 0.4 0.4 0.2 0.1, RandomGrayscale 0.2, GaussianBlur 1",
			"RandomResizedCrop 0.08 bicubic, RandomHorizontalFlip, ColorJitter 0.4 0.4 0.2 0.1, RandomGrayscale 0.2, GaussianBlur 0.1, RandomSolarize 0.2"},
		"barlow": {"RandomResizedCrop 0.08 bicubic, RandomHorizontalFlip, ColorJitter 0.4 0.4 0.2 0.1, RandomGrayscale 0.2, PillowBlur 1",
			"RandomResizedCrop 0.08 bicubic, RandomHorizontalFlip, ColorJitter 0.4 0.4 0.2 0.1, RandomGrayscale 0.2, PillowBlur 0.1, RandomSolarize 0.2"},
		"dino": {"RandomResizedCrop 0.4 bicubic, RandomHorizontalFlip, ColorJitter 0.4 0.4 0.2 0.1, RandomGrayscale 0.2, PillowBlur 1",
			"RandomResizedCrop 0.4 bicubic, RandomHorizontalFlip, ColorJitter 0.4 0.4 0.2 0.1, RandomGrayscale 0.2, PillowBlur 0.1, RandomSolarize 0.2",
			"RandomResizedCrop 0.05-0.4 bicubic, RandomHorizontalFlip, ColorJitter 0.4 0.4 0.2 0.1, RandomGrayscale 0.2, PillowBlur 0.5"},
		"supcon":      {"RandomResizedCrop 0.2, RandomHorizontalFlip, ColorJitter 0.4 0.4 0.4 0.1, RandomGrayscale 0.2"},
		"autoencoder": {"RandomResizedCrop 0.5, RandomHorizontalFlip"},
		"mae":         {"RandomResizedCrop 0.2 bicubic, RandomHorizontalFlip"},
		"none":        {"Resize 256, CenterCrop 224"},
	}
	for _, name := range Presets() {
		views, err := Preset(name, 224)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range views {
			var parts []string
			for _, tr := range v.Policy {
				parts = append(parts, short(tr, ""))
			}
			got = append(got, strings.Join(parts, ", "))
		}
		if !slices.Equal(got, want[name]) {
			t.Errorf("%s:\n got %q\nwant %q", name, got, want[name])
		}
		for _, size := range []int{8, 28, 32, 96, 224} {
			if views, _ = Preset(name, size); views.Check(size) != nil {
				t.Error(views.Check(size))
			}
		}
	}
	if v, _ := Preset("dino", 224); v[2].Size != 96 || v.Len() != 10 {
		t.Errorf("dino: %d views, small ones of %d px", v.Len(), v[2].Size)
	}
	if _, err := Preset("foo", 32); err == nil || !strings.Contains(err.Error(), "there are autoencoder, barlow, byol") {
		t.Errorf("got %v", err)
	}
}

func short(t Transform, p string) string {
	num := func(v ...any) string {
		var parts []string
		for _, x := range v {
			parts = append(parts, formatArgument(x, false))
		}
		return strings.Join(parts, " ")
	}
	name := nameOf(t)
	switch t := t.(type) {
	case RandomResizedCrop:
		s := name + " " + num(t.Scale[0])
		if t.Scale[1] != 1 {
			s += "-" + num(t.Scale[1])
		}
		if t.Interpolation == Bicubic {
			s += " bicubic"
		}
		return s
	case RandomApply:
		return short(t.Transforms[0], num(t.P))
	case ColorJitter:
		if p == "" {
			name += " always"
		} else if p != "0.8" {
			name += " " + p
		}
		return name + " " + num(t.Brightness, t.Contrast, t.Saturation, t.Hue)
	case GaussianBlur, PillowBlur:
		if p == "" {
			p = "1"
		}
		return name + " " + p
	case RandomGrayscale:
		return name + " " + num(t.P)
	case RandomSolarize:
		return name + " " + num(t.P)
	case Resized:
		return name + " " + t.Size.String()
	case CenterCrop:
		return name + " " + t.Size.String()
	}
	return name
}

// Crops of two sizes and unlike policies: what the loader yields is what the policies draw for seed,
// epoch, image and view, whatever the number of workers.
func TestLoaderMultiCrop(t *testing.T) {
	src := memorySource{n: 11}
	views, err := Preset("dino", 28)
	if err != nil {
		t.Fatal(err)
	}
	pre := EvalPreprocess(28)
	for _, bytewise := range []bool{false, true} {
		for _, workers := range []int{1, 4} {
			l, err := NewLoader(src, LoaderOptions{BatchSize: 4, Views: views, Preprocess: pre, Seed: 3, Epoch: 2, Shuffle: true, Workers: workers, Bytes: bytewise})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			for range 3 {
				b, err := l.Next(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				n := len(b.Index)
				if !slices.Equal(b.Sizes, []Size{{28, 28}, {12, 12}}) {
					t.Fatalf("sizes %v", b.Sizes)
				}
				for k, index := range b.Index {
					m, err := src.Image(index)
					if err != nil {
						t.Fatal(err)
					}
					for v, view := range views.Draw(m, pre, 3, 2, index) {
						group, place := 0, v
						if v >= 2 {
							group, place = 1, v-2
						}
						p := pre
						p.Width, p.Height = view.W, view.H
						lo, hi := (place*n+k)*p.Len(), (place*n+k+1)*p.Len()
						if bytewise {
							if !bytes.Equal(b.PixelGroups[group][lo:hi], view.Pix) || !bytes.Equal(b.Pixels[v][k*p.Len():(k+1)*p.Len()], view.Pix) {
								t.Fatalf("image %d, view %d: other bytes", index, v)
							}
							continue
						}
						want := make([]float32, p.Len())
						p.normalizer().tensor(want, view)
						if !slices.Equal(b.Groups[group][lo:hi], want) || !slices.Equal(b.Views[v][k*p.Len():(k+1)*p.Len()], want) {
							t.Fatalf("image %d, view %d: other values", index, v)
						}
					}
				}
				if !bytewise && (len(b.Groups[0]) != 2*n*pre.Len() || len(b.Groups[1]) != 8*n*3*12*12) {
					t.Errorf("groups of %d and %d values", len(b.Groups[0]), len(b.Groups[1]))
				}
				l.Release(b)
			}
		}
	}
	for _, bad := range []Views{{{Size: 12}}, {{Size: -1, Policy: SimCLR(28)}}, {{Size: 1 << 20, Policy: SimCLR(28)}}} {
		if l, err := NewLoader(src, LoaderOptions{BatchSize: 4, Views: bad, Preprocess: pre}); err == nil {
			l.Close()
			t.Errorf("no error for %v", bad)
		}
	}
}

func TestViewsCheck(t *testing.T) {
	for text, v := range map[string]Views{
		"the policy makes 30x30":        Alike(2, SimCLR(30)),
		"view 2: the policy makes":      {{Policy: SimCLR(32)}, {Size: 24, Policy: SimCLR(32)}},
		"of an image of 64x33":          Alike(1, Policy{Resized{Size: Size{H: 32}}}),
		"view 1: got count -1, size 32": {{Count: -1, Policy: SimCLR(32)}},
	} {
		if err := v.Check(32); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

// The angle, the box and the choice follow the laws that torchvision states.
func TestDraws(t *testing.T) {
	const n = 10000
	var angle, share, ratio, tx []float64
	counts := [2]float64{}
	rotation := RandomRotation{Degrees: Degrees{-30, 60}}
	erase := RandomErasing{Scale: [2]float64{0.02, 0.33}, Ratio: [2]float64{0.3, 3.3}}
	affine := RandomAffine{Translate: []float64{0.25, 0}, Scale: []float64{0.5, 2}, Shear: []float64{-10, 10}}
	choice := RandomChoice{Transforms: Policy{RandomInvert{}, RandomGrayscale{}}, P: []float64{1, 3}}
	for i := range n {
		r := NewRand(4, 0, i, 0)
		angle = append(angle, rotation.Draw(r))
		box, ok := erase.Draw(r, 400, 400)
		if !ok {
			t.Fatal("no box")
		}
		share = append(share, float64(box.Dx()*box.Dy())/400/400)
		ratio = append(ratio, math.Log(float64(box.Dy())/float64(box.Dx())))
		tx = append(tx, affine.Draw(r, 1000, 10).Translate[0])
		counts[choice.Draw(r)]++
	}
	for _, c := range []struct {
		name   string
		got    []float64
		lo, hi float64
	}{
		{"angle", angle, -30, 60}, {"area", share, 0.02, 0.33},
		{"log ratio", ratio, math.Log(0.3), math.Log(3.3)}, {"translation", tx, -250, 250},
	} {
		slices.Sort(c.got)
		d := 0.0
		for i, v := range c.got {
			d = max(d, math.Abs((v-c.lo)/(c.hi-c.lo)-float64(i)/n))
		}
		if d > 0.0223 { // chance 1e-4, and half a pixel of rounding
			t.Errorf("%s: distance %.4f from the uniform law", c.name, d)
		}
	}
	if math.Abs(counts[0]-n/4) > 4*math.Sqrt(n*3./16) {
		t.Errorf("choices: %v", counts)
	}
}
