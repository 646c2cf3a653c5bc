package ortpass

import (
	"slices"

	"github.com/sslrt/sslrt/models/onnx"
)

// Elementwise makes chains of elementwise operators one node, which reads each input
// and writes each result once: an optimiser's update of a weight above all, and the
// gradients of activations. The numbers stay the same, bit for bit, but for Exp and Erf,
// which are rounded otherwise. It needs package ortkernel's library.
//
// An operator joins the chain of those that read its result if no others do; so nothing
// that a chain gives before its end is waited for, but by the graph's outputs.
func Elementwise() Pass {
	return Pass{Name: "elementwise-kernel", Kernels: true, run: func(e *editor) {
		e.inferElementwise()
		chains := map[*onnx.Node]*chain{}
		var order []*chain
		for _, n := range slices.Backward(e.g.Nodes) {
			dims := e.elementwise(n)
			if dims == nil {
				continue
			}
			c := e.readersChain(chains, n, dims)
			if c == nil || !c.fits(e, n) {
				c = &chain{dims: dims}
				order = append(order, c)
			}
			c.nodes = append(c.nodes, n)
			chains[n] = c
		}
		// In the order of the nodes they replace: ONNX Runtime computes what a later end
		// of the graph needs first, and weights updated in the wrong order would keep
		// alive what all their gradients are made of.
		for _, c := range slices.Backward(order) {
			if len(c.nodes) > 1 {
				c.rewrite(e)
			}
		}
	}}
}

// The kernel's limits, and the numbers of its operators.
const (
	chainInputs, chainSteps, chainOutputs = 16, 24, 8
)

var chainOperators = map[string]int64{"Add": 0, "Sub": 1, "Mul": 2, "Div": 3, "Sqrt": 4, "Neg": 5, "Relu": 6, "Where": 7, "Exp": 8, "Erf": 9}

// chain is some elementwise nodes over tensors of one shape, the last first.
type chain struct {
	dims  []int64
	nodes []*onnx.Node
}

// operands returns what a step of the kernel reads for a node, which for Where is the
// tensor that Cast made its condition of.
func (e *editor) operands(n *onnx.Node) []string {
	if n.OpType != "Where" {
		return n.Inputs
	}
	if c := e.from(n.Inputs[0], "Cast"); c != nil {
		return []string{c.Inputs[0], n.Inputs[1], n.Inputs[2]}
	}
	return nil
}

// elementwise returns the shape that an elementwise node works on, nil if it is none
// that the kernel can take: all its operands have this shape or are single numbers.
func (e *editor) elementwise(n *onnx.Node) []int64 {
	if _, ok := chainOperators[n.OpType]; !ok || n.Domain != "" || e.operands(n) == nil {
		return nil
	}
	var dims []int64
	for _, in := range e.operands(n) {
		d, ok := e.dimsOf(in)
		if !ok || len(d) > 4 {
			return nil
		}
		if count(d) == 1 {
			continue
		}
		if dims != nil && !slices.Equal(dims, d) {
			return nil
		}
		dims = d
	}
	for _, in := range e.operands(n) {
		if d, _ := e.dimsOf(in); len(d) > len(dims) {
			return nil
		}
	}
	return dims
}

// dimsOf returns the sizes of a float tensor.
func (e *editor) dimsOf(value string) ([]int64, bool) {
	if t := e.consts[value]; t != nil {
		return t.Dims, t.Type == onnx.Float
	}
	return e.shapes[value], e.floats[value]
}

func count(dims []int64) int64 {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return n
}

// inferElementwise finds the shapes of results between nodes, which the model does not
// tell.
func (e *editor) inferElementwise() {
	for _, n := range e.g.Nodes {
		if dims := e.elementwise(n); dims != nil && e.shapes[n.Outputs[0]] == nil {
			e.shapes[n.Outputs[0]], e.floats[n.Outputs[0]] = dims, true
		}
	}
}

// readersChain returns the chain of the nodes that read n's result if they are all of
// one, over tensors of this shape.
func (e *editor) readersChain(chains map[*onnx.Node]*chain, n *onnx.Node, dims []int64) (found *chain) {
	for _, r := range e.readers[n.Outputs[0]] {
		c := chains[r]
		if c == nil || found != nil && c != found || !slices.Equal(c.dims, dims) {
			return nil
		}
		if r.OpType == "Where" && r.Inputs[0] == n.Outputs[0] {
			return nil
		}
		found = c
	}
	return found
}

// fits reports whether the kernel can hold the chain with n in it.
func (c *chain) fits(e *editor, n *onnx.Node) bool {
	longer := &chain{c.dims, append(slices.Clone(c.nodes), n)}
	inputs, outputs := longer.ends(e)
	return len(longer.nodes) <= chainSteps && len(inputs) <= chainInputs && len(outputs) <= chainOutputs
}

// ends returns what the chain reads from outside, and which of its results are read
// there.
func (c *chain) ends(e *editor) (inputs, outputs []string) {
	for _, n := range slices.Backward(c.nodes) {
		for _, in := range e.operands(n) {
			if !slices.Contains(c.nodes, e.producer[in]) && !slices.Contains(inputs, in) {
				inputs = append(inputs, in)
			}
		}
	}
	for _, n := range slices.Backward(c.nodes) {
		if n == c.nodes[0] || slices.Contains(e.users(n.Outputs[0]), nil) {
			outputs = append(outputs, n.Outputs[0])
		}
	}
	return inputs, outputs
}

func (c *chain) rewrite(e *editor) {
	inputs, outputs := c.ends(e)
	registers := map[string]int64{}
	for _, in := range inputs {
		registers[in] = int64(len(registers))
	}
	var program, results []int64
	for _, n := range slices.Backward(c.nodes) {
		step := [4]int64{chainOperators[n.OpType]}
		for i, in := range e.operands(n) {
			step[1+i] = registers[in]
		}
		program = append(program, step[:]...)
		registers[n.Outputs[0]] = int64(len(registers))
	}
	for _, out := range outputs {
		results = append(results, registers[out])
	}
	for _, n := range c.nodes {
		e.drop(n)
	}
	e.add(kernelDomain, "Elementwise", inputs, outputs, []*onnx.Attr{onnx.IntsAttr("program", program...), onnx.IntsAttr("results", results...)})
}
