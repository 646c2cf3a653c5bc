package metrics

import (
	"context"
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/finetune/distance"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-9) && got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// The area under the curve is the chance that a positive scores higher, by counting.
func TestAUROCByCounting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		scores, positive := make([]float64, 60), make([]bool, 60)
		for i := range scores {
			positive[i] = i%3 == 0
			scores[i] = math.Round(rng.NormFloat64() * 4) // ties
		}
		wins, pairs := 0.0, 0.0
		for i := range scores {
			for j := range scores {
				if positive[i] && !positive[j] {
					pairs++
					switch {
					case scores[i] > scores[j]:
						wins++
					case scores[i] == scores[j]:
						wins += 0.5
					}
				}
			}
		}
		d, err := NewDetection(scores, positive)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "AUROC", d.AUROC(), wins/pairs)
		whole, err := d.PartialAUROC(1)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "partial AUROC up to 1", whole, d.AUROC())
		f1, threshold := d.F1Max()
		at, err := d.At(threshold)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "F1 at its threshold", at.F1, f1)
		if at.TP+at.FP+at.TN+at.FN != 60 {
			t.Errorf("got %+v, want 60 in all", at)
		}
	}
}

func TestPerfectAndUseless(t *testing.T) {
	d, _ := NewDetection([]float64{3, 2, 1, 0}, []bool{true, true, false, false})
	near(t, "AUROC", d.AUROC(), 1)
	near(t, "AUPR", d.AveragePrecision(), 1)
	partial, _ := d.PartialAUROC(0.3)
	near(t, "partial AUROC", partial, 1)
	d, _ = NewDetection([]float64{1, 1, 1, 1}, []bool{true, true, false, false})
	near(t, "AUROC of equal scores", d.AUROC(), 0.5)
	near(t, "AUPR of equal scores", d.AveragePrecision(), 0.5)
	at, _ := d.At(math.Inf(1))
	near(t, "recall of an infinite threshold", at.Recall, 0)
}

func TestRegions(t *testing.T) {
	mask := []uint8{
		1, 0, 0, 1,
		0, 1, 0, 0,
		0, 0, 0, 9,
		1, 0, 0, 9,
	}
	region, sizes := Regions(mask, 4, 4)
	if len(sizes) != 4 || sizes[0] != 2 || sizes[1] != 1 || sizes[2] != 2 || sizes[3] != 1 || region[5] != 0 || region[1] != -1 {
		t.Errorf("got %v of sizes %v: diagonal neighbours belong together", region, sizes)
	}
}

// A large and a small region weigh the same: finding only the large one gives a PRO of
// a half up to the last threshold.
func TestAUPROByHand(t *testing.T) {
	var p Pixels
	scores := []float32{5, 5, 5, 1, 0, 0, 0, 0} // the small region is at index 7
	mask := []uint8{1, 1, 1, 0, 0, 0, 0, 1}
	if err := p.Add(scores, mask, 8, 1); err != nil {
		t.Fatal(err)
	}
	// Points (0, 0), (0, 0.5), (0.25, 0.5), (1, 1): up to 0.25 the height is 0.5.
	got, err := p.AUPRO(0.25)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "AUPRO", got, 0.5)
	whole, _ := p.AUPRO(1)
	near(t, "AUPRO up to 1", whole, 0.25*0.5+0.75*0.75)
}

func TestBoxesFound(t *testing.T) {
	scores := []float32{0, 1, 2, 3, 4, 5}
	boxes := []image.Rectangle{image.Rect(0, 0, 1, 2), image.Rect(2, 0, 3, 1), image.Rect(2, 1, 9, 9), image.Rect(1, 1, 1, 1)}
	if got := BoxesFound(scores, 3, boxes, 3); got != 2 {
		t.Errorf("got %d boxes found, want 2", got)
	}
}

func TestReportByHand(t *testing.T) {
	c, err := NewConfusion([]int{0, 0, 1, 1, 1, 3}, []int{0, 1, 1, 1, 0, 3}, 5)
	if err != nil {
		t.Fatal(err)
	}
	r := c.Report()
	near(t, "accuracy", r.Accuracy, 4.0/6)
	near(t, "balanced accuracy", r.BalancedAccuracy, (0.5+2.0/3+1)/3)
	near(t, "macro F1", r.MacroF1, (0.5+2.0/3+1)/3) // class 2 and 4 do not occur
	// Chance agreement (2*2 + 3*3 + 1)/36.
	near(t, "kappa", r.CohenKappa, (4.0/6-14.0/36)/(1-14.0/36))
}

