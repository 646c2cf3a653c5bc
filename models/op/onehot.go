package op

import (
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// OneHot turns class indices, int64 [N], into rows [N, classes] with a 1 at the
// index. An index outside 0..classes-1 gives a row of zeros. It has no gradient.
func OneHot(labels *Node, classes int) *Node { return Apply(oneHot{classes}, labels) }

type oneHot struct{ classes int }

func (o oneHot) String() string { return fmt.Sprintf("OneHot(%d)", o.classes) }

func (o oneHot) Infer(in []Type) (Type, error) {
	if in[0].DType != Int64 || o.classes < 1 {
		return Type{}, fmt.Errorf("want int64 indices and a class, got %v and %d classes", in[0], o.classes)
	}
	return Type{Float32, Shape{append(slices.Clone(in[0].Dims), o.classes), in[0].Batch}}, nil
}

func (o oneHot) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	out, y := zeros(append(slices.Clone([]int(in[0].Shape())), o.classes)...)
	for i, label := range i64(in[0]) {
		if label >= 0 && label < int64(o.classes) {
			y[i*o.classes+int(label)] = 1
		}
	}
	return out, nil
}

func (o oneHot) Grad(in []*Node, y, dy *Node) []*Node { return []*Node{nil} }

// ONNX compares with every class, since ONNX's own OneHot counts negative
// indices from the end.
func (o oneHot) ONNX(l *Lowering, n *Node, in []string) string {
	classes := make([]int64, o.classes)
	for i := range classes {
		classes[i] = int64(i)
	}
	column := l.Node("Unsqueeze", []string{in[0], l.Ints(-1)})
	return l.Cast(l.Node("Equal", []string{column, l.Ints(classes...)}), onnx.Float)
}
