package onnx

import (
	"maps"
	"slices"
)

// Extend returns a Builder that goes on where a model ends: its nodes and
// initialisers are there, its names are taken, its inputs stay. Its outputs are
// values like others now: give the new model's by [Builder.Output]. What none of
// them needs is left out of the new model. m is not changed, its tensors are shared.
func Extend(m *Model) *Builder {
	b := NewBuilder(m.Opset(""))
	b.opsets = slices.Clone(m.Opsets)
	b.from = m
	b.graph = &Graph{
		Nodes:        slices.Clone(m.Graph.Nodes),
		Initializers: slices.Clone(m.Graph.Initializers),
		Sparse:       slices.Clone(m.Graph.Sparse),
		Inputs:       slices.Clone(m.Graph.Inputs),
	}
	for _, i := range slices.Concat(m.Graph.Inputs, m.Graph.Outputs, m.Graph.ValueInfo) {
		b.used[i.Name] = true
	}
	for _, t := range m.Graph.Initializers {
		b.used[t.Name] = true
	}
	for _, n := range m.Graph.Nodes {
		b.used[n.Name] = true
		for _, out := range n.Outputs {
			b.used[out] = true
		}
	}
	return b
}

// Prune removes the nodes and initialisers that no output of the graph needs, and
// the indices of max-pools that nobody reads, which cost ONNX Runtime its fast
// kernel. Initialisers that are inputs too stay: they are part of the model's face.
func (g *Graph) Prune() {
	needed := map[string]bool{}
	for _, o := range g.Outputs {
		needed[o.Name] = true
	}
	kept := make([]*Node, 0, len(g.Nodes))
	for _, n := range slices.Backward(g.Nodes) {
		if !slices.ContainsFunc(n.Outputs, func(out string) bool { return needed[out] }) {
			continue
		}
		if n.OpType == "MaxPool" && len(n.Outputs) == 2 && !needed[n.Outputs[1]] {
			single := *n
			single.Outputs = n.Outputs[:1]
			n = &single
		}
		kept = append(kept, n)
		maps.Copy(needed, n.reads())
	}
	slices.Reverse(kept)
	g.Nodes = kept
	for _, i := range g.Inputs {
		needed[i.Name] = true
	}
	g.Initializers = slices.DeleteFunc(slices.Clone(g.Initializers), func(t *Tensor) bool { return !needed[t.Name] })
}

// reads returns the names that a node takes, in the graphs among its attributes too.
func (n *Node) reads() map[string]bool {
	names := map[string]bool{}
	for _, in := range n.Inputs {
		if in != "" {
			names[in] = true
		}
	}
	for _, a := range n.Attrs {
		graphs := a.Graphs
		if a.G != nil {
			graphs = append([]*Graph{a.G}, graphs...)
		}
		for _, g := range graphs {
			for _, inner := range g.Nodes {
				maps.Copy(names, inner.reads())
			}
			for _, o := range g.Outputs {
				names[o.Name] = true // perhaps a value of the outer graph, passed on
			}
		}
	}
	return names
}

// Inner returns a Builder for a graph inside a node, such as the body of a Loop. It
// may read the values of b's graph, and takes names that neither has.
func (b *Builder) Inner() *Builder {
	return &Builder{graph: new(Graph), opsets: slices.Clone(b.opsets), used: b.used, next: b.next, shared: map[string]string{}}
}

// Graph returns the finished graph of a Builder from Inner, for a [GraphAttr].
func (b *Builder) Graph(name string) *Graph {
	b.graph.Name = name
	return b.graph
}