func TestCalibrationByHand(t *testing.T) {
	// Confidences 0.5 (right), 0.9 (right), 0.9 (wrong): with ten bins, on their upper edges.
	cal, err := Calibrate([]float64{0.5, 0.5, 0.1, 0.9, 0.9, 0.1}, 2, []int{0, 1, 1}, 10)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "ECE", cal.ECE, (0.5+2*0.4)/3)
	near(t, "MCE", cal.MCE, 0.5)
	if cal.Bins[4].Count != 1 || cal.Bins[8].Count != 2 {
		t.Errorf("got bins %+v: a probability on an edge belongs to the lower bin", cal.Bins)
	}
}

// Logits that are n times too sharp need the temperature n.
func TestTemperature(t *testing.T) {
	// Of 4 images with logits (log 3, 0) three are of class 0: perfectly calibrated.
	l := math.Log(3)
	for _, n := range []float64{0.2, 1, 7} {
		got, _, err := FitTemperature([]float64{n * l, 0, n * l, 0, n * l, 0, n * l, 0}, 2, []int{0, 0, 0, 1})
		if err != nil || math.Abs(got-n) > 1e-5*n {
			t.Errorf("got %v, %v, want %v", got, err, n)
		}
	}
	// All right: the colder the better, up to the bound.
	got, _, err := FitTemperature([]float64{1, 0, 0, 1}, 2, []int{0, 1})
	if err != nil || got > 0.05 { // below, the loss is 0 in float64
		t.Errorf("got %v, %v, want near the lower bound", got, err)
	}
}

// The assignment against all permutations.
func TestAccuracyByPermutations(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		classes, clusters := make([]int, 30), make([]int, 30)
		for i := range classes {
			classes[i], clusters[i] = rng.IntN(5), rng.IntN(5)
		}
		m, err := NewAgreement(classes, clusters)
		if err != nil {
			t.Fatal(err)
		}
		best := 0
		permutations([]int{0, 1, 2, 3, 4}, 0, func(p []int) {
			hits := 0
			for i := range classes {
				if p[clusters[i]] == classes[i] {
					hits++
				}
			}
			best = max(best, hits)
		})
		near(t, "accuracy", m.Accuracy(), float64(best)/30)
	}
}

func permutations(p []int, k int, use func([]int)) {
	if k == len(p) {
		use(p)
		return
	}
	for i := k; i < len(p); i++ {
		p[k], p[i] = p[i], p[k]
		permutations(p, k+1, use)
		p[k], p[i] = p[i], p[k]
	}
}

// What scikit-learn 1.2.1 gives for five points.
func TestSilhouetteFamily(t *testing.T) {
	x, l := []float64{0, 0, 0, 1, 5, 5, 5, 6, 5, 5.5}, []int{7, 7, 3, 3, 3}
	s, err := Silhouette(context.Background(), x, 2, l, distance.Euclidean)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{0.865557376766776, 0.85149253031268, 0.888676070927896, 0.899202473085294, 0.92937776498776} {
		near(t, "silhouette", s[i], want)
	}
	db, _ := DaviesBouldin(x, 2, l)
	near(t, "Davies-Bouldin", db, 0.117851130197758)
	ch, _ := CalinskiHarabasz(x, 2, l)
	near(t, "Calinski-Harabasz", ch, 180)
}

func TestTrustworthiness(t *testing.T) {
	var x, y []float64
	for i := range 12 {
		f := float64(i)
		x = append(x, float64(i*i%7)+0.01*f*f, f+0.003*f*f*f, float64(3*i%5))
		y = append(y, float64(5*i%12)+0.001*f)
	}
	got, err := Trustworthiness(context.Background(), x, 3, y, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "trustworthiness by scikit-learn 1.2.1", got, 0.511904761904762)
	same, err := Trustworthiness(context.Background(), x, 3, x, 3, 5)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "of itself", same, 1)
}

func TestRankMeClosedForms(t *testing.T) {
	one := []float32{1, 2, 2, 4, 3, 6}
	got, err := RankMe(one, 2)
	if err != nil || math.Abs(got-1) > 1e-5 {
		t.Errorf("of one direction: got %v, %v", got, err)
	}
	got, err = RankMe([]float32{1, 0, 0, 0, 1, 0, 0, 0, 1}, 3)
	if err != nil || math.Abs(got-3) > 1e-5 {
		t.Errorf("of three: got %v, %v", got, err)
	}
	spectrum, err := CovarianceSpectrum([]float32{1, 0, -1, 0, 0, 2, 0, -2}, 2)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "first", spectrum[0], 8.0/3)
	near(t, "second", spectrum[1], 2.0/3)
	near(t, "participation ratio", ParticipationRatio(spectrum), 100.0/68)
}

