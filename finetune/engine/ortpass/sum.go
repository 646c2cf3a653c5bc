package ortpass

import "slices"

// BlockedSum adds values where they lie in the blocked layout anyway: the places where
// the gradients of a residual block's two branches meet.
func BlockedSum() Pass {
	return Pass{Name: "blocked-sum", run: func(e *editor) {
		for _, n := range slices.Clone(e.g.Nodes) {
			if n.OpType != "Add" || n.Domain != "" {
				continue
			}
			a, b := e.blocked[n.Inputs[0]], e.blocked[n.Inputs[1]]
			d, ok := e.dims4(n.Outputs[0])
			if a == "" || b == "" || !ok || !slices.Equal(e.shapes[n.Inputs[0]], e.shapes[n.Inputs[1]]) {
				continue
			}
			e.leaveBlocked(n, e.node("", "Add", []string{a, b}), d[1])
		}
	}}
}
