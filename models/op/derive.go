package op

// Gradients returns n.Op.Grad(in, y, dy), and notes on each node that it makes what the
// node is for. in and y are n's inputs and n itself, or copies of them.
func (n *Node) Gradients(in []*Node, y, dy *Node) []*Node {
	g := n.graph
	g.deriving = n
	grads := n.Op.Grad(in, y, dy)
	g.deriving = nil
	for i, d := range grads {
		if d != nil && n.Inputs[i].fixed {
			d.noteWeight(n)
		}
	}
	return grads
}

// AddGradients adds two gradients with respect to n where they meet.
func (n *Node) AddGradients(a, b *Node) *Node {
	sum := Add(a, b)
	if sum != nil {
		sum.Of, sum.ForWeight = n, n.fixed
	}
	return sum
}

// noteWeight sets ForWeight on d and on what leads to it, if they were made for the
// gradient of n.
func (d *Node) noteWeight(n *Node) {
	if d.Of != n || d.ForWeight {
		return
	}
	d.ForWeight = true
	for _, in := range d.Inputs {
		in.noteWeight(n)
	}
}

// allFixed reports inputs that are weights or constants, or made of such only.
func allFixed(in []*Node) bool {
	for _, n := range in {
		if !n.fixed {
			return false
		}
	}
	return true
}
