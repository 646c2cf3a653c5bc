package models

import (
	"math"
	"math/rand/v2"
)

// Init fills a parameter with its initial values.
type Init func(r *rand.Rand, data []float32)

// Constant fills with one value.
func Constant(v float32) Init {
	return func(_ *rand.Rand, data []float32) {
		for i := range data {
			data[i] = v
		}
	}
}

// KaimingNormal draws from a normal distribution of variance 2/fan (He et al.,
// 2015). torchvision's ResNets use it with the fan out, K*h*w.
func KaimingNormal(fan int) Init {
	std := math.Sqrt(2 / float64(fan))
	return func(r *rand.Rand, data []float32) {
		for i := range data {
			data[i] = float32(r.NormFloat64() * std)
		}
	}
}

// Uniform draws from [-bound, bound]. With the bound 1/sqrt(fan in) it is what
// PyTorch's nn.Linear starts from, weight and bias alike.
func Uniform(bound float64) Init {
	return func(r *rand.Rand, data []float32) {
		for i := range data {
			data[i] = float32((2*r.Float64() - 1) * bound)
		}
	}
}

// Normal draws from a normal distribution around 0.
func Normal(std float64) Init {
	return func(r *rand.Rand, data []float32) {
		for i := range data {
			data[i] = float32(r.NormFloat64() * std)
		}
	}
}
