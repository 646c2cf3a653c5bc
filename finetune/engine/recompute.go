package engine

import (
	"github.com/sslrt/sslrt/models/op"
)

// BackpropCheckpointed is Backprop with activation checkpointing (Chen et al., 2016,
// "Training deep nets with sublinear memory cost"): the backward pass keeps no value
// within the network's blocks (op.Graph.Block), only what goes from one to another. It
// computes a block anew once the gradient of the block's result is there.
func BackpropCheckpointed(loss *op.Node, wrt ...*op.Node) ([]*op.Node, error) {
	return backprop(loss, wrt, newRecomputation(loss))
}

// recomputation makes the second copies of what lies within blocks.
type recomputation struct {
	blocks map[int][]*op.Node    // what is left to copy of each block, inputs first
	copies map[*op.Node]*op.Node // of values within blocks
}

func newRecomputation(loss *op.Node) *recomputation {
	r := &recomputation{blocks: map[int][]*op.Node{}, copies: map[*op.Node]*op.Node{}}
	if loss == nil {
		return r
	}
	order := op.Reachable(loss)
	kept := map[*op.Node]bool{} // used outside their block
	for _, n := range order {
		for _, in := range n.Inputs {
			if in.Block() != n.Block() {
				kept[in] = true
			}
		}
	}
	for _, n := range order {
		if b := n.Block(); b >= 0 && n.Kind == op.Computed && !kept[n] {
			r.blocks[b] = append(r.blocks[b], n)
		}
	}
	return r
}

// enter copies the block that n belongs to, if that was not done yet. dy, the gradient of
// n, is then the first gradient within the block.
func (r *recomputation) enter(n, dy *op.Node) {
	b := n.Block()
	late := map[*op.Node]*op.Node{} // what the block takes from outside
	for _, m := range r.blocks[b] {
		inputs := make([]*op.Node, len(m.Inputs))
		for i, in := range m.Inputs {
			switch {
			case in.Block() == b, in.Kind == op.Param, in.Kind == op.Const, len(in.Dims) == 0:
				inputs[i] = r.of(in)
			default:
				// Without it all blocks could be computed at once, before their gradients.
				if late[in] == nil {
					late[in] = op.After(in, dy)
				}
				inputs[i] = late[in]
			}
		}
		r.copies[m] = op.Apply(m.Op, inputs...)
	}
	delete(r.blocks, b)
}

// of returns the copy of n, or n where it has none.
func (r *recomputation) of(n *op.Node) *op.Node {
	if c, ok := r.copies[n]; ok {
		return c
	}
	return n
}
