package op

import "testing"

func TestBlocks(t *testing.T) {
	g := NewGraph()
	x := g.Input("x", Float32, Dims(2))
	first := g.Block(func() *Node { return Exp(x) })
	between := Neg(first)
	second := g.Block(func() *Node { return Neg(between) })
	for _, c := range []struct {
		n    *Node
		want int
	}{{x, -1}, {first, 0}, {between, -1}, {second, 1}} {
		if got := c.n.Block(); got != c.want {
			t.Errorf("%v: block %d, want %d", c.n, got, c.want)
		}
	}
	if g.Blocks() != 2 || g.Err() != nil {
		t.Errorf("%d blocks, %v", g.Blocks(), g.Err())
	}
	if n := g.Block(func() *Node { return g.Block(func() *Node { return x }) }); n != nil || g.Err() == nil {
		t.Errorf("a block within a block: got %v, %v", n, g.Err())
	}
}

func TestFLOP(t *testing.T) {
	g := NewGraph()
	x := g.Input("x", Float32, Batched(2, 6, 9, 9))
	w := g.Param("w", Float32, Dims(4, 3, 3, 3))
	y := Conv2D(x, w, nil, Conv{Stride: [2]int{2, 2}, Groups: 2}) // [2, 4, 4, 4]
	dy := g.Input("dy", Float32, y.Shape)
	grads := y.Gradients(y.Inputs, y, dy)
	a, b := g.Input("a", Float32, Dims(5, 2, 7)), g.Param("b", Float32, Dims(7, 3))
	m := MatMul(a, b)
	turned := Gemm(g.Input("c", Float32, Dims(7, 4)), Transpose(b, 1, 0), true, true)
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	const conv = 2 * 2 * 4 * 4 * 4 * 3 * 9
	for _, c := range []struct {
		n    *Node
		want int
	}{{y, conv}, {grads[0], conv}, {grads[1], conv}, {m, 2 * 5 * 2 * 7 * 3}, {turned, 2 * 4 * 7 * 3}, {Add(m, m), 0}, {x, 0}} {
		if got := c.n.FLOP(); got != c.want {
			t.Errorf("%v: got %d, want %d", c.n, got, c.want)
		}
	}
	for _, c := range []struct {
		n         *Node
		of        *Node
		forWeight bool
		name      string
	}{{y, nil, false, "Conv2D"}, {grads[0], y, false, "Conv2DInputGrad"}, {grads[1], y, true, "Conv2DWeightGrad"}, {x, nil, false, ""},
		{x.AddGradients(dy, dy), x, false, "Add"}, {b.AddGradients(b, b), b, true, "Add"}} {
		if c.n.Of != c.of || c.n.ForWeight != c.forWeight || c.n.OpName() != c.name {
			t.Errorf("%v: of %v, for weight %t, name %q", c.n, c.n.Of, c.n.ForWeight, c.n.OpName())
		}
	}
	// A weight that was turned is a weight.
	if d := turned.Gradients(turned.Inputs, turned, turned); d[0].ForWeight || !d[1].ForWeight {
		t.Errorf("got %t and %t, want the second to be for a weight", d[0].ForWeight, d[1].ForWeight)
	}
	// All that leads to the gradient of a weight is for it, not what was there before.
	scaled := Mul(m, g.Param("scale", Float32, Dims(3)))
	before := Neg(m)
	d := scaled.Gradients(scaled.Inputs, scaled, before)
	made := 0
	for _, n := range Reachable(d[1]) {
		if n.ForWeight != (n.Of == scaled) {
			t.Errorf("%v: of %v, for weight %t", n, n.Of, n.ForWeight)
		}
		if n.Of == scaled {
			made++
		}
	}
	if made < 2 || before.Of != nil || d[0].ForWeight {
		t.Errorf("%d nodes for the weight; before: %v; the other gradient %t", made, before.Of, d[0].ForWeight)
	}
	// The gradient of a bias as large as the result is dy itself, which is another's.
	bias := g.Param("bias", Float32, m.Shape)
	sum := Add(m, bias)
	if d := sum.Gradients(sum.Inputs, sum, grads[0]); grads[0].ForWeight {
		t.Errorf("%v became a gradient for a weight: %v", grads[0], d)
	}
}
