package optim_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
)

func TestCosine(t *testing.T) {
	c := optim.Warmup{Steps: 5, Then: optim.Cosine{Base: 0.3, Min: 0.1}}
	for _, k := range []struct {
		step int
		want float64
	}{
		{0, 0.06}, {4, 0.3}, {5, 0.3}, {5 + 35/5, 0.2 + 0.1*math.Cos(math.Pi/5)}, {40, 0.1},
	} {
		if got := c.Rate(train.Step{Index: k.step, Total: 40}); math.Abs(got-k.want) > 1e-12 {
			t.Errorf("step %d: %g, want %g", k.step, got, k.want)
		}
	}
}

func ExampleWarmup() {
	schedule := optim.Warmup{Steps: 10, Then: optim.Cosine{Base: 0.06}}
	for _, i := range []int{0, 9, 55, 100} {
		fmt.Printf("%.3f ", schedule.Rate(train.Step{Index: i, Total: 100}))
	}
	// Output: 0.006 0.060 0.030 0.000
}
