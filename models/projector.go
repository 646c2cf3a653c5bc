package models

import (
	"strconv"

	"github.com/sslrt/sslrt/models/op"
)

// Projector is the head that maps an embedding [N, D] to the projection
// [N, Widths[last]] that a self-supervised loss compares (Chen et al., 2020,
// "SimCLR"). Hidden layers are followed by BatchNorm and the activation. Its parts
// are numbered as in a PyTorch Sequential: 0 Linear, 1 BatchNorm, 2 activation, 3
// Linear, 4 BatchNorm. A single width is one linear layer; without widths it
// passes its input on.
type Projector struct {
	Widths     []int
	Bias       bool // of the linear layers
	LastNorm   bool // BatchNorm behind the last layer too
	Activation Activation
}

// NewProjector returns the projector of the default recipe: without bias and with
// BatchNorm on all layers, or for a single width one linear layer with bias.
func NewProjector(widths ...int) Projector {
	single := len(widths) == 1
	return Projector{Widths: widths, Bias: single, LastNorm: !single}
}

// Forward applies the projector to x: [N, D].
func (p Projector) Forward(s Scope, x *op.Node) *op.Node {
	part := 0
	next := func() Scope {
		part++
		return s.Sub(strconv.Itoa(part - 1))
	}
	for i, width := range p.Widths {
		last := i == len(p.Widths)-1
		x = Linear(next(), x, width, p.Bias)
		if !last || p.LastNorm {
			x = BatchNorm(next(), x)
		}
		if !last {
			next()
			x = p.Activation.apply(x)
		}
	}
	return x
}
