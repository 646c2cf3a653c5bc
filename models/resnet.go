package models

import (
	"fmt"
	"math"
	"strconv"

	"github.com/sslrt/sslrt/models/op"
)

// Stem is the first layer of a ResNet: a convolution, BatchNorm, the activation
// and, if it has a kernel, a max-pool.
type Stem struct {
	Kernel, Stride, Pad int
	MaxPool             op.Pool
	Linear              bool // without the activation
}

var (
	// StemImageNet is a 7x7 convolution of stride 2, then a 3x3 max-pool of stride 2.
	StemImageNet = Stem{Kernel: 7, Stride: 2, Pad: 3,
		MaxPool: op.Pool{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}}}

	// StemCIFAR is a 3x3 convolution of stride 1 without pooling, for small images.
	StemCIFAR = Stem{Kernel: 3, Stride: 1, Pad: 1}
)

// Shortcut says how a residual block's input meets a result of another size.
type Shortcut int

const (
	// ShortcutConv is a 1x1 convolution and BatchNorm: downsample.0 and .1.
	ShortcutConv Shortcut = iota
	// ShortcutPad takes every second pixel and adds channels of zeros, half of them
	// before and half behind: "option A", without weights.
	ShortcutPad
)

// ResNet is the residual network of He et al., 2015 ("Deep residual learning for
// image recognition") with torchvision's names. It maps x: [N, C, H, W] to an
// embedding [N, Size()]. With Groups and GroupWidth it is ResNeXt (Xie et al.,
// 2017) or the wide ResNet (Zagoruyko and Komodakis, 2016) of torchvision.
type ResNet struct {
	Blocks      []int // residual blocks per stage; each stage but the first halves the image
	Widths      []int // channels per stage, four times that after a bottleneck
	Bottleneck  bool
	Groups      int  // of a bottleneck's 3x3 convolution; 0 is 1
	GroupWidth  int  // its channels per group, of 64 channels of the stage; 0 is 64
	StrideIn1x1 bool // v1: a bottleneck strides in its first convolution; else v1.5: in the 3x3
	Shortcut    Shortcut
	Stem        Stem
	Activation  Activation
}

// resNets are the networks by name. Where they have no widths, these are 64, 128,
// 256 and 512.
var resNets = map[string]ResNet{
	"resnet18":         {Blocks: []int{2, 2, 2, 2}},
	"resnet34":         {Blocks: []int{3, 4, 6, 3}},
	"resnet50":         {Blocks: []int{3, 4, 6, 3}, Bottleneck: true},
	"resnet101":        {Blocks: []int{3, 4, 23, 3}, Bottleneck: true},
	"resnet152":        {Blocks: []int{3, 8, 36, 3}, Bottleneck: true},
	"wide_resnet50_2":  {Blocks: []int{3, 4, 6, 3}, Bottleneck: true, GroupWidth: 128},
	"wide_resnet101_2": {Blocks: []int{3, 4, 23, 3}, Bottleneck: true, GroupWidth: 128},
	"resnext50_32x4d":  {Blocks: []int{3, 4, 6, 3}, Bottleneck: true, Groups: 32, GroupWidth: 4},
	"resnext101_32x8d": {Blocks: []int{3, 4, 23, 3}, Bottleneck: true, Groups: 32, GroupWidth: 8},

	// The networks for CIFAR of He et al., section 4.2: 6n+2 layers.
	"resnet20":  cifarResNet(3),
	"resnet32":  cifarResNet(5),
	"resnet44":  cifarResNet(7),
	"resnet56":  cifarResNet(9),
	"resnet110": cifarResNet(18),
}

func cifarResNet(n int) ResNet {
	return ResNet{Blocks: []int{n, n, n}, Widths: []int{16, 32, 64}, Shortcut: ShortcutPad}
}

