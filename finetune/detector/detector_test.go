package detector_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/detector"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
	"github.com/sslrt/sslrt/runtime/ort"
)

// maps is an encoder with feature maps of three resolutions, [4, 16, 16] to [8, 4, 4],
// for any size of batch or a fixed one.
func maps(t testing.TB, batch onnx.Dim, opset int64) *onnx.Model {
	t.Helper()
	b := onnx.NewBuilder(opset)
	rng := rand.New(rand.NewPCG(1, 2))
	x := b.Input(onnx.TensorInfo("input", onnx.Float, batch, onnx.Fixed(3), onnx.Fixed(16), onnx.Fixed(16)))
	in := int64(3)
	for stage, out := range []int64{4, 8, 8, 8} {
		w := make([]float32, out*in*9)
		for i := range w {
			w[i] = float32(rng.NormFloat64()) / 3
		}
		stride := int64(min(stage, 1) + 1)
		name := b.Initializer(fmt.Sprintf("net.layer%d.conv.weight", stage+1), onnx.FloatTensor("", []int64{out, in, 3, 3}, w))
		x = b.Node("Relu", []string{b.Node("Conv", []string{x, name}, onnx.IntsAttr("strides", stride, stride), onnx.IntsAttr("pads", 1, 1, 1, 1))})
		in = out
	}
	b.NodeTo("Flatten", []string{b.Node("GlobalAveragePool", []string{x})}, []string{"features"})
	b.Output(onnx.TensorInfo("features", onnx.Float, batch, onnx.Fixed(8)))
	m, err := b.Model("maps", onnx.Info{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// foreign says what maps does not say of its images.
var foreign = map[string]string{"size": "16", "mean": "0.5", "std": "0.25"}

// textures writes n images of noise, and with spot a bright square in them.
func textures(t testing.TB, n int, spot bool) augment.Source {
	t.Helper()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(uint64(n), 5))
	for k := range n {
		m := augment.NewImage(16, 16)
		for i := range m.Pix {
			m.Pix[i] = uint8(100 + rng.IntN(40))
		}
		if spot {
			for y := 9; y < 13; y++ {
				for x := 2; x < 6; x++ {
					copy(m.Pix[(y*16+x)*3:], []uint8{250, 10, 250})
				}
			}
		}
		if err := m.WritePNG(filepath.Join(dir, fmt.Sprintf("%03d.png", k))); err != nil {
			t.Fatal(err)
		}
	}
	src, err := augment.Open([]string{dir}, augment.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

func load(t *testing.T, m *onnx.Model) *runtime.Detector {
	t.Helper()
	file := filepath.Join(t.TempDir(), "detector.onnx")
	if err := onnx.WriteFile(file, m); err != nil {
		t.Fatal(err)
	}
	d, err := runtime.LoadDetector(file, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// A detector of any method calls what is normal normal and what is not not, and the
// heatmap is hottest where the spot is.
func TestMethodsFindTheSpot(t *testing.T) {
	good, bad, fresh := textures(t, 40, false), textures(t, 3, true), textures(t, 10, false)
	for _, c := range []struct {
		name  string
		opt   detector.Options
		batch onnx.Dim
		opset int64
	}{
		{"padim", detector.Options{Method: detector.MethodPaDiM, Channels: 10}, onnx.Symbol("N"), 17},
		{"padim, batch 1, opset 11", detector.Options{Method: detector.MethodPaDiM}, onnx.Fixed(1), 11},
		{"patchcore", detector.Options{Method: detector.MethodPatchCore}, onnx.Symbol("N"), 18},
		{"patchcore, few patches", detector.Options{Method: detector.MethodPatchCore, Coreset: 1, Memory: 100 * 4 * 16}, onnx.Symbol("N"), 13},
		{"knn", detector.Options{Method: detector.MethodKNN, Neighbors: 3}, onnx.Symbol("N"), 17},
		{"mahalanobis", detector.Options{Method: detector.MethodMahalanobis}, onnx.Symbol("N"), 17},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.opt.Preprocess = foreign
			m, r, err := detector.Fit(context.Background(), maps(t, c.batch, c.opset), good, c.opt)
			if err != nil {
				t.Fatal(err)
			}
			if r.Images != 32 || r.Held != 8 {
				t.Errorf("learned from %d images, %d held back, want 32 and 8", r.Images, r.Held)
			}
			d := load(t, m)
			for i := range bad.Len() {
				found := detect(t, d, bad, i)
				if !found.Anomalous {
					t.Errorf("the spot is missed: score %g, threshold %g", found.Score, d.Threshold())
				}
				if h := found.Heatmap; h != nil {
					hot, at := float32(math.Inf(-1)), 0
					for k, v := range h.Values {
						if v > hot {
							hot, at = v, k
						}
					}
					if x, y := at%h.W, at/h.W; x > 8 || y < 6 {
						t.Errorf("the heatmap is hottest at %d, %d, want within the spot at 2-5, 9-12", x, y)
					}
				} else if strings.HasPrefix(c.name, "pa") {
					t.Error("there is no heatmap")
				}
			}
			alarms := 0
			for i := range fresh.Len() {
				if detect(t, d, fresh, i).Anomalous {
					alarms++
				}
			}
			if alarms > 4 {
				t.Errorf("%d of %d normal images are called anomalous", alarms, fresh.Len())
			}
		})
	}
}

func detect(t *testing.T, d *runtime.Detector, src augment.Source, i int) runtime.Detection {
	t.Helper()
	m, err := src.Image(i)
	if err != nil {
		t.Fatal(err)
	}
	found, err := d.Detect(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Any ONNX Runtime gives the same as the command: with the file's threshold when none
// is given, and for several images at once.
func TestPlainRuntimeAgrees(t *testing.T) {
	good, bad := textures(t, 20, false), textures(t, 2, true)
	m, _, err := detector.Fit(context.Background(), maps(t, onnx.Symbol("N"), 17), good,
		detector.Options{Method: detector.MethodPatchCore, Preprocess: foreign})
	if err != nil {
		t.Fatal(err)
	}
	d := load(t, m)
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ort.Open(data, ort.Options{Inputs: []ort.Info{{Name: "image", Type: ort.Float32, Shape: []int{-1, 3, 16, 16}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pre := d.Preprocess()
	x := make([]float32, 3*pre.Len())
	want := []runtime.Detection{detect(t, d, bad, 0), detect(t, d, bad, 1), detect(t, d, good, 0)}
	for k, p := range []struct {
		src augment.Source
		i   int
	}{{bad, 0}, {bad, 1}, {good, 0}} {
		image, err := p.src.Image(p.i)
		if err != nil {
			t.Fatal(err)
		}
		pre.Tensor(x[k*pre.Len():(k+1)*pre.Len()], image)
	}
	in, err := ort.NewTensor([]int{3, 3, 16, 16}, x)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.RunMap(context.Background(), map[string]*ort.Tensor{"image": in})
	if err != nil {
		t.Fatal(err)
	}
	scores, _ := ort.Data[float32](out["score"])
	decisions, _ := ort.Data[bool](out["decision"])
	heat, _ := ort.Data[float32](out["heatmap"])
	for k, w := range want {
		if math.Abs(float64(scores[k]-w.Score)) > 1e-4*math.Abs(float64(w.Score)) || decisions[k] != w.Anomalous {
			t.Errorf("image %d: %g, %v; the command says %g, %v", k, scores[k], decisions[k], w.Score, w.Anomalous)
		}
		for i, v := range w.Heatmap.Values {
			if math.Abs(float64(heat[k*256+i]-v)) > 1e-4*float64(w.Heatmap.Max()) {
				t.Fatalf("image %d: heatmap[%d] is %g, the command says %g", k, i, heat[k*256+i], v)
			}
		}
	}
}

// A reconstruction has values in 0 to 1, whatever the input is normalised by.
func TestReconstructionOfNormalisedImages(t *testing.T) {
	good, bad := textures(t, 6, false), textures(t, 1, true)
	b := onnx.NewBuilder(17)
	x := b.Input(onnx.TensorInfo("image", onnx.Float, onnx.Symbol("N"), onnx.Fixed(3), onnx.Fixed(16), onnx.Fixed(16)))
	b.NodeTo("Add", []string{b.Node("Mul", []string{x, b.Float(0)}), b.Float(0.5)}, []string{"reconstruction"})
	b.Output(onnx.TensorInfo("reconstruction", onnx.Float, onnx.Symbol("N"), onnx.Fixed(3), onnx.Fixed(16), onnx.Fixed(16)))
	grey, err := b.Model("grey", onnx.Info{Kind: onnx.KindAutoencoder})
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := detector.Fit(context.Background(), grey, good,
		detector.Options{Method: detector.MethodAutoencoder, Preprocess: foreign, Sigma: -1})
	if err != nil {
		t.Fatal(err)
	}
	found := detect(t, load(t, m), bad, 0)
	want := 0.0 // of a pixel of the spot, the largest
	for _, v := range []float64{250, 10, 250} {
		want += (v/255 - 0.5) * (v/255 - 0.5) / 3
	}
	if math.Abs(float64(found.Score)-want) > 1e-5 {
		t.Errorf("the score is %g, want %g", found.Score, want)
	}
}

func TestSameSeedSameFile(t *testing.T) {
	good := textures(t, 12, false)
	bytes := func(seed uint64) string {
		m, _, err := detector.Fit(context.Background(), maps(t, onnx.Symbol("N"), 17), good,
			detector.Options{Method: detector.MethodPatchCore, Preprocess: foreign, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		data, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	first := bytes(1)
	if bytes(1) != first {
		t.Error("the same seed gives another file")
	}
	if bytes(2) == first {
		t.Error("another seed gives the same file")
	}
}

func TestFitRefuses(t *testing.T) {
	good := textures(t, 6, false)
	for want, c := range map[string]struct {
		opt detector.Options
		src augment.Source
	}{
		"unknown method":    {detector.Options{Method: "magic"}, good},
		"too few":           {detector.Options{}, textures(t, 2, false)},
		`no layer "layer9"`: {detector.Options{Layers: []string{"layer9"}}, good},
		"no stage7":         {detector.Options{Layers: []string{"stage7"}}, good},
		"one embedding":     {detector.Options{Method: detector.MethodKNN, Layers: []string{"a", "b"}}, good},
		"9 neighbours":      {detector.Options{Method: detector.MethodKNN, Neighbors: 9}, good},
		// Of all patches a hundredth stays.
		"patchcore: 9 neighbours of 3 patches": {detector.Options{Method: detector.MethodPatchCore, Coreset: 0.01, Neighbors: 9}, good},
		"sigma NaN":                            {detector.Options{Sigma: math.NaN()}, good},
		"quantile 2":                           {detector.Options{Quantile: 2}, good},
		"of class \"good\"":                    {detector.Options{Method: detector.MethodKNN, Validation: classes(t, "good")}, good},
		"no output \"embedding\"":              {detector.Options{Method: detector.MethodKNN, Layers: []string{"embedding"}}, good},
	} {
		c.opt.Preprocess = foreign
		_, _, err := detector.Fit(context.Background(), maps(t, onnx.Symbol("N"), 17), c.src, c.opt)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
	_, _, err := detector.Fit(context.Background(), maps(t, onnx.Symbol("N"), 17), good, detector.Options{})
	if err == nil || !strings.Contains(err.Error(), "--mean") {
		t.Errorf("an encoder that does not say how images are normalised: %v", err)
	}
}

// Of copies of one image nobody can tell how normal images differ, which is said; of
// images that differ nothing is. The scores of one image tell it where they are 0.
func TestAlikeImagesAreTold(t *testing.T) {
	one := textures(t, 1, false)
	copies := augment.Subset(one, make([]int, 10))
	for _, method := range []string{detector.MethodPaDiM, detector.MethodPatchCore, detector.MethodKNN} {
		for n, src := range []augment.Source{copies, augment.Subset(one, make([]int, 4)), textures(t, 10, false)} {
			_, r, err := detector.Fit(context.Background(), maps(t, onnx.Symbol("N"), 17), src, detector.Options{Method: method, Coreset: 1, Preprocess: foreign})
			if err != nil {
				t.Fatal(err)
			}
			if told, want := r.Warning != "", n == 0 || n == 1 && method != detector.MethodPatchCore; told != want {
				t.Errorf("%s, %d images: got the warning %q, want one: %v", method, src.Len(), r.Warning, want)
			}
		}
	}
}

// classes is a labelled source of two images of each class.
func classes(t *testing.T, names ...string) augment.Source {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		for k := range 2 {
			m := augment.NewImage(16, 16)
			if err := writeIn(filepath.Join(dir, n), fmt.Sprintf("%d.png", k), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	src, err := augment.Open([]string{dir}, augment.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

func writeIn(dir, name string, m *augment.Image) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return m.WritePNG(filepath.Join(dir, name))
}

// Labelled images set the threshold of the best F1.
func TestValidationSetsTheThreshold(t *testing.T) {
	good, dir := textures(t, 20, false), t.TempDir()
	for name, spot := range map[string]bool{"good": false, "spot": true} {
		src := textures(t, 5, spot)
		for i := range src.Len() {
			m, err := src.Image(i)
			if err != nil {
				t.Fatal(err)
			}
			if err := writeIn(filepath.Join(dir, name), fmt.Sprintf("%d.png", i), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	labelled, err := augment.Open([]string{dir}, augment.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer labelled.Close()
	m, r, err := detector.Fit(context.Background(), maps(t, onnx.Symbol("N"), 17), good,
		detector.Options{Method: detector.MethodPatchCore, Preprocess: foreign, Validation: labelled})
	if err != nil {
		t.Fatal(err)
	}
	if r.F1 != 1 {
		t.Errorf("F1 is %g, want 1: the spot is easy to see", r.F1)
	}
	d := load(t, m)
	for i := range labelled.Len() {
		if want := labelled.Classes()[labelled.Label(i)] == "spot"; detect(t, d, labelled, i).Anomalous != want {
			t.Errorf("%s: anomalous is %v", labelled.Name(i), !want)
		}
	}
}

func TestSetThreshold(t *testing.T) {
	m, _, err := detector.Fit(context.Background(), maps(t, onnx.Symbol("N"), 17), textures(t, 8, false),
		detector.Options{Method: detector.MethodKNN, Preprocess: foreign})
	if err != nil {
		t.Fatal(err)
	}
	for _, no := range []float64{math.Inf(1), math.NaN(), 1e300} { // the last one is infinite as float32
		if err := detector.SetThreshold(m, no, nil); err == nil {
			t.Errorf("the threshold %g is taken", no)
		}
	}
	if err := detector.SetThreshold(m, 1e6, nil); err != nil {
		t.Fatal(err)
	}
	if detect(t, load(t, m), textures(t, 1, true), 0).Anomalous {
		t.Error("a score reaches 1e6")
	}
}
