package models

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/models/op"
)

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
		x = l.apply(s.Sub(strconv.Itoa(i)), x)
	}
	return x
}

// String names the layers in a line: "linear 512, relu, linear 128".
func (q Sequence) String() string {
	words := make([]string, len(q))
	for i, l := range q {
		words[i] = string(l.Kind)
		if l.Kind == LayerActivation {
			words[i] = string(l.Activation)
		}
		if l.Kernel > 0 {
			words[i] += fmt.Sprintf(" %dx%d", l.Kernel, l.Kernel)
		}
		if l.Out > 0 {
			words[i] += " " + strconv.Itoa(l.Out)
		}
	}
	return strings.Join(words, ", ")
}

// Check reports the first layer whose sizes make no sense, or whose kind is unknown.
func (q Sequence) Check() error {
	for i, l := range q {
		bad := l.Kernel < 0 || l.Stride < 0 || l.Pad < 0
		switch l.Kind {
		case LayerConv:
			bad = bad || l.Out < 1 || l.Kernel < 1
		case LayerLinear:
			bad = bad || l.Out < 1
		case LayerMaxPool, LayerMeanPool:
			bad = bad || l.Kernel < 1
		case LayerNorm, LayerLayerNorm, LayerNormalize, LayerActivation, LayerGlobalMean, LayerFlatten:
		default:
			return fmt.Errorf("models: layer %d: unknown kind %q", i, l.Kind)
		}
		if bad {
			return fmt.Errorf("models: layer %d, %s: out %d, kernel %d, stride %d, pad %d", i, l.Kind, l.Out, l.Kernel, l.Stride, l.Pad)
		}
	}
	return nil
}
