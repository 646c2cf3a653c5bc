package ortpass

import (
	"fmt"
	"slices"

	"github.com/sslrt/sslrt/models/onnx"
)

// blockedDomain holds ONNX Runtime's operators on the blocked layout NCHWc: of
// [N, C, H, W], C split in blocks that lie innermost, [N, C/c, H, W, c]. The shapes
// of its values still read [N, C, H, W].
const blockedDomain = "com.microsoft.nchwc"

// passPrefix starts the names that passes make up.
const passPrefix = "pass:"

// editor rewrites one graph: new nodes are added in any order, and finish puts them
// before their users.
type editor struct {
	model    *onnx.Model
	g        *onnx.Graph
	producer map[string]*onnx.Node
	readers  map[string][]*onnx.Node // the nodes that read a value
	shapes   map[string][]int64
	floats   map[string]bool // values of a known shape that are float32
	consts   map[string]*onnx.Tensor
	blocked  map[string]string // a value's copy in the blocked layout
	used     map[string]bool   // names of nodes and values
	made     int
}

func newEditor(m *onnx.Model) *editor {
	e := &editor{model: m, g: m.Graph, producer: map[string]*onnx.Node{}, readers: map[string][]*onnx.Node{}, shapes: map[string][]int64{}, floats: map[string]bool{},
		consts: map[string]*onnx.Tensor{}, blocked: map[string]string{}, used: map[string]bool{}}
	for _, n := range e.g.Nodes {
		e.index(n)
	}
	for _, list := range [][]*onnx.ValueInfo{e.g.Inputs, e.g.Outputs, e.g.ValueInfo} {
		for _, v := range list {
			if dims, ok := static(v); ok {
				e.shapes[v.Name] = dims
				e.floats[v.Name] = v.Type == onnx.Float
			}
		}
	}
	for _, t := range e.g.Initializers {
		e.consts[t.Name] = t
		e.used[t.Name] = true
	}
	return e
}

func (e *editor) index(n *onnx.Node) {
	e.used[n.Name] = true
	for _, out := range n.Outputs {
		e.producer[out] = n
		e.used[out] = true
	}
	for _, in := range n.Inputs {
		if !slices.Contains(e.readers[in], n) {
			e.readers[in] = append(e.readers[in], n)
		}
	}
	if n.Domain == blockedDomain {
		switch n.OpType {
		case "ReorderInput":
			e.blocked[n.Inputs[0]] = n.Outputs[0]
		case "ReorderOutput":
			e.blocked[n.Outputs[0]] = n.Inputs[0]
		}
	}
}

// static returns the sizes of a value whose shape is fully known.
func static(v *onnx.ValueInfo) ([]int64, bool) {
	if v.Dims == nil {
		return nil, false
	}
	dims := make([]int64, len(v.Dims))
	for i, d := range v.Dims {
		if d.Param != "" || d.Value < 0 {
			return nil, false
		}
		dims[i] = d.Value
	}
	return dims, true
}

// dims4 returns the sizes of a value of rank 4.
func (e *editor) dims4(name string) (d [4]int64, ok bool) {
	s := e.shapes[name]
	if len(s) != 4 {
		return d, false
	}
	return [4]int64(s), true
}

// ints returns the elements of a constant int64 tensor, nil for anything else.
func (e *editor) ints(name string) []int64 {
	t := e.consts[name]
	if t == nil || t.Type != onnx.Int64 {
		return nil
	}
	v, err := t.Int64s()
	if err != nil {
		return nil
	}
	return v
}

// from returns the node that computes a value if it is of this type in ONNX's own
// domain, else nil.
func (e *editor) from(value, opType string) *onnx.Node {
	if n := e.producer[value]; n != nil && n.OpType == opType && n.Domain == "" {
		return n
	}
	return nil
}

// users returns the nodes that read a value. A graph's output has one user more, nil.
func (e *editor) users(value string) []*onnx.Node {
	users := slices.Clone(e.readers[value])
	for _, o := range e.g.Outputs {
		if o.Name == value {
			users = append(users, nil)
		}
	}
	return users
}

// onlyUser returns the node that alone reads a value, nil if there are others or none.
func (e *editor) onlyUser(value string) *onnx.Node {
	if u := e.users(value); len(u) == 1 {
		return u[0]
	}
	return nil
}

// userOf returns the only node of this type that reads a value, nil if there are
// others of it or none.
func (e *editor) userOf(value, opType string) (found *onnx.Node) {
	for _, u := range e.users(value) {
		if u != nil && u.OpType == opType && u.Domain == "" {
			if found != nil {
				return nil
			}
			found = u
		}
	}
	return found
}

// user is userOf for the first output of a node that may be nil.
func (e *editor) user(n *onnx.Node, opType string) *onnx.Node {
	if n == nil {
		return nil
	}
	return e.userOf(n.Outputs[0], opType)
}

// node adds a node and returns its only output. An op may name a domain:
// "com.microsoft::FusedConv".
func (e *editor) node(domain, op string, inputs []string, attrs ...*onnx.Attr) string {
	out := e.name(op)
	e.add(domain, op, inputs, []string{out}, attrs)
	return out
}

