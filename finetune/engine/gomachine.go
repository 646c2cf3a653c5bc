package engine

import (
	"context"
	"fmt"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/op"
)

// Go runs gorgonia's graph over the Go kernels of package models/op: no library
// needed, the reference for other machines.
//
// By default the nodes run in the order in which they were made and a value is
// forgotten after its last use. gorgonia's own tape machine, which Tape chooses,
// keeps every intermediate value: it computes the same bits with several times the
// memory, and stands beside as a check.
type Go struct {
	Tape bool
}

// Name returns "go".
func (Go) Name() string { return "go" }

// Compile makes the function ready to run.
func (m Go) Compile(f Function) (Program, error) {
	s, err := newSignature(f)
	if err != nil {
		return nil, err
	}
	roots := s.roots()
	p := &goProgram{signature: s, params: map[*op.Node]*tensor.Dense{}}
	if !m.Tape {
		p.vm = newExecutor(roots)
		return p, nil
	}
	if p.vm, err = newTape(roots); err != nil {
		return nil, fmt.Errorf("engine: go: compile: %w", err)
	}
	return p, nil
}

type goProgram struct {
	signature
	params map[*op.Node]*tensor.Dense
	before map[*op.Node]*tensor.Dense // values that the last run replaced
	vm     evaluator
}

// evaluator computes the values of its roots from those of the leaves.
type evaluator interface {
	run(ctx context.Context, leaves map[*op.Node]*tensor.Dense) (map[*op.Node]*tensor.Dense, error)
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

func (p *goProgram) Run(ctx context.Context, in Tensors) (Tensors, error) {
	leaves := map[*op.Node]*tensor.Dense{}
	for _, n := range p.inputs {
		v, err := value("input", n, in)
		if err != nil {
			return nil, err
		}
		leaves[n] = v
	}
	for _, n := range p.signature.params {
		v := p.params[n]
		if v == nil {
			return nil, fmt.Errorf("engine: go: run: parameter %q was not loaded", n.Name)
		}
		leaves[n] = v
	}
	values, err := p.vm.run(ctx, leaves)
	if err != nil {
		return nil, fmt.Errorf("engine: go: run: %w", err)
	}
	out := Tensors{}
	for _, o := range p.Outputs {
		out[o.Name] = values[o.Node]
	}
	p.before = map[*op.Node]*tensor.Dense{}
	for _, c := range p.Carry {
		p.before[c.Param] = p.params[c.Param]
		p.params[c.Param] = kept(c.Next, values)
	}
	return out, nil
}

// kept returns a value that stays ours: what the caller fed in is copied.
func kept(n *op.Node, values map[*op.Node]*tensor.Dense) *tensor.Dense {
	if n.Kind == op.Input {
		return clone(values[n])
	}
	return values[n]
}

func (p *goProgram) State() Tensors { return clones(p.Values()) }

func (p *goProgram) Values() Tensors {
	out := Tensors{}
	for n, v := range p.params {
		out[n.Name] = v
	}
	return out
}

func (p *goProgram) Before() Tensors {
	out := p.State()
	for n, v := range p.before {
		out[n.Name] = clone(v)
	}
	return out
}

func (p *goProgram) Close() error { return p.vm.Close() }
