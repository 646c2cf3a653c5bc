package main

import (
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/sslrt/sslrt/augment"
)

// Cases that compare distributions: equal ones fail with a chance of 1e-4.

func runCropDraws(c *Case) error {
	var p struct {
		H, W         int
		Scale, Ratio [2]float64
		Draws        int
	}
	if err := c.params(&p); err != nil {
		return err
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	reference, err := a.ints("draws") // top, left, height, width
	if err != nil {
		return err
	}
	features := func(r image.Rectangle) [4]float64 {
		f := [4]float64{float64(r.Dx() * r.Dy()), math.Log(float64(r.Dx()) / float64(r.Dy())), 0.5, 0.5}
		if rest := p.W - r.Dx(); rest > 0 {
			f[2] = float64(r.Min.X) / float64(rest)
		}
		if rest := p.H - r.Dy(); rest > 0 {
			f[3] = float64(r.Min.Y) / float64(rest)
		}
		return f
	}
	var got, want [4][]float64
	for i := 0; i+3 < len(reference); i += 4 {
		top, left, h, w := int(reference[i]), int(reference[i+1]), int(reference[i+2]), int(reference[i+3])
		for k, v := range features(image.Rect(left, top, left+w, top+h)) {
			want[k] = append(want[k], v)
		}
	}
	crop := augment.RandomResizedCrop{Size: augment.Size{H: 32}, Scale: p.Scale, Ratio: p.Ratio}
	for i := range p.Draws {
		for k, v := range features(crop.Draw(augment.NewRand(1, 0, i, 0), p.W, p.H)) {
			got[k] = append(got[k], v)
		}
	}
	for k, name := range []string{"area", "log(width/height)", "relative left", "relative top"} {
		n, m := float64(len(got[k])), float64(len(want[k]))
		limit := ksQuantile * math.Sqrt((n+m)/(n*m))
		if d := ksDistance(got[k], want[k]); !(d <= limit) {
			return fmt.Errorf("%s: the Kolmogorov-Smirnov distance is %.4f, allowed %.4f", name, d, limit)
		}
	}
	return nil
}

// ksQuantile is the point that the Kolmogorov distribution exceeds with a chance
// of 1e-4.
var ksQuantile = math.Sqrt(-math.Log(1e-4/2) / 2)

// ksDistance is the largest distance between the two empirical distributions. It
// sorts its arguments.
func ksDistance(a, b []float64) float64 {
	slices.Sort(a)
	slices.Sort(b)
	i, j, d := 0, 0, 0.0
	for i < len(a) && j < len(b) {
		x := min(a[i], b[j])
		for i < len(a) && a[i] == x {
			i++
		}
		for j < len(b) && b[j] == x {
			j++
		}
		d = max(d, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return d
}

// runJitterDraws checks that factors are uniform and orders equally likely.
func runJitterDraws(c *Case) error {
	var p struct {
		Brightness, Contrast, Saturation, Hue float64
		Ranges                                map[string][2]float64
		Draws                                 int
	}
	if err := c.params(&p); err != nil {
		return err
	}
	jitter := augment.Jittered(p.Brightness, p.Contrast, p.Saturation, p.Hue)
	var factors [4][]float64
	orders := map[[4]augment.Adjustment]int{}
	for i := range p.Draws {
		j := jitter.Draw(augment.NewRand(2, 0, i, 0))
		orders[j.Order]++
		for k, f := range j.Factor {
			factors[k] = append(factors[k], f)
		}
	}
	n := float64(p.Draws)
	for k, name := range []string{"brightness", "contrast", "saturation", "hue"} {
		slices.Sort(factors[k])
		lo, hi, d := p.Ranges[name][0], p.Ranges[name][1], 0.0
		for i, f := range factors[k] {
			u := (f - lo) / (hi - lo)
			d = max(d, math.Abs(u-float64(i)/n), math.Abs(u-float64(i+1)/n))
		}
		if limit := ksQuantile / math.Sqrt(n); !(d <= limit) {
			return fmt.Errorf("%s: the Kolmogorov-Smirnov distance from the uniform law is %.4f, allowed %.4f", name, d, limit)
		}
	}
	expected, chi2 := n/24, 0.0
	for _, k := range orders {
		chi2 += (float64(k) - expected) * (float64(k) - expected) / expected
	}
	chi2 += float64(24-len(orders)) * expected
	if !(chi2 < 60) {
		return fmt.Errorf("order: chi-square over the 24 permutations is %.1f, allowed 60", chi2)
	}
	return nil
}
