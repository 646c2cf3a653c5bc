package models

import (
	"math"

	"github.com/sslrt/sslrt/models/op"
)

// BatchNorm's constants, PyTorch's defaults.
const (
	normEps      = 1e-5
	normMomentum = 0.1
)

// Conv is a convolution of x: [N, C, H, W] with a square kernel and without bias,
// as ResNets have it: parameter weight.
func Conv(s Scope, x *op.Node, out, kernel, stride, pad int) *op.Node {
	return groupedConv(s, x, out, kernel, stride, pad, 1)
}

func groupedConv(s Scope, x *op.Node, out, kernel, stride, pad, groups int) *op.Node {
	if x == nil {
		return nil
	}
	w := s.Weight("weight", KaimingNormal(out*kernel*kernel), out, x.Dims[1]/groups, kernel, kernel)
	return op.Conv2D(x, w, nil, op.Conv{Stride: [2]int{stride, stride}, Pad: [4]int{pad, pad, pad, pad}, Groups: groups})
}

// BatchNorm normalises the channels of x: [N, C, ...]; parameters weight, bias,
// running_mean and running_var. In training the running statistics follow the
// batch's with momentum 0.1, the variance unbiased, as in PyTorch.
func BatchNorm(s Scope, x *op.Node) *op.Node {
	if x == nil {
		return nil
	}
	c := x.Dims[1]
	w, b := s.Weight("weight", Constant(1), c), s.Weight("bias", Constant(0), c)
	mean, variance := s.Buffer("running_mean", Constant(0), c), s.Buffer("running_var", Constant(1), c)
	if !s.Train {
		return op.BatchNormEval(x, mean, variance, w, b, normEps)
	}
	m := x.Size() / c
	if m < 2 {
		return s.Graph.Fail("models: BatchNorm in training needs more than one value per channel, got %v", x.Shape)
	}
	y, batchMean, batchVar := op.BatchNormTrain(x, w, b, normEps)
	follow := func(running, batch *op.Node, scale float64) *op.Node {
		return op.Add(op.Scale(running, 1-normMomentum), op.Scale(batch, normMomentum*scale))
	}
	s.SetBuffer("running_mean", follow(mean, batchMean, 1))
	s.SetBuffer("running_var", follow(variance, batchVar, float64(m)/float64(m-1)))
	return y
}

// Linear is x w^T + b for x: [N, D]; parameters weight and, if asked for, bias.
func Linear(s Scope, x *op.Node, out int, bias bool) *op.Node {
	if x == nil {
		return nil
	}
	in := x.Dims[1]
	bound := Uniform(1 / math.Sqrt(float64(in)))
	w := s.Weight("weight", bound, out, in)
	if !bias {
		return op.Linear(x, w, nil)
	}
	return op.Linear(x, w, s.Weight("bias", bound, out))
}

// Activation is a nonlinearity by its name.
type Activation string

const (
	ReLU Activation = "relu" // the default
	SiLU Activation = "silu"
	GELU Activation = "gelu"
	Tanh Activation = "tanh"
)

func (a Activation) apply(x *op.Node) *op.Node {
	switch a {
	case "", ReLU:
		return op.ReLU(x)
	case SiLU:
		return op.SiLU(x)
	case GELU:
		return op.GELU(x)
	case Tanh:
		return op.Tanh(x)
	}
	if x == nil {
		return nil
	}
	return x.Graph().Fail("models: unknown activation %q: choose relu, silu, gelu or tanh", a)
}
