package models

import (
	"math"
	"strconv"

	"github.com/sslrt/sslrt/models/op"
)

// ConvEncoder is a small plain network: 3x3 convolutions of stride 2, each with the
// activation behind it, as autoencoders have it. It has no pooling: the embedding is
// the last map, flattened, and so depends on the size of the images. Its parts are
// numbered as in a PyTorch Sequential: 0 Conv, 1 activation, 2 Conv, ...
type ConvEncoder struct {
	Widths     []int // channels after each convolution
	ImageSize  int   // pixels of a side
	Activation Activation
}

// NewConvEncoder returns the network with 32 and 64 channels, scaled by width.
func NewConvEncoder(imageSize int, width float64) ConvEncoder {
	return ConvEncoder{Widths: []int{scaled(32, width), scaled(64, width)}, ImageSize: imageSize}
}

var _ Staged = ConvEncoder{}

// Size returns the size of the embedding.
func (e ConvEncoder) Size() int {
	side := e.ImageSize
	for range e.Widths {
		side = (side + 1) / 2
	}
	return e.Widths[len(e.Widths)-1] * side * side
}

// Forward maps x: [N, C, H, W] to [N, Size()].
func (e ConvEncoder) Forward(s Scope, x *op.Node) *op.Node {
	stages := e.Stages(s, x)
	return op.Flatten(stages[len(stages)-1])
}

// Stages returns the map after each convolution.
func (e ConvEncoder) Stages(s Scope, x *op.Node) []*op.Node {
	var out []*op.Node
	for i, width := range e.Widths {
		x = e.Activation.apply(biasedConv(s.Sub(strconv.Itoa(2*i)), x, width, 2))
		out = append(out, x)
	}
	return out
}

// biasedConv is a 3x3 convolution with PyTorch's initial values: parameters weight
// and bias.
func biasedConv(s Scope, x *op.Node, out, stride int) *op.Node {
	if x == nil {
		return nil
	}
	const k = 3
	bound := Uniform(1 / math.Sqrt(float64(x.Dims[1]*k*k)))
	w, b := s.Weight("weight", bound, out, x.Dims[1], k, k), s.Weight("bias", bound, out)
	return op.Conv2D(x, w, b, op.Conv{Stride: [2]int{stride, stride}, Pad: [4]int{1, 1, 1, 1}})
}
