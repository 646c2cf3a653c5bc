package models

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/models/op"
)

// Stem is the first layer of a ResNet.
type Stem string

const (
	StemImageNet Stem = "imagenet" // 7x7, stride 2, then a 3x3 max-pool of stride 2
	StemCIFAR    Stem = "cifar"    // 3x3, stride 1, padding 1, no pooling: for small images
)

// StemFor returns the stem that suits square images of a size: the 3x3 one up to
// 64 pixels.
func StemFor(imageSize int) Stem {
	if imageSize <= 64 {
		return StemCIFAR
	}
	return StemImageNet
}

// ResNet is the residual network of He et al., 2015 ("Deep residual learning for
// image recognition") with torchvision's names, in its v1.5 form: a bottleneck
// strides in its 3x3 convolution. It maps x: [N, C, H, W] to an embedding
// [N, Size()].
type ResNet struct {
	Blocks     []int // residual blocks per stage
	Widths     []int // channels per stage, four times that after a bottleneck
	Bottleneck bool
	Stem       Stem
	Activation Activation
}

// resNets are the networks by name.
var resNets = map[string]ResNet{
	"resnet18": {Blocks: []int{2, 2, 2, 2}},
	"resnet34": {Blocks: []int{3, 4, 6, 3}},
	"resnet50": {Blocks: []int{3, 4, 6, 3}, Bottleneck: true},
}

// NewResNet returns the network called name, its stages of 64, 128, 256 and 512
// channels scaled by width and rounded.
func NewResNet(name string, stem Stem, width float64) (ResNet, error) {
	r, ok := resNets[name]
	if !ok {
		return ResNet{}, fmt.Errorf("models: unknown encoder %q: choose %s", name, strings.Join(EncoderNames(), ", "))
	}
	if stem != StemCIFAR && stem != StemImageNet {
		return ResNet{}, fmt.Errorf("models: unknown stem %q: choose %s or %s", stem, StemCIFAR, StemImageNet)
	}
	if !(width > 0 && width <= 16) {
		return ResNet{}, fmt.Errorf("models: width is %g, want more than 0 and at most 16", width)
	}
	r.Stem = stem
	for _, w := range []float64{64, 128, 256, 512} {
		r.Widths = append(r.Widths, max(1, int(math.Round(w*width))))
	}
	return r, nil
}

// EncoderNames lists the names that NewResNet knows.
func EncoderNames() []string {
	var names []string
	for n := range resNets {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Size returns the size of the embedding.
func (r ResNet) Size() int { return r.Widths[len(r.Widths)-1] * r.expansion() }

func (r ResNet) expansion() int {
	if r.Bottleneck {
		return 4
	}
	return 1
}

// Forward applies the network to x: [N, C, H, W] and averages over the positions
// of the last stage: [N, Size()].
func (r ResNet) Forward(s Scope, x *op.Node) *op.Node {
	if r.Stem == StemImageNet {
		x = Conv(s.Sub("conv1"), x, r.Widths[0], 7, 2, 3)
	} else {
		x = Conv(s.Sub("conv1"), x, r.Widths[0], 3, 1, 1)
	}
	x = r.Activation.apply(BatchNorm(s.Sub("bn1"), x))
	if r.Stem == StemImageNet {
		x = op.MaxPool2D(x, op.Pool{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}})
	}
	for stage, blocks := range r.Blocks {
		layer := s.Sub("layer" + strconv.Itoa(stage+1))
		for i := range blocks {
			stride := 1
			if stage > 0 && i == 0 {
				stride = 2
			}
			x = r.block(layer.Sub(strconv.Itoa(i)), x, r.Widths[stage], stride)
		}
	}
	return op.GlobalAveragePool(x)
}

// block is one residual block: two 3x3 convolutions, or 1x1, 3x3, 1x1.
func (r ResNet) block(s Scope, x *op.Node, width, stride int) *op.Node {
	if x == nil {
		return nil
	}
	out := width * r.expansion()
	shortcut := x
	if stride != 1 || x.Dims[1] != out {
		shortcut = BatchNorm(s.Sub("downsample.1"), Conv(s.Sub("downsample.0"), x, out, 1, stride, 0))
	}
	if r.Bottleneck {
		x = r.Activation.apply(BatchNorm(s.Sub("bn1"), Conv(s.Sub("conv1"), x, width, 1, 1, 0)))
		x = r.Activation.apply(BatchNorm(s.Sub("bn2"), Conv(s.Sub("conv2"), x, width, 3, stride, 1)))
		x = BatchNorm(s.Sub("bn3"), Conv(s.Sub("conv3"), x, out, 1, 1, 0))
	} else {
		x = r.Activation.apply(BatchNorm(s.Sub("bn1"), Conv(s.Sub("conv1"), x, width, 3, stride, 1)))
		x = BatchNorm(s.Sub("bn2"), Conv(s.Sub("conv2"), x, width, 3, 1, 1))
	}
	return r.Activation.apply(op.Add(x, shortcut))
}
