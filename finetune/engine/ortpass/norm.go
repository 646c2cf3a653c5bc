package ortpass

import (
	"slices"

	"github.com/sslrt/sslrt/models/onnx"
)

// kernelDomain holds the operators of package ortkernel, which work on the blocked
// layout.
const kernelDomain = "sslrt"

// NormKernel makes each batch normalisation of training one node each way, together
// with the sum and the ReLU that follow it in a residual network: it then reads and
// writes its values as few times as can be. The plain form reads and writes them
// eleven times in the gradient alone. It needs package ortkernel's library.
func NormKernel(block int) Pass {
	return Pass{Name: "batch-norm-kernel", Kernels: true, run: func(e *editor) {
		for _, n := range slices.Clone(e.g.Nodes) {
			if f := matchNorm(e, n, int64(block)); f != nil {
				f.rewrite(e)
			}
		}
	}}
}

// norm is a batch normalisation found in the graph, with its gradient if there is one.
type norm struct {
	node     *onnx.Node
	x        string
	channels int64
	add      *onnx.Node // the sum that follows, or nil
	residual string     // what is added to y
	relu     *onnx.Node // the ReLU that follows, or nil
	grad     *normGrad
}

// normGrad is the gradient of a batch normalisation:
//
//	dx = weight/deviation * (g - db/M - centred * slope)
type normGrad struct {
	g          string     // the gradient of y
	dx, dw, db *onnx.Node // compute the three results
}

func matchNorm(e *editor, n *onnx.Node, block int64) *norm {
	if n.OpType != "BatchNormalization" || n.Domain != "" || len(n.Outputs) != 3 || n.Attr("training_mode") == nil {
		return nil
	}
	x, ok := e.dims4(n.Inputs[0])
	if !ok || x[1]%block != 0 {
		return nil
	}
	f := &norm{node: n, x: n.Inputs[0], channels: x[1]}
	last := n.Outputs[0]
	if a := e.onlyUser(last); a != nil && a.OpType == "Add" {
		if d, ok := e.dims4(other(a, last)); ok && d == x {
			f.add, f.residual = a, other(a, last)
			last = a.Outputs[0]
		}
	}
	if r := e.onlyUser(last); r != nil && r.OpType == "Relu" {
		f.relu = r
	}
	f.grad = matchNormGrad(e, n)
	return f
}

// other returns the input of a node with two that is not this one.
func other(n *onnx.Node, in string) string {
	if n.Inputs[0] == in {
		return n.Inputs[1]
	}
	return n.Inputs[0]
}

// matchNormGrad goes from the mean, which is read to centre x, to the results. It
// mirrors the form that package op writes.
func matchNormGrad(e *editor, n *onnx.Node) *normGrad {
	centred := e.user(e.userOf(n.Outputs[1], "Reshape"), "Sub")
	if centred == nil || centred.Inputs[0] != n.Inputs[0] {
		return nil
	}
	m := &normGrad{}
	var rest *onnx.Node
	for _, u := range e.users(centred.Outputs[0]) {
		if u == nil || u.OpType != "Mul" {
			return nil
		}
		if sum := e.user(u, "ReduceSum"); sum != nil {
			m.g, m.dw = other(u, centred.Outputs[0]), e.user(sum, "Div")
		} else {
			rest = e.user(u, "Sub")
		}
	}
	if rest == nil || m.dw == nil {
		return nil
	}
	m.dx = e.user(rest, "Mul")
	level := e.from(rest.Inputs[0], "Sub") // g - db/M
	if m.dx == nil || level == nil || level.Inputs[0] != m.g {
		return nil
	}
	if r := e.from(level.Inputs[1], "Reshape"); r != nil {
		if d := e.from(r.Inputs[0], "Div"); d != nil {
			m.db = e.from(d.Inputs[0], "ReduceSum")
		}
	}
	if m.db == nil || m.db.Inputs[0] != m.g {
		return nil
	}
	return m
}

func (f *norm) rewrite(e *editor) {
	n, last := f.node, f.node
	inputs := []string{e.toBlocked(f.x), n.Inputs[1], n.Inputs[2]}
	name := "BatchNorm"
	if f.add != nil {
		name, last = "BatchNormAdd", f.add
		inputs = append(inputs, e.toBlocked(f.residual))
	}
	relu := int64(0)
	if f.relu != nil {
		relu, last = 1, f.relu
	}
	attrs := []*onnx.Attr{onnx.FloatAttr("epsilon", n.Attr("epsilon").F), onnx.IntAttr("relu", relu)}
	e.drop(n)
	y := e.name(name)
	e.add(kernelDomain, name, inputs, []string{y, n.Outputs[1], n.Outputs[2]}, attrs)
	e.leaveBlocked(last, y, f.channels)
	if f.grad != nil {
		f.rewriteGrad(e, y, last.Outputs[0])
	}
}

// rewriteGrad replaces the gradient: y is the result of the forward kernel and plain
// its name in the plain layout.
func (f *norm) rewriteGrad(e *editor, y, plain string) {
	m, n := f.grad, f.node
	mask := f.maskOf(e, plain) // the gradient of ReLU, or nil
	name, relu, dy, sixth := "BatchNormGrad", int64(0), m.g, n.Inputs[2]
	outputs := []string{e.name("dx"), m.dw.Outputs[0], m.db.Outputs[0]}
	var masked string // the gradient behind ReLU, in the blocked layout
	if mask != nil && f.add != nil {
		name, relu, dy, sixth = "BatchNormAddGrad", 1, mask.Inputs[1], y
		masked = e.name("masked")
		outputs = append(outputs, masked)
	} else if mask != nil && e.onlyFor(m.g, m) {
		relu, dy = 1, mask.Inputs[1]
	}
	inputs := []string{e.toBlocked(dy), e.toBlocked(f.x), n.Outputs[1], n.Outputs[2], n.Inputs[1], sixth}
	e.drop(m.dw)
	e.drop(m.db)
	e.add(kernelDomain, name, inputs, outputs, []*onnx.Attr{onnx.FloatAttr("epsilon", n.Attr("epsilon").F), onnx.IntAttr("relu", relu)})
	e.leaveBlocked(m.dx, outputs[0], f.channels)
	if masked != "" {
		e.leaveBlocked(mask, masked, f.channels)
	}
}

// maskOf returns the node Where(y > 0, dy, 0) that makes the gradient of y, nil if that
// does not come through the ReLU.
func (f *norm) maskOf(e *editor, y string) *onnx.Node {
	if f.relu == nil {
		return nil
	}
	w := e.from(f.grad.g, "Where")
	if w == nil {
		return nil
	}
	if c := e.from(w.Inputs[0], "Cast"); c == nil || c.Inputs[0] != y {
		return nil
	}
	return w
}

// onlyFor reports whether the gradient g is read by nothing but m's nodes.
func (e *editor) onlyFor(g string, m *normGrad) bool {
	for _, u := range e.users(g) {
		product := u != nil && u.OpType == "Mul" && e.user(u, "ReduceSum") != nil
		level := u != nil && u.OpType == "Sub"
		if u != m.db && !product && !level {
			return false
		}
	}
	return true
}
