package onnx

import (
	"errors"
	"fmt"
	"slices"
)

// Check reports the first thing that makes m no valid model: names defined twice
// or not at all, nodes out of topological order, operators of a domain that is not
// imported, tensors whose data do not fit their shape, untyped inputs or outputs,
// attributes without the value they state. It is the structural part of ONNX's own
// checker; whether an operator exists and takes these inputs it does not know.
func Check(m *Model) error {
	if err := check(m); err != nil {
		return fmt.Errorf("onnx: check: %w", err)
	}
	return nil
}

func check(m *Model) error {
	if m.IRVersion <= 0 {
		return errors.New("there is no ir_version")
	}
	if m.Graph == nil {
		return errors.New("there is no graph")
	}
	keys := map[string]bool{}
	for _, e := range m.Metadata {
		if keys[e.Key] {
			return fmt.Errorf("metadata key %q comes twice", e.Key)
		}
		keys[e.Key] = true
	}
	c := &checker{model: m, opsets: m.Opsets, functions: map[[3]string]bool{}}
	if m.IRVersion >= 3 {
		if err := checkOpsets(m.Opsets); err != nil {
			return err
		}
	}
	for _, f := range m.Functions {
		id := [3]string{canonicalDomain(f.Domain), f.Name, f.Overload}
		if c.functions[id] {
			return fmt.Errorf("function %q of domain %q is defined twice", f.Name, f.Domain)
		}
		c.functions[id] = true
	}
	for _, f := range m.Functions {
		if err := c.function(f); err != nil {
			return fmt.Errorf("function %q: %w", f.Name, err)
		}
	}
	if err := c.graph(m.Graph, nil); err != nil {
		return fmt.Errorf("graph %q: %w", m.Graph.Name, err)
	}
	return nil
}

func checkOpsets(opsets []Opset) error {
	if len(opsets) == 0 {
		return errors.New("there is no opset_import")
	}
	for i, o := range opsets {
		if slices.ContainsFunc(opsets[:i], func(p Opset) bool { return canonicalDomain(p.Domain) == canonicalDomain(o.Domain) }) {
			return fmt.Errorf("opset_import names the domain %q twice", o.Domain)
		}
	}
	return nil
}

// checker holds what is the same for all graphs of a model.
type checker struct {
	model     *Model
	opsets    []Opset
	functions map[[3]string]bool
	inside    bool // a function
}

// scope is the set of values a node may use: those of its graph defined so far, and
// those of the graphs around it.
type scope struct {
	values map[string]bool
	outer  *scope
}

func (s *scope) has(name string) bool {
	for ; s != nil; s = s.outer {
		if s.values[name] {
			return true
		}
	}
	return false
}

func (c *checker) function(f *Function) error {
	if f.Name == "" {
		return errors.New("has no name")
	}
	if err := checkOpsets(f.Opsets); err != nil {
		return err
	}
	s := &scope{values: map[string]bool{}}
	for _, name := range f.Inputs {
		if s.values[name] {
			return fmt.Errorf("input %q comes twice", name)
		}
		s.values[name] = true
	}
	in := *c
	in.opsets, in.inside = f.Opsets, true
	if err := in.nodes(f.Nodes, s); err != nil {
		return err
	}
	for _, name := range f.Outputs {
		if !s.values[name] {
			return fmt.Errorf("output %q is given by no node", name)
		}
	}
	return nil
}

func (c *checker) graph(g *Graph, outer *scope) error {
	if g.Name == "" {
		return errors.New("has no name")
	}
	s := &scope{values: map[string]bool{}, outer: outer}
	for _, i := range g.Inputs {
		if err := checkValue(i, outer == nil); err != nil {
			return fmt.Errorf("input %q: %w", i.Name, err)
		}
		if s.values[i.Name] {
			return fmt.Errorf("input %q comes twice", i.Name)
		}
		s.values[i.Name] = true
	}
	inits := map[string]bool{}
	for _, t := range g.Initializers {
		if err := c.initializer(t, inits, s); err != nil {
			return fmt.Errorf("initializer %q: %w", t.Name, err)
		}
	}
	for _, sp := range g.Sparse {
		if err := checkSparse(sp); err != nil {
			return fmt.Errorf("sparse initializer: %w", err)
		}
		if err := c.initializer(sp.Values, inits, s); err != nil {
			return fmt.Errorf("sparse initializer %q: %w", sp.Values.Name, err)
		}
	}
	if err := c.nodes(g.Nodes, s); err != nil {
		return err
	}
	outputs := map[string]bool{}
	for _, o := range g.Outputs {
		if err := checkValue(o, outer == nil); err != nil {
			return fmt.Errorf("output %q: %w", o.Name, err)
		}
		if outputs[o.Name] {
			return fmt.Errorf("output %q comes twice", o.Name)
		}
		outputs[o.Name] = true
		if !s.has(o.Name) {
			return fmt.Errorf("output %q is given by no node, input or initializer", o.Name)
		}
	}
	return nil
}

// checkValue checks an input or output; those of a subgraph may be untyped, since
// the node around it says what they are.
func checkValue(i *ValueInfo, typed bool) error {
	if i.Name == "" {
		return errors.New("has no name")
	}
	if typed && !i.HasType() {
		return errors.New("has no type")
	}
	if typed && i.Type != Undefined && i.Dims == nil {
		return errors.New("has no shape, not even one of unknown sizes")
	}
	return nil
}

