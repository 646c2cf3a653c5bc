package ortpass

import "strings"

const blockedSuffix = "#blocked"

// PlainName returns the name that a value has in the plain layout, given the one it has
// in the blocked layout: profiles tell by it what a node computes.
func PlainName(value string) string { return strings.TrimSuffix(value, blockedSuffix) }

// nameBlocked names the values that a pass made in the blocked layout after those that
// they are in the plain layout, before the reorders between the two go away.
func (e *editor) nameBlocked() {
	for _, n := range e.g.Nodes {
		if n.Domain != blockedDomain || n.OpType != "ReorderOutput" {
			continue
		}
		v, name := n.Inputs[0], n.Outputs[0]+blockedSuffix
		p := e.producer[v]
		if p == nil || !strings.HasPrefix(v, passPrefix) || e.used[name] {
			continue
		}
		for i, out := range p.Outputs {
			if out == v {
				p.Outputs[i] = name
			}
		}
		e.used[name], e.producer[name] = true, p
		delete(e.producer, v)
		e.rename(v, name)
	}
}
