package engine

import (
	"context"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/op"
)

// tape runs gorgonia's tape machine.
type tape struct {
	roots []*op.Node
	vm    tapeMachine // nil when nothing is computed
}

// tapeMachine is what we use of gorgonia's type, which is not exported.
type tapeMachine interface {
	RunAll() error
	Reset()
	Close() error
}

func newTape(roots []*op.Node) (*tape, error) {
	var computed []*op.Node
	var nodes, leaves gorgonia.Nodes
	for _, n := range roots {
		if n.Kind == op.Computed && !nodes.Contains(n.Gorgonia()) {
			computed = append(computed, n)
			nodes = append(nodes, n.Gorgonia())
		}
	}
	t := &tape{roots: roots}
	if len(computed) == 0 {
		return t, nil
	}
	for _, n := range op.Reachable(computed...) {
		if n.Kind != op.Computed {
			leaves = append(leaves, n.Gorgonia())
		}
	}
	graph := nodes[0].Graph()
	program, locations, err := gorgonia.CompileFunction(graph, leaves, nodes)
	if err != nil {
		return nil, err
	}
	t.vm = gorgonia.NewTapeMachine(graph, gorgonia.WithPrecompiled(program, locations))
	return t, nil
}

// run cannot be interrupted: gorgonia's machine has no way to.
func (t *tape) run(ctx context.Context, leaves map[*op.Node]*tensor.Dense) (map[*op.Node]*tensor.Dense, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for n, v := range leaves {
		if err := gorgonia.Let(n.Gorgonia(), v); err != nil {
			return nil, err
		}
	}
	if t.vm != nil {
		defer t.vm.Reset()
		if err := t.vm.RunAll(); err != nil {
			return nil, err
		}
	}
	values := map[*op.Node]*tensor.Dense{}
	for _, n := range t.roots {
		if values[n] = leaves[n]; values[n] == nil {
			values[n] = n.Gorgonia().Value().(*tensor.Dense)
		}
	}
	return values, nil
}

func (t *tape) Close() error {
	if t.vm == nil {
		return nil
	}
	return t.vm.Close()
}