// replace makes a new node compute the only output of old.
func (e *editor) replace(old *onnx.Node, domain, op string, inputs []string, attrs ...*onnx.Attr) {
	e.drop(old)
	e.add(domain, op, inputs, old.Outputs[:1], attrs)
}

// drop takes a node away; others must give its values or stop reading them.
func (e *editor) drop(n *onnx.Node) {
	e.g.Nodes = slices.DeleteFunc(e.g.Nodes, func(m *onnx.Node) bool { return m == n })
	for _, in := range n.Inputs {
		e.readers[in] = slices.DeleteFunc(e.readers[in], func(m *onnx.Node) bool { return m == n })
	}
}

func (e *editor) add(domain, op string, inputs, outputs []string, attrs []*onnx.Attr) {
	if e.model.Opset(domain) == 0 {
		e.model.Opsets = append(e.model.Opsets, onnx.Opset{Domain: domain, Version: 1})
	}
	n := &onnx.Node{Name: e.name(op), Domain: domain, OpType: op, Inputs: inputs, Outputs: outputs, Attrs: attrs}
	e.g.Nodes = append(e.g.Nodes, n)
	e.index(n)
}

// name returns a name that is new to the graph.
func (e *editor) name(prefix string) string {
	for {
		name := fmt.Sprintf("%s%s_%d", passPrefix, prefix, e.made)
		e.made++
		if !e.used[name] {
			e.used[name] = true
			return name
		}
	}
}

// constInts adds a constant.
func (e *editor) constInts(v ...int64) string {
	name := e.name("ints")
	t := onnx.Int64Tensor(name, []int64{int64(len(v))}, v)
	e.g.Initializers = append(e.g.Initializers, t)
	e.consts[name] = t
	return name
}

func (e *editor) reshape(x string, sizes ...int64) string {
	return e.node("", "Reshape", []string{x, e.constInts(sizes...)})
}

func (e *editor) transpose(x string, perm ...int64) string {
	return e.node("", "Transpose", []string{x}, onnx.IntsAttr("perm", perm...))
}

// toBlocked returns x: [N, C, H, W] in the blocked layout.
func (e *editor) toBlocked(x string) string {
	if v, ok := e.blocked[x]; ok {
		return v
	}
	return e.node(blockedDomain, "ReorderInput", []string{x}, onnx.IntAttr("channels_last", 0))
}

// leaveBlocked makes the plain form of a value in the blocked layout, of this many
// channels, stand for the only output of old.
func (e *editor) leaveBlocked(old *onnx.Node, v string, channels int64) {
	for _, r := range slices.Clone(e.readers[old.Outputs[0]]) {
		if r.Domain == blockedDomain && r.OpType == "ReorderInput" {
			e.drop(r)
			e.rename(r.Outputs[0], v)
		}
	}
	e.replace(old, blockedDomain, "ReorderOutput", []string{v}, onnx.IntAttr("channels", channels))
}

// rename makes the readers of one value read another.
func (e *editor) rename(from, to string) {
	for _, r := range e.readers[from] {
		for i, in := range r.Inputs {
			if in == from {
				r.Inputs[i] = to
			}
		}
		if !slices.Contains(e.readers[to], r) {
			e.readers[to] = append(e.readers[to], r)
		}
	}
	delete(e.readers, from)
	for plain, blocked := range e.blocked {
		if blocked == from {
			e.blocked[plain] = to
		}
	}
}

// zeros returns a tensor of zeros.
func (e *editor) zeros(sizes ...int64) string {
	return e.node("", "ConstantOfShape", []string{e.constInts(sizes...)})
}

// finish drops what no output depends on and puts every node behind those it reads.
func (e *editor) finish() {
	var order []*onnx.Node
	done := map[*onnx.Node]bool{}
	var visit func(n *onnx.Node)
	visit = func(n *onnx.Node) {
		if done[n] {
			return
		}
		done[n] = true
		for _, in := range n.Inputs {
			if p := e.producer[in]; p != nil {
				visit(p)
			}
		}
		order = append(order, n)
	}
	live := e.live()
	for _, n := range e.g.Nodes {
		if live[n] {
			visit(n)
		}
	}
	e.g.Nodes = order

	used := map[string]bool{}
	for _, n := range order {
		for _, name := range slices.Concat(n.Inputs, n.Outputs) {
			used[name] = true
		}
	}
	for _, o := range e.g.Outputs {
		used[o.Name] = true
	}
	e.g.Initializers = slices.DeleteFunc(e.g.Initializers, func(t *onnx.Tensor) bool { return !used[t.Name] })
	e.g.ValueInfo = slices.DeleteFunc(e.g.ValueInfo, func(v *onnx.ValueInfo) bool { return !used[v.Name] })
}

// live returns the nodes that outputs depend on.
func (e *editor) live() map[*onnx.Node]bool {
	live := map[*onnx.Node]bool{}
	var stack []string
	for _, o := range e.g.Outputs {
		stack = append(stack, o.Name)
	}
	for len(stack) > 0 {
		n := e.producer[stack[len(stack)-1]]
		stack = stack[:len(stack)-1]
		if n != nil && !live[n] {
			live[n] = true
			stack = append(stack, n.Inputs...)
		}
	}
	return live
}