func (c *checker) initializer(t *Tensor, inits map[string]bool, s *scope) error {
	if t.Name == "" {
		return errors.New("has no name")
	}
	if inits[t.Name] {
		return errors.New("is defined twice")
	}
	inits[t.Name] = true
	if c.model.IRVersion < 4 && !s.values[t.Name] {
		return fmt.Errorf("is not among the inputs, as ir_version %d asks", c.model.IRVersion)
	}
	s.values[t.Name] = true
	return t.storage()
}

func (c *checker) nodes(nodes []*Node, s *scope) error {
	for i, n := range nodes {
		if err := c.node(n, s); err != nil {
			var missing undefined
			if errors.As(err, &missing) {
				for j, later := range nodes[i:] {
					if slices.Contains(later.Outputs, string(missing)) {
						err = fmt.Errorf("%w; node %d (%s) gives it: nodes are not in topological order", err, i+j, later.title())
						break
					}
				}
			}
			return fmt.Errorf("node %d (%s): %w", i, n.title(), err)
		}
	}
	return nil
}

// title names a node for a message: "Conv_1, Conv", or its operator alone.
func (n *Node) title() string {
	if n.Name == "" {
		return n.OpType
	}
	return n.Name + ", " + n.OpType
}

// undefined is the error of a node that uses a value nothing before it gives.
type undefined string

func (u undefined) Error() string {
	return fmt.Sprintf("input %q is not defined before it", string(u))
}

func (c *checker) node(n *Node, s *scope) error {
	if n.OpType == "" {
		return errors.New("has no operator")
	}
	if len(n.Inputs) == 0 && len(n.Outputs) == 0 {
		return errors.New("has neither inputs nor outputs")
	}
	own := c.functions[[3]string{canonicalDomain(n.Domain), n.OpType, n.Overload}]
	if !own && opsetOf(c.opsets, n.Domain) == 0 && c.model.IRVersion >= 3 {
		return fmt.Errorf("no opset_import for its domain %q", n.Domain)
	}
	for _, name := range n.Inputs {
		if name != "" && !s.has(name) {
			return undefined(name)
		}
	}
	for i, a := range n.Attrs {
		if a.Name == "" {
			return fmt.Errorf("attribute %d has no name", i)
		}
		if slices.ContainsFunc(n.Attrs[:i], func(b *Attr) bool { return b.Name == a.Name }) {
			return fmt.Errorf("attribute %q comes twice", a.Name)
		}
		if err := c.attr(a, s); err != nil {
			return fmt.Errorf("attribute %q: %w", a.Name, err)
		}
	}
	for _, name := range n.Outputs {
		if name == "" {
			continue
		}
		if s.has(name) {
			return fmt.Errorf("output %q is already defined", name)
		}
		s.values[name] = true
	}
	return nil
}

func (c *checker) attr(a *Attr, s *scope) error {
	if a.RefName != "" {
		if !c.inside {
			return fmt.Errorf("refers to %q outside a function", a.RefName)
		}
		return nil
	}
	if err := a.value(c.model.IRVersion); err != nil {
		return err
	}
	for _, t := range append(slices.Clone(a.Tensors), a.T) {
		if t != nil {
			if err := t.storage(); err != nil {
				return fmt.Errorf("tensor %q: %w", t.Name, err)
			}
		}
	}
	for _, sp := range append(slices.Clone(a.Sparses), a.Sparse) {
		if sp != nil {
			if err := checkSparse(sp); err != nil {
				return err
			}
		}
	}
	for _, g := range append(slices.Clone(a.Graphs), a.G) {
		if g != nil {
			if err := c.graph(g, s); err != nil {
				return fmt.Errorf("graph %q: %w", g.Name, err)
			}
		}
	}
	return nil
}

// value checks that the attribute holds a value of its type and no other.
func (a *Attr) value(irVersion int64) error {
	held := [...]bool{
		AttrFloat:         a.F != 0 || a.has(2),
		AttrInt:           a.I != 0 || a.has(3),
		AttrString:        a.S != nil,
		AttrTensor:        a.T != nil,
		AttrGraph:         a.G != nil,
		AttrFloats:        len(a.Floats) > 0,
		AttrInts:          len(a.Ints) > 0,
		AttrStrings:       len(a.Strings) > 0,
		AttrTensors:       len(a.Tensors) > 0,
		AttrGraphs:        len(a.Graphs) > 0,
		AttrSparseTensor:  a.Sparse != nil,
		AttrSparseTensors: len(a.Sparses) > 0,
	}
	if a.Type == AttrUndefined {
		if irVersion >= 2 {
			return errors.New("has no type")
		}
		return nil
	}
	for typ, is := range held {
		if is && AttrType(typ) != a.Type {
			return fmt.Errorf("is of type %v but holds %v", a.Type, AttrType(typ))
		}
	}
	switch a.Type {
	case AttrTensor, AttrGraph, AttrSparseTensor:
		if !held[a.Type] {
			return fmt.Errorf("is of type %v but holds none", a.Type)
		}
	}
	return nil
}

func checkSparse(s *SparseTensor) error {
	if s.Values == nil || s.Indices == nil {
		return errors.New("sparse tensor lacks its values or its indices")
	}
	for _, t := range []*Tensor{s.Values, s.Indices} {
		if err := t.storage(); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	return nil
}
