package models

import (
	"fmt"
	"math"
	"strconv"

	"github.com/sslrt/sslrt/models/op"
)

// Kinds of layers.
const (
	LayerConv      = "conv"      // [N, C, H, W] to [N, Out, H', W']: weight, bias
	LayerLinear    = "linear"    // [N, D] to [N, Out]: weight, bias
	LayerBatchNorm = "batchnorm" // weight, bias, running_mean, running_var
	LayerLayerNorm = "layernorm" // over the last axis: weight, bias
	LayerReLU      = "relu"
	LayerGELU      = "gelu"
	LayerTanh      = "tanh"
	LayerMaxPool   = "maxpool"
	LayerMean      = "mean"    // over height and width: [N, C]
	LayerFlatten   = "flatten" // to [N, C*H*W]
	LayerNormalize = "l2norm"  // each row to length 1
)

// Layer is one layer of a Sequence.
type Layer struct {
	Kind   string  `yaml:"kind"`
	Out    int     `yaml:"out,omitempty"`    // conv, linear: channels or values of the result
	Bias   bool    `yaml:"bias,omitempty"`   // conv, linear
	Kernel int     `yaml:"kernel,omitempty"` // conv, maxpool: pixels of a side
	Stride int     `yaml:"stride,omitempty"` // conv: default 1; maxpool: default the kernel
	Pad    int     `yaml:"pad,omitempty"`    // conv, maxpool: pixels on each side
	Eps    float64 `yaml:"eps,omitempty"`    // batchnorm, layernorm: default 1e-5
}

// Sequence is a plain chain of layers: heads of any kind, small networks. Parameters
// are named as in a PyTorch Sequential: the layer's number, a dot and "weight".
type Sequence []Layer

// Size returns the size of the result, 0 if no layer sets it.
func (q Sequence) Size() int {
	for i := len(q) - 1; i >= 0; i-- {
		if q[i].Out > 0 {
			return q[i].Out
		}
	}
	return 0
}

// Forward applies the layers, one behind the other.
func (q Sequence) Forward(s Scope, x *op.Node) *op.Node {
	for i, l := range q {
		if x == nil {
			return nil // the cause is recorded in the graph
		}
		x = l.forward(s.Sub(strconv.Itoa(i)), x)
	}
	return x
}

func (l Layer) forward(s Scope, x *op.Node) *op.Node {
	switch l.Kind {
	case LayerConv:
		return l.conv(s, x)
	case LayerLinear:
		if len(x.Dims) != 2 {
			return s.Graph.Fail("models: a linear layer needs [N, D], got %v: flatten it first", x.Shape)
		}
		return Linear(s, x, l.Out, l.Bias)
	case LayerBatchNorm:
		return batchNorm(s, x, l.eps())
	case LayerLayerNorm:
		d := x.Dims[len(x.Dims)-1]
		return op.LayerNorm(x, s.Weight("weight", Constant(1), d), s.Weight("bias", Constant(0), d), l.eps())
	case LayerReLU:
		return op.ReLU(x)
	case LayerGELU:
		return op.GELU(x)
	case LayerTanh:
		return op.Tanh(x)
	case LayerMaxPool:
		stride := l.Stride
		if stride == 0 {
			stride = l.Kernel
		}
		return op.MaxPool2D(x, op.Pool{Kernel: [2]int{l.Kernel, l.Kernel}, Stride: [2]int{stride, stride}, Pad: [4]int{l.Pad, l.Pad, l.Pad, l.Pad}})
	case LayerMean:
		return op.GlobalAveragePool(x)
	case LayerFlatten:
		return op.Flatten(x)
	case LayerNormalize:
		return op.L2Normalize(x, 1, 1e-12)
	}
	return s.Graph.Fail("models: unknown kind of layer %q", l.Kind)
}

func (l Layer) eps() float64 {
	if l.Eps == 0 {
		return normEps
	}
	return l.Eps
}

func (l Layer) conv(s Scope, x *op.Node) *op.Node {
	if len(x.Dims) != 4 {
		return s.Graph.Fail("models: a convolution needs [N, C, H, W], got %v", x.Shape)
	}
	in, k := x.Dims[1], l.Kernel
	bound := Uniform(1 / math.Sqrt(float64(in*k*k)))
	w := s.Weight("weight", bound, l.Out, in, k, k)
	var b *op.Node
	if l.Bias {
		b = s.Weight("bias", bound, l.Out)
	}
	stride := max(1, l.Stride)
	return op.Conv2D(x, w, b, op.Conv{Stride: [2]int{stride, stride}, Pad: [4]int{l.Pad, l.Pad, l.Pad, l.Pad}})
}

// Check reports the first layer that lacks what it needs.
func (q Sequence) Check() error {
	for i, l := range q {
		var err error
		switch l.Kind {
		case LayerConv:
			if l.Out < 1 || l.Kernel < 1 || l.Stride < 0 || l.Pad < 0 {
				err = fmt.Errorf("out %d, kernel %d, stride %d, pad %d", l.Out, l.Kernel, l.Stride, l.Pad)
			}
		case LayerLinear:
			if l.Out < 1 {
				err = fmt.Errorf("out %d", l.Out)
			}
		case LayerMaxPool:
			if l.Kernel < 1 || l.Stride < 0 || l.Pad < 0 {
				err = fmt.Errorf("kernel %d, stride %d, pad %d", l.Kernel, l.Stride, l.Pad)
			}
		case LayerBatchNorm, LayerLayerNorm, LayerReLU, LayerGELU, LayerTanh, LayerMean, LayerFlatten, LayerNormalize:
		default:
			err = fmt.Errorf("unknown kind")
		}
		if err != nil {
			return fmt.Errorf("models: layer %d, %q: %w", i, l.Kind, err)
		}
	}
	return nil
}
