package export_test

import (
	"fmt"
	"log"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/models/op"
)

// The part of a graph that its outputs need becomes an ONNX model; the batch axis
// stays open.
func ExampleLower() {
	g := op.NewGraph()
	image := g.Input("image", op.Float32, op.Batched(2, 3, 32, 32))
	w := g.Const(make([]float32, 8*3*3*3), 8, 3, 3, 3)
	y := op.GlobalAveragePool(op.ReLU(op.Conv2D(image, w, nil, op.Conv{})))
	m, err := export.Lower([]export.Output{{Name: "embedding", Node: y}}, export.Options{DynamicBatch: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, n := range m.Graph.Nodes {
		fmt.Println(n.OpType, "->", n.Outputs[0])
	}
	fmt.Println(m.Graph.Outputs[0].Dims)
	// Output:
	// Conv -> Conv_0
	// Relu -> Relu_0
	// ReduceMean -> embedding
	// [N 8]
}
