package probe

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/knn"
	"github.com/sslrt/sslrt/finetune/linear"
	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime/ort"
)

// blobs returns n vectors of each of three classes around centres, in a space with
// directions of very different scale.
func blobs(n, dim int, seed uint64) (x []float32, labels []int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for c := range 3 {
		for range n {
			for d := range dim {
				scale := math.Pow(10, float64(d%4-2))
				centre := 0.0
				if d%3 == c {
					centre = 2
				}
				x = append(x, float32(scale*(centre+rng.NormFloat64())))
			}
			labels = append(labels, c)
		}
	}
	return x, labels
}

func TestFractionIsStratified(t *testing.T) {
	labels := make([]int, 0, 1100)
	for c, n := range []int{1000, 90, 9, 1} {
		for range n {
			labels = append(labels, c)
		}
	}
	count := func(index []int) [4]int {
		var n [4]int
		for _, i := range index {
			n[labels[i]]++
		}
		return n
	}
	ten, err := Fraction(labels, 0.1, 3)
	if err != nil {
		t.Fatal(err)
	}
	if got := count(ten); got != [4]int{100, 9, 1, 1} {
		t.Errorf("10 %% are %v", got)
	}
	one, _ := Fraction(labels, 0.01, 3)
	if got := count(one); got != [4]int{10, 1, 1, 1} {
		t.Errorf("1 %% are %v", got)
	}
	for _, i := range one {
		if !slices.Contains(ten, i) {
			t.Errorf("image %d is among 1 %% and not among 10 %%", i)
		}
	}
	other, _ := Fraction(labels, 0.1, 4)
	if slices.Equal(ten, other) {
		t.Error("two seeds draw the same images")
	}
	if all, _ := Fraction(labels, 1, 3); len(all) != len(labels) {
		t.Errorf("100 %% are %d of %d", len(all), len(labels))
	}
	if _, err := Fraction(labels, 0, 1); err == nil {
		t.Error("a share of 0 is taken")
	}
}

func TestFitLinear(t *testing.T) {
	const dim = 12
	x, labels := blobs(100, dim, 1)
	p, err := FitLinear(context.Background(), x, labels, dim, LinearOptions{})
	if err != nil {
		t.Fatal(err)
	}
	testX, testY := blobs(200, dim, 2)
	logits, err := linear.Logits(p.Model, testX)
	if err != nil {
		t.Fatal(err)
	}
	// Four coordinates differ by 2 of deviation 1 for each pair of classes: the best
	// rule errs in a few per cent.
	if accuracy, _ := metrics.TopK(logits, 3, testY, 1); accuracy < 0.97 {
		t.Errorf("accuracy %g", accuracy)
	}
	if p.Held != 60 || p.Images != 300 || len(p.Trials) != 8 || !strings.Contains(p.Protocol(), "on 60 held-back training images") {
		t.Errorf("%+v, %s", p, p.Protocol())
	}
	best := 0.0
	for _, trial := range p.Trials {
		best = max(best, trial.Accuracy)
	}
	for _, trial := range p.Trials {
		if trial.C == p.C && trial.Accuracy != best {
			t.Errorf("chose C %g of accuracy %g, the best is %g", p.C, trial.Accuracy, best)
		}
	}
}

func TestFitLinearRefuses(t *testing.T) {
	ctx := context.Background()
	if _, err := FitLinear(ctx, []float32{1, 2}, []int{0, 1}, 1, LinearOptions{}); err == nil || !strings.Contains(err.Error(), "one image only") {
		t.Errorf("one image of each class: %v", err)
	}
	if _, err := FitLinear(ctx, []float32{1, 2, 3}, []int{0, 1}, 1, LinearOptions{}); err == nil {
		t.Error("three values for two labels are taken")
	}
}

