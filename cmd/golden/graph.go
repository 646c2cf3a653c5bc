package main

import (
	"context"
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// build makes the graph of one case.
type build struct {
	*Case
	a     *arrays
	g     *op.Graph
	in    map[string]*op.Node
	feeds engine.Tensors
}

// outputs are the results of a case by name, gradients left out.
type outputs map[string]*op.Node

// x returns a float input of the case.
func (b *build) x(name string) (*op.Node, error) {
	if n := b.in[name]; n != nil {
		return n, nil
	}
	v, err := b.a.dense(name)
	if err != nil {
		return nil, err
	}
	return b.input(name, op.Float32, v), nil
}

// labels returns an integer input of the case.
func (b *build) labels(name string) (*op.Node, error) {
	v, err := b.a.ints(name)
	if err != nil {
		return nil, err
	}
	return b.input(name, op.Int64, engine.NewTensor(v, b.a.shape(name)...)), nil
}

func (b *build) input(name string, d op.DType, v *tensor.Dense) *op.Node {
	n := b.g.Input(name, d, op.Dims(slices.Clone([]int(v.Shape()))...))
	b.in[name], b.feeds[name] = n, v
	return n
}

// all returns several float inputs.
func (b *build) all(names ...string) ([]*op.Node, error) {
	out := make([]*op.Node, len(names))
	for i, name := range names {
		var err error
		if out[i], err = b.x(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// optional returns a float input, or nil where the case has none of that name.
func (b *build) optional(name string) (*op.Node, error) {
	if !slices.Contains(b.Inputs, name) {
		return nil, nil
	}
	return b.x(name)
}

// runGraph builds a case's graph, runs it on a machine and compares every output
// that the case stores.
func runGraph(c *Case, m engine.Machine, f func(b *build) (outputs, error)) error {
	b, fn, err := graphOf(c, f)
	if err != nil {
		return err
	}
	defer b.a.Close()
	p, err := m.Compile(fn)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Load(nil); err != nil {
		return err
	}
	got, err := p.Run(context.Background(), b.feeds)
	if err != nil {
		return err
	}
	for _, name := range c.Outputs {
		if err := b.compare(name, got[name]); err != nil {
			return err
		}
	}
	return nil
}

// graphOf builds a case's graph. Its arrays stay open.
func graphOf(c *Case, f func(b *build) (outputs, error)) (b *build, fn engine.Function, err error) {
	a, err := c.open()
	if err != nil {
		return nil, fn, err
	}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	b = &build{Case: c, a: a, g: op.NewGraph(), in: map[string]*op.Node{}, feeds: engine.Tensors{}}
	out, err := f(b)
	if err != nil {
		return nil, fn, err
	}
	if err := b.addGradients(out); err != nil {
		return nil, fn, err
	}
	if err := b.g.Err(); err != nil {
		return nil, fn, err
	}
	for _, name := range c.Outputs {
		if out[name] == nil {
			if _, ok := isGrad(name); ok {
				continue // the gradient is 0: nothing depends on the input
			}
			return nil, fn, uncovered("nothing computes its output %q", name)
		}
		fn.Outputs = append(fn.Outputs, export.Output{Name: name, Node: out[name]})
	}
	return b, fn, nil
}

// addGradients adds the outputs grad_X, the gradients of L: the sum of y*up_y over
// the outputs with an upstream, or the first scalar output where there is none.
func (b *build) addGradients(out outputs) error {
	var wrt []*op.Node
	var names []string
	for _, name := range b.Outputs {
		if of, ok := isGrad(name); ok {
			x, err := b.x(of)
			if err != nil {
				return err
			}
			wrt, names = append(wrt, x), append(names, name)
		}
	}
	if len(wrt) == 0 {
		return nil
	}
	loss, err := b.loss(out)
	if err != nil {
		return err
	}
	if err := b.g.Err(); err != nil {
		return err
	}
	grads, err := engine.Backprop(loss, wrt...)
	if err != nil {
		return err
	}
	for i, g := range grads {
		out[names[i]] = g
	}
	return nil
}

func (b *build) loss(out outputs) (*op.Node, error) {
	var sum *op.Node
	for _, up := range b.Upstream {
		y := out[b.UpstreamOf[up]]
		if y == nil {
			return nil, uncovered("nothing computes its output %q", b.UpstreamOf[up])
		}
		u, err := b.x(up)
		if err != nil {
			return nil, err
		}
		if term := op.Sum(op.Mul(y, u), false); sum == nil {
			sum = term
		} else {
			sum = op.Add(sum, term)
		}
	}
	if sum != nil {
		return sum, nil
	}
	for _, name := range b.Outputs {
		if y := out[name]; y != nil && len(y.Dims) == 0 {
			return y, nil
		}
	}
	return nil, fmt.Errorf("the case has gradients, but neither an upstream nor a scalar output")
}

// compare holds the result for one output against the truth; nil stands for zeros.
func (b *build) compare(name string, v *tensor.Dense) error {
	if !b.a.has(name) && !b.a.has(name+"_f64") {
		return fmt.Errorf("%s: the case stores no such array", name)
	}
	if v == nil {
		of, _ := isGrad(name)
		return b.check(b.a, name, make([]float64, b.in[of].Size()))
	}
	if b.a.has(name) && !slices.Equal([]int(v.Shape()), b.a.shape(name)) {
		return fmt.Errorf("%s: got shape %v, want %v", name, v.Shape(), b.a.shape(name))
	}
	if b.a.integer(name) {
		return b.sameInts(name, v)
	}
	return b.check(b.a, name, float64s(v))
}

func (b *build) sameInts(name string, v *tensor.Dense) error {
	want, err := b.a.ints(name)
	if err != nil {
		return err
	}
	for i, g := range v.Int64s() {
		if g != want[i] {
			return fmt.Errorf("%s[%d]: got %d, want %d", name, i, g, want[i])
		}
	}
	return nil
}

func float64s(v *tensor.Dense) []float64 {
	var out []float64
	for _, x := range v.Float32s() {
		out = append(out, float64(x))
	}
	return out
}