// NewResNet returns the network called name, its channels scaled by width and
// rounded: width 2 and 4 are the networks of SimCLR.
func NewResNet(name string, stem Stem, width float64) (ResNet, error) {
	r, ok := resNets[name]
	if !ok {
		return ResNet{}, unknownEncoder(name)
	}
	if err := checkWidth(width); err != nil {
		return ResNet{}, err
	}
	r.Stem = stem
	widths := r.Widths
	if widths == nil {
		widths = []int{64, 128, 256, 512}
	}
	r.Widths = make([]int, len(widths))
	for i, w := range widths {
		r.Widths[i] = scaled(w, width)
	}
	return r, nil
}

// scaled returns channels times width, rounded, at least 1.
func scaled(channels int, width float64) int {
	return max(1, int(math.Round(float64(channels)*width)))
}

func checkWidth(width float64) error {
	if !(width > 0 && width <= 16) {
		return fmt.Errorf("models: width is %g, want more than 0 and at most 16", width)
	}
	return nil
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
	stages := r.Stages(s, x)
	return op.GlobalAveragePool(stages[len(stages)-1])
}

// Stages returns the result of each stage for x: [N, C, H, W], the first of the
// largest images: layer1, layer2, ...
func (r ResNet) Stages(s Scope, x *op.Node) []*op.Node {
	stem := r.Stem
	x = BatchNorm(s.Sub("bn1"), Conv(s.Sub("conv1"), x, r.Widths[0], stem.Kernel, stem.Stride, stem.Pad))
	if !stem.Linear {
		x = r.Activation.apply(x)
	}
	if stem.MaxPool.Kernel != [2]int{} {
		x = op.MaxPool2D(x, stem.MaxPool)
	}
	var stages []*op.Node
	for stage, blocks := range r.Blocks {
		layer := s.Sub("layer" + strconv.Itoa(stage+1))
		for i := range blocks {
			stride := 1
			if stage > 0 && i == 0 {
				stride = 2
			}
			x = s.Graph.Block(func() *op.Node { return r.block(layer.Sub(strconv.Itoa(i)), x, r.Widths[stage], stride) })
		}
		stages = append(stages, x)
	}
	return stages
}

// block is one residual block: two 3x3 convolutions, or 1x1, 3x3, 1x1.
func (r ResNet) block(s Scope, x *op.Node, width, stride int) *op.Node {
	if x == nil {
		return nil
	}
	out := width * r.expansion()
	shortcut := r.shortcut(s, x, out, stride)
	part := func(i, out, kernel, stride, groups int) {
		n := strconv.Itoa(i)
		x = groupedConv(s.Sub("conv"+n), x, out, kernel, stride, kernel/2, groups)
		x = BatchNorm(s.Sub("bn"+n), x)
	}
	if r.Bottleneck {
		groups, first := max(r.Groups, 1), 1
		inner := width * groups
		if r.GroupWidth != 0 {
			inner = max(1, width*r.GroupWidth/64) * groups
		}
		if r.StrideIn1x1 {
			first, stride = stride, 1
		}
		part(1, inner, 1, first, 1)
		x = r.Activation.apply(x)
		part(2, inner, 3, stride, groups)
		x = r.Activation.apply(x)
		part(3, out, 1, 1, 1)
	} else {
		part(1, out, 3, stride, 1)
		x = r.Activation.apply(x)
		part(2, out, 3, 1, 1)
	}
	return r.Activation.apply(op.Add(x, shortcut))
}

// shortcut brings a block's input to the size of its result.
func (r ResNet) shortcut(s Scope, x *op.Node, out, stride int) *op.Node {
	if stride == 1 && x.Dims[1] == out {
		return x
	}
	if r.Shortcut == ShortcutPad {
		if more := out - x.Dims[1]; more < 0 {
			return s.Graph.Fail("models: ResNet: a shortcut without weights cannot drop channels: %d become %d", x.Dims[1], out)
		} else if x = op.AvgPool2D(x, op.Pool{Kernel: [2]int{1, 1}, Stride: [2]int{stride, stride}}, true); more > 0 {
			x = op.Pad(x, 1, more/2, more-more/2)
		}
		return x
	}
	return BatchNorm(s.Sub("downsample.1"), Conv(s.Sub("downsample.0"), x, out, 1, stride, 0))
}
