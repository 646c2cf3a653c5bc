package objective

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1)).
func TestBeta(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, a := range []float64{0.2, 1, 5} {
		const n = 20000
		sum, squares := 0.0, 0.0
		for range n {
			v := beta(r, a)
			if !(v >= 0 && v <= 1) {
				t.Fatalf("Beta(%g, %g) gave %g", a, a, v)
			}
			sum, squares = sum+v, squares+v*v
		}
		mean := sum / n
		variance, want := squares/n-mean*mean, 1/(4*(2*a+1))
		// Four standard errors of the mean; the variance's is smaller beside 5 % of it.
		if math.Abs(mean-0.5) > 4*math.Sqrt(want/n) || math.Abs(variance-want) > 0.05*want {
			t.Errorf("Beta(%g, %g): mean %g, variance %g, want 0.5, %g", a, a, mean, variance, want)
		}
	}
}

func TestBoxHasItsArea(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	mask := make([]float32, 64*64)
	for range 50 {
		box(mask, 64, 64, 0.75, r) // a box of 32 x 32, cut at the border
		zeros := 0
		for _, v := range mask {
			if v == 0 {
				zeros++
			}
		}
		if zeros < 16*16 || zeros > 32*32 {
			t.Errorf("the box has %d pixels, want %d to %d", zeros, 16*16, 32*32)
		}
	}
}

// identity is an encoder that gives the mean of each channel.
type identity struct{}

func (identity) Size() int                                   { return 3 }
func (identity) Forward(_ models.Scope, x *op.Node) *op.Node { return op.GlobalAveragePool(x) }

// With mixup the loss is the weighted sum of those of both labels, of the mixed images;
// by hand for two images.
func TestMixup(t *testing.T) {
	s := Supervised{Encoder: identity{}, Classes: 2, Mixup: 1}
	step, err := train.Build(train.Config{Objective: s, Optimizer: nothing{}, Rate: func(train.Step) float64 { return 0 }, BatchSize: 2, Image: []int{3, 1, 1}})
	if err != nil {
		t.Fatal(err)
	}
	images := []float32{1, 2, 3, -1, 0, 2}
	in := step.Inputs(train.Step{Index: 5, Total: 9, Seed: 7})
	own := float64(in["mix"].Float32s()[0])
	loss, weight, bias := runStep(t, step, in, images, []int64{0, 1})
	want := 0.0
	for k := range 2 {
		var logits [2]float64
		for c := range logits {
			logits[c] = float64(bias[c])
			for d := range 3 {
				x := own*float64(images[3*k+d]) + (1-own)*float64(images[3*(1-k)+d])
				logits[c] += float64(weight[3*c+d]) * x
			}
		}
		z := math.Log(math.Exp(logits[0]) + math.Exp(logits[1]))
		want += (own*(z-logits[k]) + (1-own)*(z-logits[1-k])) / 2
	}
	if math.Abs(loss-want) > 1e-5 {
		t.Errorf("loss %g, want %g", loss, want)
	}
	if again := step.Inputs(train.Step{Index: 5, Total: 9, Seed: 7}); again["mix"].Float32s()[0] != float32(own) {
		t.Error("the same step draws another weight")
	}
}
