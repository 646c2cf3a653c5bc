package engine

import (
	"context"
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/op"
)

// Go is gorgonia's tape machine over the Go kernels of package models/op.
type Go struct{}

// Name returns "go".
func (Go) Name() string { return "go" }

// Compile makes a tape of the function.
func (Go) Compile(f Function) (Program, error) {
	s, err := newSignature(f)
	if err != nil {
		return nil, err
	}
	p := &goProgram{signature: s, params: map[*op.Node]*tensor.Dense{}}
	var roots gorgonia.Nodes
	root := map[*op.Node]bool{}
	add := func(n *op.Node) {
		if n.Kind == op.Computed && !root[n] {
			root[n] = true
			roots = append(roots, n.Gorgonia())
		}
	}
	for _, o := range f.Outputs {
		add(o.Node)
	}
	for _, c := range f.Carry {
		add(c.Next)
	}
	if len(roots) == 0 {
		return p, nil
	}
	var leaves gorgonia.Nodes
	for n := range root {
		for _, leaf := range op.Reachable(n) {
			if leaf.Kind != op.Computed && !leaves.Contains(leaf.Gorgonia()) {
				leaves = append(leaves, leaf.Gorgonia())
			}
		}
	}
	tape, locations, err := gorgonia.CompileFunction(roots[0].Graph(), leaves, roots)
	if err != nil {
		return nil, fmt.Errorf("engine: go: compile: %w", err)
	}
	p.vm = gorgonia.NewTapeMachine(roots[0].Graph(), gorgonia.WithPrecompiled(tape, locations))
	return p, nil
}

type goProgram struct {
	signature
	params map[*op.Node]*tensor.Dense
	vm     tapeMachine // nil when nothing is computed
}

// tapeMachine is what we use of gorgonia's type, which is not exported.
type tapeMachine interface {
	RunAll() error
	Reset()
	Close() error
}

func (p *goProgram) Load(params Tensors) error {
	for _, n := range p.signature.params {
		v, err := value("parameter", n, params)
		if err != nil {
			return err
		}
		p.params[n] = clone(v)
	}
	return nil
}

// Run cannot be interrupted: gorgonia's machine has no way to.
func (p *goProgram) Run(ctx context.Context, in Tensors) (Tensors, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("engine: go: run: %w", err)
	}
	values := map[*op.Node]*tensor.Dense{}
	for _, n := range p.inputs {
		v, err := value("input", n, in)
		if err != nil {
			return nil, err
		}
		values[n] = v
	}
	for _, n := range p.signature.params {
		v := p.params[n]
		if v == nil {
			return nil, fmt.Errorf("engine: go: run: parameter %q was not loaded", n.Name)
		}
		values[n] = v
	}
	for n, v := range values {
		if err := gorgonia.Let(n.Gorgonia(), v); err != nil {
			return nil, fmt.Errorf("engine: go: bind %v: %w", n, err)
		}
	}
	if p.vm != nil {
		defer p.vm.Reset()
		if err := p.vm.RunAll(); err != nil {
			return nil, fmt.Errorf("engine: go: run: %w", err)
		}
	}
	result := func(n *op.Node) *tensor.Dense {
		if v := values[n]; v != nil {
			return v
		}
		return n.Gorgonia().Value().(*tensor.Dense)
	}
	out := Tensors{}
	for _, o := range p.Outputs {
		out[o.Name] = result(o.Node)
	}
	next := map[*op.Node]*tensor.Dense{}
	for _, c := range p.Carry {
		v := result(c.Next)
		if c.Next.Kind == op.Input {
			v = clone(v) // the caller's, who may fill it anew
		}
		next[c.Param] = v
	}
	for n, v := range next {
		p.params[n] = v
	}
	return out, nil
}

func (p *goProgram) State() Tensors {
	out := Tensors{}
	for n, v := range p.params {
		out[n.Name] = clone(v)
	}
	return out
}

func (p *goProgram) Close() error {
	if p.vm == nil {
		return nil
	}
	return p.vm.Close()
}
