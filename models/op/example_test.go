package op_test

import (
	"fmt"

	"github.com/sslrt/sslrt/models/op"
)

// A network is written as plain calls; the graph knows every shape and says at
// the end what was wrong first.
func Example() {
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Batched(8, 3, 32, 32)) // x: [N, C, H, W]
	w := g.Param("conv.weight", op.Float32, op.Dims(16, 3, 3, 3))
	h := op.ReLU(op.Conv2D(x, w, nil, op.Conv{Pad: [4]int{1, 1, 1, 1}}))
	h = op.MaxPool2D(h, op.Pool{Kernel: [2]int{2, 2}})
	y := op.GlobalAveragePool(h)
	fmt.Println(h.Type)
	fmt.Println(y.Type)

	op.Linear(y, g.Param("fc.weight", op.Float32, op.Dims(10, 32)), nil)
	fmt.Println(g.Err())
	// Output:
	// float32[N=8, 16, 16, 16]
	// float32[N=8, 16]
	// op: Gemm(transA=false transB=true) of [float32[N=8, 16] float32[10, 32]]: inner sizes differ: 16 and 32
}