// flat is an encoder that passes its 2x2 image on as the embedding.
func flat(t *testing.T, opset int64) *onnx.Model {
	t.Helper()
	b := onnx.NewBuilder(opset)
	n := onnx.Symbol("N")
	x := b.Input(onnx.TensorInfo("image", onnx.Float, n, onnx.Fixed(3), onnx.Fixed(2), onnx.Fixed(2)))
	b.NodeTo("Flatten", []string{x}, []string{"embedding"})
	b.Output(onnx.TensorInfo("embedding", onnx.Float, n, onnx.Fixed(12)))
	m, err := b.Model("flat", onnx.Info{Kind: onnx.KindEncoder, Preprocess: augment.EvalPreprocess(2).Metadata()})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// probabilities runs a classifier on vectors x: [n, 12].
func probabilities(t *testing.T, m *onnx.Model, x []float32) []float32 {
	t.Helper()
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ort.Open(data, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in, err := ort.NewTensor([]int{len(x) / 12, 3, 2, 2}, x)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.RunMap(context.Background(), map[string]*ort.Tensor{"image": in})
	if err != nil {
		t.Fatal(err)
	}
	p, err := ort.Data[float32](out["probability"])
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The files compute what the classifiers do.
func TestModelsAgree(t *testing.T) {
	const dim = 12
	x, labels := blobs(60, dim, 5)
	testX, _ := blobs(20, dim, 6)
	file := File{Classes: []string{"a", "b", "c"}, Method: "test"}
	near := func(what string, got []float32, want []float64) {
		t.Helper()
		for i := range want {
			if math.Abs(float64(got[i])-want[i]) > 2e-5 {
				t.Fatalf("%s: probability %d is %g, want %g", what, i, got[i], want[i])
			}
		}
	}
	p, err := FitLinear(context.Background(), x, labels, dim, LinearOptions{})
	if err != nil {
		t.Fatal(err)
	}
	logits, err := linear.Logits(p.Model, testX)
	if err != nil {
		t.Fatal(err)
	}
	c, err := knn.New(x, labels, dim, knn.Options{K: 20})
	if err != nil {
		t.Fatal(err)
	}
	votes, err := c.Votes(testX)
	if err != nil {
		t.Fatal(err)
	}
	for _, opset := range []int64{11, 17, 18, 21} {
		m, err := LinearModel(flat(t, opset), p.Model, p.Temperature, file)
		if err != nil {
			t.Fatal(err)
		}
		near("linear", probabilities(t, m, testX), metrics.Softmax(logits, 3, p.Temperature))
		m, err = KNNModel(flat(t, opset), x, labels, dim, 20, 0.1, file)
		if err != nil {
			t.Fatal(err)
		}
		near("knn", probabilities(t, m, testX), votes)
		info, err := onnx.ReadInfo(m)
		if err != nil {
			t.Fatal(err)
		}
		if info.Kind != onnx.KindClassifier || !slices.Equal(info.Classes, file.Classes) || info.Preprocess["size"] != "2" {
			t.Errorf("metadata %+v", info)
		}
	}
}

func TestModelRefuses(t *testing.T) {
	m := &linear.Model{Dim: 5, Classes: 2, W: make([]float64, 10), B: make([]float64, 2)}
	two := File{Classes: []string{"a", "b"}}
	for want, err := range map[string]error{
		"of width 12":   second(LinearModel(flat(t, 17), m, 1, two)),
		"two classes":   second(LinearModel(flat(t, 17), m, 1, File{})),
		"no output \"x": second(LinearModel(flat(t, 17), m, 1, File{Embedding: "x", Classes: two.Classes})),
		"opset 9":       second(LinearModel(flat(t, 9), m, 1, two)),
		"label 7":       second(KNNModel(flat(t, 17), make([]float32, 12), []int{7}, 12, 1, 0.1, two)),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

func second(_ *onnx.Model, err error) error { return err }

func TestDrawConfusion(t *testing.T) {
	c, err := metrics.NewConfusion([]int{0, 0, 1, 2}, []int{0, 1, 1, 2}, 3)
	if err != nil {
		t.Fatal(err)
	}
	m, err := DrawConfusion(c, []string{"cat", "dog", "owl"})
	if err != nil {
		t.Fatal(err)
	}
	if m.Bounds().Dx() < 200 {
		t.Errorf("the picture is of %v", m.Bounds())
	}
	if _, err := DrawConfusion(c, []string{"cat"}); err == nil {
		t.Error("one name for three classes is taken")
	}
}

// Probing changes no weight of the encoder: in the classifier's file they are the same
// bits.
func TestEncoderIsFrozen(t *testing.T) {
	b := onnx.NewBuilder(17)
	n := onnx.Symbol("N")
	x := b.Input(onnx.TensorInfo("image", onnx.Float, n, onnx.Fixed(12)))
	w := make([]float32, 144)
	for i := range w {
		w[i] = float32(math.Sin(float64(i)))
	}
	weight := b.Initializer("encoder.weight", onnx.FloatTensor("", []int64{12, 12}, w))
	b.NodeTo("Gemm", []string{x, weight}, []string{"embedding"})
	b.Output(onnx.TensorInfo("embedding", onnx.Float, n, onnx.Fixed(12)))
	encoder, err := b.Model("encoder", onnx.Info{})
	if err != nil {
		t.Fatal(err)
	}
	data, labels := blobs(20, 12, 9)
	p, err := FitLinear(context.Background(), data, labels, 12, LinearOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := LinearModel(encoder, p.Model, p.Temperature, File{Classes: []string{"a", "b", "c"}})
	if err != nil {
		t.Fatal(err)
	}
	before, after := encoder.Graph.Initializer("encoder.weight"), m.Graph.Initializer("encoder.weight")
	if after == nil || !slices.Equal(before.Raw, after.Raw) {
		t.Error("the encoder's weight is not what it was")
	}
}

// However large the share that is held back, each class keeps an image to learn from, and
// a class of one image has no other.
func TestSplitLeavesSomeOfEachClass(t *testing.T) {
	labels := []int{0, 0, 0, 0, 1, 1, 2}
	for _, share := range []float64{0.01, 0.5, 0.8, 0.9999} {
		train, held, err := Split(labels, share, 1)
		if err != nil {
			t.Fatal(err)
		}
		var learnt, kept [3]int
		for _, i := range train {
			learnt[labels[i]]++
		}
		for _, i := range held {
			kept[labels[i]]++
		}
		for c, n := range [3]int{4, 2, 1} {
			if learnt[c] < 1 || learnt[c]+kept[c] != n || n > 1 && kept[c] < 1 {
				t.Errorf("share %g: of %d images of class %d %d are learnt from and %d held back", share, n, c, learnt[c], kept[c])
			}
		}
	}
	if _, _, err := Split([]int{0, 1, 2}, 0.5, 1); !errors.Is(err, ErrNothingHeld) {
		t.Errorf("one image of each class: got %v", err)
	}
}
