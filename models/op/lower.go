package op

import (
	"fmt"

	"github.com/sslrt/sslrt/models/onnx"
)

// Lowering is where operations write their ONNX form.
type Lowering struct {
	*onnx.Builder
	Opset int // of the default domain, 13 or later
	once  map[string][]string
	names map[*Node]string

	err     error
	scratch int // values made only to differ, see lowerBatchNorm
}

// NewLowering returns a lowering into b.
func NewLowering(b *onnx.Builder, opset int) *Lowering {
	return &Lowering{Builder: b, Opset: opset, once: map[string][]string{}, names: map[*Node]string{}}
}

// Need records an error unless the opset is at least the one in which ONNX got
// what an operation needs.
func (l *Lowering) Need(opset int, what string) {
	if l.Opset < opset && l.err == nil {
		l.err = fmt.Errorf("op: %s needs opset %d or later, got %d", what, opset, l.Opset)
	}
}

// Err returns the first error made while operations were written.
func (l *Lowering) Err() error { return l.err }

// Define gives a node its name in the file.
func (l *Lowering) Define(n *Node, name string) { l.names[n] = name }

// NameOf returns the name that Define gave a node, or the empty string.
func (l *Lowering) NameOf(n *Node) string { return l.names[n] }

// Lower writes n, whose inputs are defined, and defines it.
func (l *Lowering) Lower(n *Node) {
	in := make([]string, len(n.Inputs))
	for i, x := range n.Inputs {
		in[i] = l.names[x]
	}
	l.Define(n, n.Op.ONNX(l, n, in))
}

// Once returns what write returned when it was first called with this key. The
// tape machine gives one value per node, so an operation with several results is
// several nodes; with Once they share one ONNX node.
func (l *Lowering) Once(key string, write func() []string) []string {
	names, ok := l.once[key]
	if !ok {
		names = write()
		l.once[key] = names
	}
	return names
}

// Cast converts x to an element type.
func (l *Lowering) Cast(x string, to onnx.DataType) string {
	return l.Node("Cast", []string{x}, onnx.IntAttr("to", int64(to)))
}

// ReduceSum sums x over the axes.
func (l *Lowering) ReduceSum(x string, keep bool, axes ...int) string {
	return l.Node("ReduceSum", []string{x, l.Ints(int64s(axes)...)}, keepAttr(keep))
}

// ReduceMean averages x over the axes.
func (l *Lowering) ReduceMean(x string, keep bool, axes ...int) string {
	return l.reduce("ReduceMean", x, keep, axes)
}

// ReduceMax takes the largest element of x along the axes.
func (l *Lowering) ReduceMax(x string, keep bool, axes ...int) string {
	return l.reduce("ReduceMax", x, keep, axes)
}

// reduce writes a reduction whose axes moved from an attribute to an input in
// opset 18; ReduceSum's had in 13.
func (l *Lowering) reduce(op, x string, keep bool, axes []int) string {
	if l.Opset >= 18 {
		return l.Node(op, []string{x, l.Ints(int64s(axes)...)}, keepAttr(keep))
	}
	return l.Node(op, []string{x}, onnx.IntsAttr("axes", int64s(axes)...), keepAttr(keep))
}

func keepAttr(keep bool) *onnx.Attr {
	v := int64(0)
	if keep {
		v = 1
	}
	return onnx.IntAttr("keepdims", v)
}

// symbolic returns the sizes of s for a Reshape: -1 stands for the batch.
func (s Shape) symbolic() []int64 {
	out := int64s(s.Dims)
	if s.Batch >= 0 {
		out[s.Batch] = -1
	}
	return out
}
