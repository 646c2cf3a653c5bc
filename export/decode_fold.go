package export

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// foldBudget bounds the elements that are computed while a model is decoded.
var foldBudget = 1 << 28

// known tells whether a node's result can be computed now: all it reads are
// constants, parameters not among them.
func (d *decoder) known(n *onnx.Node, r rule) bool {
	if r.heavy {
		return false
	}
	for _, name := range n.Inputs {
		if name != "" && d.values[name].constant == nil {
			return false
		}
	}
	return true
}

// fold computes the results of a node by the kernels of its operations, and again
// for one image more in the batch where what it reads depends on that.
func (d *decoder) fold(n *onnx.Node, r rule) error {
	results, err := d.evaluate(n, r, false)
	if err != nil {
		return err
	}
	shadowed := false
	for _, name := range n.Inputs {
		shadowed = shadowed || d.values[name].shadow != nil
	}
	if shadowed {
		others, err := d.evaluate(n, r, true)
		if err != nil {
			return fmt.Errorf("with one image more in the batch: %w", err)
		}
		for i := range results {
			if results[i].defined() && !results[i].constant.same(others[i].constant) {
				results[i].shadow = others[i].constant
			}
		}
	}
	return d.define(n, results)
}

// evaluate builds a node on a graph of its own, from constants or their shadows, and
// runs it.
func (d *decoder) evaluate(n *onnx.Node, r rule, shadow bool) ([]value, error) {
	own := &decoder{graph: op.NewGraph(), opset: d.opset, mode: d.mode, half: d.half, values: map[string]value{}, budget: d.budget}
	for _, name := range n.Inputs {
		v := d.values[name]
		if shadow && v.shadow != nil {
			v.constant = v.shadow
		}
		v.node, v.shadow = nil, nil
		own.values[name] = v
	}
	c := &call{decoder: own, n: n}
	results, err := c.build(r)
	if err != nil {
		return nil, err
	}
	for i, v := range results {
		if v.node == nil {
			continue
		}
		dense, err := d.run(v.node)
		if err != nil {
			return nil, err
		}
		results[i] = value{constant: &constant{dtype: v.node.DType, dims: v.node.Dims, dense: dense}}
	}
	return results, nil
}

// spend takes elements from the budget: a small file can ask for any number of them.
func (d *decoder) spend(elements int) error {
	if elements > *d.budget {
		return fmt.Errorf("constants of more than %d elements are too large to be made here", foldBudget)
	}
	*d.budget -= elements
	return nil
}

// run computes a node that depends on constants only.
func (d *decoder) run(root *op.Node) (*tensor.Dense, error) {
	values := map[*op.Node]*tensor.Dense{}
	for _, n := range op.Reachable(root) {
		if n.Kind == op.Const {
			values[n] = n.Value()
			continue
		}
		if err := sizeFits(n.Shape); err != nil {
			return nil, err
		}
		if err := d.spend(n.Size()); err != nil {
			return nil, err
		}
		in := make([]*tensor.Dense, len(n.Inputs))
		for i, x := range n.Inputs {
			in[i] = values[x]
		}
		out, err := n.Op.Run(in)
		if err != nil {
			return nil, err
		}
		values[n] = out
	}
	return values[root], nil
}
