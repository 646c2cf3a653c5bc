package engine

import (
	"context"
	"math"
	"strings"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/op"
)

// FirstNonFinite runs a function on the Go machine with these parameters and inputs
// and returns the first computed node with a value that is NaN or infinite, nil if
// there is none.
func FirstNonFinite(ctx context.Context, f Function, params, in Tensors) (*op.Node, error) {
	s, err := newSignature(f)
	if err != nil {
		return nil, err
	}
	leaves := map[*op.Node]*tensor.Dense{}
	for _, n := range s.inputs {
		if leaves[n], err = value("input", n, in); err != nil {
			return nil, err
		}
	}
	for _, n := range s.params {
		if leaves[n], err = value("parameter", n, params); err != nil {
			return nil, err
		}
	}
	var bad *op.Node
	e := newExecutor(s.roots())
	e.inspect = func(n *op.Node, v *tensor.Dense) bool {
		if n.DType == op.Float32 && !finite(v.Float32s()) {
			bad = n
		}
		return bad == nil
	}
	_, err = e.run(ctx, leaves)
	return bad, err
}

func finite(x []float32) bool {
	for _, v := range x {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return false
		}
	}
	return true
}

// LayerOf names the layer that a node belongs to: that of the parameter it reads
// or, for one without parameters, of the nearest node before it that reads one.
// It is empty for a node that depends on none.
func LayerOf(n *op.Node) string {
	for level := []*op.Node{n}; len(level) > 0; {
		var before []*op.Node
		for _, m := range level {
			for _, in := range m.Inputs {
				if in.Kind == op.Param {
					if at := strings.LastIndexByte(in.Name, '.'); at > 0 {
						return in.Name[:at]
					}
					return in.Name
				}
				before = append(before, in)
			}
		}
		level = before
	}
	return ""
}
