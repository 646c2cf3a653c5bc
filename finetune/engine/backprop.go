package engine

import (
	"fmt"

	"github.com/sslrt/sslrt/models/op"
)

// Backprop adds the gradients of a scalar loss with respect to the given nodes
// to their graph. A node that the loss does not depend on, or only through
// StopGradient, has the gradient nil.
func Backprop(loss *op.Node, wrt ...*op.Node) ([]*op.Node, error) {
	return backprop(loss, wrt, nil)
}

// backprop is Backprop; anew, if it is not nil, says what gradients take in place of
// values of the forward pass.
func backprop(loss *op.Node, wrt []*op.Node, anew *recomputation) ([]*op.Node, error) {
	if loss == nil {
		return nil, fmt.Errorf("engine: backprop: there is no loss")
	}
	g := loss.Graph()
	if err := g.Err(); err != nil {
		return nil, err
	}
	if loss.Size() != 1 {
		return nil, fmt.Errorf("engine: backprop: the loss must be one number, got %v", loss.Type)
	}
	// needed holds the nodes on a path from wrt to the loss: all others are left
	// out, gradients of inputs above all.
	order := op.Reachable(loss)
	needed := map[*op.Node]bool{}
	for _, n := range wrt {
		needed[n] = true
	}
	for _, n := range order {
		for _, in := range n.Inputs {
			needed[n] = needed[n] || needed[in]
		}
	}
	one := g.Scalar(1)
	if len(loss.Dims) > 0 {
		one = op.Reshape(one, loss.Shape)
	}
	grads := map[*op.Node]*op.Node{loss: one}
	for i := len(order) - 1; i >= 0; i-- {
		n := order[i]
		dy := grads[n]
		if n.Kind != op.Computed || dy == nil || !needed[n] {
			continue
		}
		inputs, y := n.Inputs, n
		if anew != nil {
			anew.enter(n, dy)
			inputs, y = make([]*op.Node, len(n.Inputs)), anew.of(n)
			for j, in := range n.Inputs {
				inputs[j] = anew.of(in)
			}
		}
		for j, d := range n.Gradients(inputs, y, dy) {
			in := n.Inputs[j]
			if d == nil || !needed[in] {
				continue
			}
			if sum := grads[in]; sum != nil {
				d = in.AddGradients(sum, d)
			}
			grads[in] = d
		}
		if err := g.Err(); err != nil {
			return nil, fmt.Errorf("engine: backprop through %v: %w", n, err)
		}
	}
	out := make([]*op.Node, len(wrt))
	for i, n := range wrt {
		out[i] = grads[n]
	}
	return out, nil
}
