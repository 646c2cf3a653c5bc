package augment

import (
	"image"
	"math"
	"sort"
	"testing"
)

func goldenCropDraws(t *testing.T, a arrays, p goldenParams) {
	ref := read[int32](a, "draws")
	var want, got [][4]float64
	add := func(s [][4]float64, b image.Rectangle) [][4]float64 {
		w, h := float64(b.Dx()), float64(b.Dy())
		relX, relY := 0.5, 0.5
		if p.W > b.Dx() {
			relX = float64(b.Min.X) / float64(p.W-b.Dx())
		}
		if p.H > b.Dy() {
			relY = float64(b.Min.Y) / float64(p.H-b.Dy())
		}
		return append(s, [4]float64{w * h, math.Log(w / h), relX, relY})
	}
	for i := 0; i < len(ref); i += 4 {
		top, left, h, w := int(ref[i]), int(ref[i+1]), int(ref[i+2]), int(ref[i+3])
		want = add(want, image.Rect(left, top, left+w, top+h))
	}
	crop := RandomResizedCrop{Size: Size{H: 32}, Scale: p.Scale, Ratio: p.Ratio}
	for i := range 10000 {
		got = add(got, crop.Draw(NewRand(1, 0, i, 0), p.W, p.H))
	}
	for k, name := range []string{"area", "log(w/h)", "relative left", "relative top"} {
		column := func(s [][4]float64) []float64 {
			out := make([]float64, len(s))
			for i := range s {
				out[i] = s[i][k]
			}
			sort.Float64s(out)
			return out
		}
		if d := kolmogorovSmirnov(column(got), column(want)); d > ksLimit(len(got), len(want)) {
			t.Errorf("%s: Kolmogorov-Smirnov distance %.4f, limit %.4f", name, d, ksLimit(len(got), len(want)))
		}
	}
}

// kolmogorovSmirnov is the largest distance between the empirical distributions of two sorted samples.
func kolmogorovSmirnov(a, b []float64) float64 {
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

// ksLimit is the distance that equal distributions exceed with probability 1e-4 (asymptotic law).
func ksLimit(n, m int) float64 {
	return math.Sqrt(-math.Log(1e-4/2)/2) * math.Sqrt(float64(n+m)/float64(n*m))
}

func goldenJitterDraws(t *testing.T, p goldenParams) {
	const n = 10000
	jitter := Jittered(p.Brightness, p.Contrast, p.Saturation, p.Hue)
	var factors [4][]float64
	orders := map[[4]Adjustment]int{}
	for i := range n {
		j := jitter.Draw(NewRand(2, 0, i, 0))
		orders[j.Order]++
		for a := range factors {
			factors[a] = append(factors[a], j.Factor[a])
		}
	}
	ranges := [4][2]float64{
		{max(0, 1-p.Brightness), 1 + p.Brightness},
		{max(0, 1-p.Contrast), 1 + p.Contrast},
		{max(0, 1-p.Saturation), 1 + p.Saturation},
		{-p.Hue, p.Hue},
	}
	for a, f := range factors {
		sort.Float64s(f)
		d := 0.0
		for i, x := range f {
			u := (x - ranges[a][0]) / (ranges[a][1] - ranges[a][0])
			d = max(d, math.Abs(u-float64(i)/n), math.Abs(u-float64(i+1)/n))
		}
		if limit := math.Sqrt(-math.Log(1e-4/2) / 2 / n); d > limit {
			t.Errorf("factor %d: Kolmogorov-Smirnov distance %.4f from uniform, limit %.4f", a, d, limit)
		}
	}
	chi2 := 0.0
	for _, k := range orders {
		chi2 += (float64(k) - n/24.) * (float64(k) - n/24.) / (n / 24.)
	}
	if len(orders) != 24 || chi2 > 60 {
		t.Errorf("order: %d permutations, chi-square %.1f, limit 60", len(orders), chi2)
	}
}
