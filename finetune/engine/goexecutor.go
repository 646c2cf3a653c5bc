package engine

import (
	"context"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/op"
)

// executor runs the operations of gorgonia's nodes one after the other and forgets
// a value after its last use.
type executor struct {
	order []*op.Node   // what the roots depend on, inputs first
	drop  [][]*op.Node // drop[i] are the values that nothing needs after order[i]

	// inspect, if set, sees each computed value and says whether to go on.
	inspect func(n *op.Node, v *tensor.Dense) bool
}

func newExecutor(roots []*op.Node) *executor {
	e := &executor{order: op.Reachable(roots...)}
	lastUse := map[*op.Node]int{}
	for i, n := range e.order {
		for _, in := range n.Inputs {
			lastUse[in] = i
		}
	}
	for _, n := range roots {
		delete(lastUse, n)
	}
	e.drop = make([][]*op.Node, len(e.order))
	for n, i := range lastUse {
		e.drop[i] = append(e.drop[i], n)
	}
	return e
}

func (e *executor) run(ctx context.Context, leaves map[*op.Node]*tensor.Dense) (map[*op.Node]*tensor.Dense, error) {
	values := map[*op.Node]*tensor.Dense{}
	for i, n := range e.order {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		switch n.Kind {
		case op.Const:
			values[n] = n.Value()
		case op.Computed:
			in := make([]gorgonia.Value, len(n.Inputs))
			for k, x := range n.Inputs {
				in[k] = values[x]
			}
			out, err := n.Gorgonia().Op().Do(in...)
			if err != nil {
				return nil, err
			}
			values[n] = out.(*tensor.Dense)
			if e.inspect != nil && !e.inspect(n, values[n]) {
				return values, nil
			}
		default:
			values[n] = leaves[n]
		}
		for _, done := range e.drop[i] {
			delete(values, done)
		}
	}
	return values, nil
}

func (e *executor) Close() error { return nil }