func TestUniformityAndAlignment(t *testing.T) {
	x, y := []float32{3, 0, 0, 5}, []float32{0, 1, 0, 2}
	a, err := Alignment(x, y, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "alignment", a, 1) // squared distances 2 and 0
	u, err := Uniformity(x, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "uniformity", u, -4)
}

func TestQuantile(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		x       []float64
		q, want float64
	}{
		{[]float64{3}, 0.3, 3}, {[]float64{5, 1, 2}, 0.5, 2}, {[]float64{4, 1, 2, 9}, 0.5, 3}, {[]float64{4, 1, 2, 9}, 0, 1},
		{[]float64{4, 1, 2, 9}, 1, 9}, {[]float64{4, 1, 2, 8}, 0.875, 6.5}, // numpy.quantile
		{[]float64{1, 2, inf}, 0.5, 2}, {[]float64{1, inf}, 1, inf},
	} {
		before := slices.Clone(c.x)
		if got := Quantile(c.x, c.q); got != c.want {
			t.Errorf("%v at %g: got %g, want %g", c.x, c.q, got, c.want)
		}
		if !slices.Equal(c.x, before) {
			t.Errorf("%v became %v", before, c.x)
		}
	}
}

func TestPSNR(t *testing.T) {
	db, mse, err := PSNR([]float32{0, 1}, []float32{0, 0.5}, 1)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "mse", mse, 0.125)
	near(t, "PSNR", db, 10*math.Log10(8))
	if db, _, _ := PSNR([]float32{1}, []float32{1}, 1); !math.IsInf(db, 1) {
		t.Errorf("of equal pictures: got %v", db)
	}
}

func TestRejects(t *testing.T) {
	ctx, nan := context.Background(), math.NaN()
	x, labels := []float64{1, 2, 3, 4}, []int{0, 0, 1, 1}
	var empty Pixels
	errs := map[string]func() error{
		"some of both": func() error { _, err := NewDetection([]float64{1, 2}, []bool{true, true}); return err },
		"2 scores, 1 labels": func() error {
			_, err := NewDetection([]float64{1, 2}, []bool{true})
			return err
		},
		"score 1 is not a number": func() error { _, err := NewDetection([]float64{1, nan}, []bool{true, false}); return err },
		"0 regions":               func() error { _, err := empty.AUPRO(0.3); return err },
		"limit of 0":              func() error { _, err := empty.AUPRO(0); return err },
		"mask of 2":               func() error { return empty.Add([]float32{1}, []uint8{1, 0}, 1, 1) },
		"is not a number": func() error {
			return empty.Add([]float32{float32(nan)}, []uint8{1}, 1, 1)
		},
		"predicted as 5":        func() error { _, err := NewConfusion([]int{0}, []int{5}, 2); return err },
		"0 true":                func() error { _, err := NewConfusion(nil, nil, 2); return err },
		"of class 9":            func() error { _, err := TopK(x, 2, []int{0, 9}, 1); return err },
		"k 0":                   func() error { _, err := TopK(x, 2, []int{0, 1}, 0); return err },
		"probability 2":         func() error { _, err := Calibrate(x, 2, []int{0, 1}, 3); return err },
		"temperature 0":         func() error { _, err := NLL(x, 2, []int{0, 1}, 0); return err },
		"3 classes, 4 clusters": func() error { _, err := NewAgreement([]int{1, 2, 3}, labels); return err },
		"1 clusters of 4":       func() error { _, err := Silhouette(ctx, x, 1, []int{1, 1, 1, 1}, distance.Euclidean); return err },
		"4 clusters of 4":       func() error { _, err := DaviesBouldin(x, 1, []int{1, 2, 3, 4}); return err },
		"row 1 holds NaN":       func() error { _, err := CalinskiHarabasz([]float64{1, nan}, 1, []int{0, 1}); return err },
		"all vectors are zero":  func() error { _, err := RankMe([]float64{0, 0}, 1); return err },
		"less than half":        func() error { _, err := Trustworthiness(ctx, x, 1, x, 1, 2); return err },
		"2 or more":             func() error { _, err := Uniformity([]float64{1}, 1, 2); return err },
		"1 and 2 vectors":       func() error { _, err := Alignment([]float64{1}, []float64{1, 2}, 1, 2); return err },
		"1 and 2 samples":       func() error { _, _, err := PSNR([]float64{1}, []float64{1, 2}, 1); return err },
	}
	for want, call := range errs {
		if err := call(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
