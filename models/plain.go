package models

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/models/op"
)

// LayerKind is what a layer of a plain network does.
type LayerKind string

const (
	LayerConv       LayerKind = "conv"        // Out, Kernel, Stride, Pad, NoBias
	LayerLinear     LayerKind = "linear"      // Out, NoBias; maps are flattened
	LayerNorm       LayerKind = "norm"        // BatchNorm
	LayerMaxPool    LayerKind = "max-pool"    // Kernel, Stride, Pad
	LayerMeanPool   LayerKind = "mean-pool"   // Kernel, Stride, Pad; the padding counts
	LayerGlobalMean LayerKind = "global-mean" // over all positions: [N, C]
	LayerFlatten    LayerKind = "flatten"
	LayerActivation LayerKind = "activation" // Activation
	LayerLayerNorm  LayerKind = "layer-norm" // over the last axis
	LayerNormalize  LayerKind = "normalize"  // each row to length 1
)

// Layer is one layer of a plain network.
type Layer struct {
	Kind LayerKind `yaml:"kind"`

	// Name is that of the parameters, such as "conv1"; empty is the layer's place in
	// the list, from 0, as in a PyTorch Sequential.
	Name string `yaml:"name,omitempty"`

	Out        int        `yaml:"out,omitempty"` // channels or features
	Kernel     int        `yaml:"kernel,omitempty"`
	Stride     int        `yaml:"stride,omitempty"` // 0 is 1, of a pooling the kernel
	Pad        int        `yaml:"pad,omitempty"`
	NoBias     bool       `yaml:"no_bias,omitempty"`
	Activation Activation `yaml:"activation,omitempty"`
}

// Plain is a network of layers one after the other, by configuration. What comes
// out at the end, flattened, is the embedding.
type Plain struct {
	Layers []Layer
	Image  Map // that it is for
}

var _ Encoder = Plain{}

// NamePlain is the name of NewPlain's networks: cnn, or with the channels of each
// convolution cnn-16-32-64.
const NamePlain = "cnn"

// plainWidths are those of the encoder that the first version of sthalles/SimCLR
// was published with.
var plainWidths = []int{16, 32, 64, 64}

// NewPlain returns a network of 3x3 convolutions with the activation and a 2x2
// max-pool behind each, and the mean over all positions at the end: conv1, conv2, ...
// for images of a size.
func NewPlain(name string, image Map, width float64) (Plain, error) {
	widths := plainWidths
	if list, ok := strings.CutPrefix(name, NamePlain+"-"); ok {
		widths = nil
		for _, text := range strings.Split(list, "-") {
			w, err := strconv.Atoi(text)
			if err != nil || w < 1 || w > 1<<16 {
				return Plain{}, fmt.Errorf("models: encoder %q: %q is no number of channels: want %s-16-32-64", name, text, NamePlain)
			}
			widths = append(widths, w)
		}
	} else if name != NamePlain {
		return Plain{}, unknownEncoder(name)
	}
	if err := checkWidth(width); err != nil {
		return Plain{}, err
	}
	p := Plain{Image: image}
	for i, w := range widths {
		p.Layers = append(p.Layers,
			Layer{Kind: LayerConv, Name: "conv" + strconv.Itoa(i+1), Out: scaled(w, width), Kernel: 3, Pad: 1},
			Layer{Kind: LayerActivation},
			Layer{Kind: LayerMaxPool, Kernel: 2})
	}
	p.Layers = append(p.Layers, Layer{Kind: LayerGlobalMean})
	if side := min(image.Height, image.Width); side>>len(widths) == 0 {
		return Plain{}, fmt.Errorf("models: encoder %q halves images %d times: %d pixels are too few", name, len(widths), side)
	}
	return p, nil
}

// Size returns the size of the embedding.
func (p Plain) Size() int {
	g := op.NewGraph()
	x := g.Input("image", op.Float32, op.Batched(2, p.Image.Channels, p.Image.Height, p.Image.Width))
	if y := p.Forward(NewScope(NewParams(g), false), x); y != nil {
		return y.Dims[1]
	}
	return 0 // Forward says why
}

// Forward maps x: [N, C, H, W] to [N, Size()].
func (p Plain) Forward(s Scope, x *op.Node) *op.Node {
	for i, l := range p.Layers {
		name := l.Name
		if name == "" {
			name = strconv.Itoa(i)
		}
		x = l.apply(s.Sub(name), x)
	}
	return op.Flatten(x)
}

func (l Layer) apply(s Scope, x *op.Node) *op.Node {
	if x == nil {
		return nil
	}
	k, st := [2]int{l.Kernel, l.Kernel}, [2]int{l.Stride, l.Stride}
	pad := [4]int{l.Pad, l.Pad, l.Pad, l.Pad}
	switch l.Kind {
	case LayerConv:
		if len(x.Dims) != 4 || l.Kernel < 1 || l.Out < 1 {
			return s.Graph.Fail("models: layer %sconv: want maps [N, C, H, W], a kernel and channels, got %v and %+v", s.prefix, x.Shape, l)
		}
		fan := x.Dims[1] * l.Kernel * l.Kernel
		bound := Uniform(1 / math.Sqrt(float64(fan)))
		w := s.Weight("weight", bound, l.Out, x.Dims[1], l.Kernel, l.Kernel)
		var b *op.Node
		if !l.NoBias {
			b = s.Weight("bias", bound, l.Out)
		}
		return op.Conv2D(x, w, b, op.Conv{Stride: st, Pad: pad})
	case LayerLinear:
		if l.Out < 1 {
			return s.Graph.Fail("models: layer %slinear: %d features", s.prefix, l.Out)
		}
		return Linear(s, op.Flatten(x), l.Out, !l.NoBias)
	case LayerNorm:
		return BatchNorm(s, x)
	case LayerMaxPool:
		return op.MaxPool2D(x, op.Pool{Kernel: k, Stride: st, Pad: pad})
	case LayerMeanPool:
		return op.AvgPool2D(x, op.Pool{Kernel: k, Stride: st, Pad: pad}, true)
	case LayerGlobalMean:
		return op.GlobalAveragePool(x)
	case LayerFlatten:
		return op.Flatten(x)
	case LayerActivation:
		return l.Activation.apply(x)
	case LayerLayerNorm:
		return layerNorm(s, x, normEps)
	case LayerNormalize:
		return op.L2Normalize(x, 1, 1e-12)
	}
	return s.Graph.Fail("models: unknown kind of layer %q", l.Kind)
}
