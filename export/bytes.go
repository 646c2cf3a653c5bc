package export

import (
	"slices"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
)

// takeBytes makes the input uint8 [N, H, W, C], as images are decoded, and puts
// the normalisation, (x/255 - mean) / std, into the graph. Resizing stays outside.
func takeBytes(g *onnx.Graph, p augment.Preprocess) {
	const normalised = "image.normalised"
	for _, n := range g.Nodes {
		for i, in := range n.Inputs {
			if in == InputImage {
				n.Inputs[i] = normalised
			}
		}
	}
	for i, in := range g.Inputs {
		if in.Name == InputImage {
			g.Inputs[i] = onnx.TensorInfo(InputImage, onnx.Uint8, in.Dims[0], in.Dims[2], in.Dims[3], in.Dims[1])
		}
	}
	c := int64(p.Channels)
	constant := func(name string, values []float32) string {
		dims := []int64{1, int64(len(values)), 1, 1}
		g.Initializers = append(g.Initializers, onnx.FloatTensor(name, dims, values))
		return name
	}
	x := InputImage
	var nodes []*onnx.Node
	add := func(op, name string, second []string, attrs ...*onnx.Attr) {
		nodes = append(nodes, &onnx.Node{Name: name, OpType: op, Inputs: append([]string{x}, second...), Outputs: []string{name}, Attrs: attrs})
		x = name
	}
	add("Cast", "image.float", nil, onnx.IntAttr("to", int64(onnx.Float)))
	add("Transpose", "image.planes", nil, onnx.IntsAttr("perm", 0, 3, 1, 2))
	add("Div", "image.unit", []string{constant("image.max", []float32{255})})
	add("Sub", "image.centred", []string{constant("image.mean", p.Mean[:c])})
	add("Div", normalised, []string{constant("image.std", p.Std[:c])})
	g.Nodes = slices.Concat(nodes, g.Nodes)
}
