package augment

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func noisy(n Noise, seed uint64, value float32, images, channels, pixels int) []float32 {
	x := make([]float32, images*channels*pixels)
	for i := range x {
		x[i] = value
	}
	n.Apply(rand.New(rand.NewPCG(seed, 1)), x, channels, pixels)
	return x
}

func TestNoiseGaussian(t *testing.T) {
	x := noisy(Noise{NoiseGaussian, 0.1}, 1, 0.5, 4, 3, 2500)
	sum, squares := 0.0, 0.0
	for _, v := range x {
		d := float64(v) - 0.5
		sum += d
		squares += d * d
	}
	n := float64(len(x))
	// Five standard errors of the mean and of the deviation of 30,000 normal draws.
	if mean := sum / n; math.Abs(mean) > 0.003 {
		t.Errorf("the mean moved by %g", mean)
	}
	if std := math.Sqrt(squares / n); math.Abs(std-0.1) > 0.002 {
		t.Errorf("standard deviation %g, want 0.1", std)
	}
	for _, v := range noisy(Noise{NoiseGaussian, 5}, 1, 0.5, 1, 1, 1000) {
		if v < 0 || v > 1 {
			t.Fatalf("value %g is outside 0..1", v)
		}
	}
}

func TestNoiseStrikesPixels(t *testing.T) {
	const images, channels, pixels = 3, 3, 4000
	for _, c := range []struct {
		noise  Noise
		values []float32
	}{
		{Noise{NoiseMasking, 0.3}, []float32{0}},
		{Noise{NoiseSaltPepper, 0.1}, []float32{0, 1}},
	} {
		x := noisy(c.noise, 7, 0.25, images, channels, pixels)
		count := map[float32]int{}
		for i := range images {
			for p := range pixels {
				v := x[i*channels*pixels+p]
				for ch := range channels {
					if got := x[(i*channels+ch)*pixels+p]; got != v {
						t.Fatalf("%s: the channels of a pixel are %g and %g", c.noise.Kind, v, got)
					}
				}
				count[v]++
			}
		}
		struck := images*pixels - count[0.25]
		if share := float64(struck) / (images * pixels); math.Abs(share-c.noise.Level) > 0.02 {
			t.Errorf("%s: %g of the pixels struck, want %g", c.noise.Kind, share, c.noise.Level)
		}
		for _, v := range c.values {
			if share := float64(count[v]) / float64(struck); math.Abs(share-1/float64(len(c.values))) > 0.06 {
				t.Errorf("%s: %g of the struck pixels are %g", c.noise.Kind, share, v)
			}
		}
	}
}

// TestNoiseRepeats: keep and add drawn one by one are those that are drawn together.
func TestNoiseRepeats(t *testing.T) {
	for _, kind := range []NoiseKind{NoiseGaussian, NoiseMasking, NoiseSaltPepper} {
		n := Noise{kind, kind.DefaultLevel()}
		var keep, add [2][]float32
		for i := range 2 {
			keep[i], add[i] = make([]float32, 2*3*50), make([]float32, 2*3*50)
		}
		stream := func() *rand.Rand { return rand.New(rand.NewPCG(3, 4)) }
		n.Draw(stream(), 2, 3, 50, keep[0], add[0])
		n.Draw(stream(), 2, 3, 50, keep[1], nil)
		n.Draw(stream(), 2, 3, 50, nil, add[1])
		if !slices.Equal(keep[0], keep[1]) || !slices.Equal(add[0], add[1]) {
			t.Errorf("%s: drawn apart it is another noise", kind)
		}
		if slices.Equal(noisy(n, 1, 0.5, 1, 1, 99), noisy(n, 2, 0.5, 1, 1, 99)) {
			t.Errorf("%s: two streams give the same noise", kind)
		}
	}
}

func TestNoiseValidate(t *testing.T) {
	for _, c := range []struct {
		noise Noise
		want  string
	}{
		{Noise{}, ""},
		{Noise{NoiseGaussian, 0.5}, ""},
		{Noise{NoiseGaussian, 0}, "more than 0"},
		{Noise{NoiseGaussian, math.NaN()}, "more than 0"},
		{Noise{NoiseMasking, 1.5}, "at most 1"},
		{Noise{"speckle", 0.1}, `unknown noise "speckle"`},
		{Noise{"", 0.1}, "without a kind"},
	} {
		err := c.noise.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c.noise, err, c.want)
		}
	}
}

// A grey image of four pixels, half of them masked.
func ExampleNoise() {
	x := []float32{0.2, 0.4, 0.6, 0.8}
	n := Noise{Kind: NoiseMasking, Level: 0.5}
	n.Apply(rand.New(rand.NewPCG(1, 3)), x, 1, 4)
	fmt.Println(x)
	// Output: [0.2 0 0.6 0]
}
