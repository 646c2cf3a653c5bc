package op_test

import (
	"context"
	"fmt"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// show computes y and prints it row by row.
func show(y *op.Node, in engine.Tensors) {
	p, err := engine.Go{}.Compile(engine.Function{Outputs: []export.Output{{Name: "y", Node: y}}})
	if err != nil {
		panic(err)
	}
	defer p.Close()
	if err := p.Load(nil); err != nil {
		panic(err)
	}
	out, err := p.Run(context.Background(), in)
	if err != nil {
		panic(err)
	}
	width := y.Dims[len(y.Dims)-1]
	values := out["y"].Float32s()
	for len(values) > 0 {
		fmt.Println(values[:width])
		values = values[width:]
	}
}

// Two rows of two pixels become four of four.
func ExampleResize() {
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Batched(1, 1, 2, 2))
	y := op.Resize(x, 4, 4, op.Resampling{Interpolation: op.Bilinear})
	show(y, engine.Tensors{"x": engine.NewTensor([]float32{0, 4, 8, 12}, 1, 1, 2, 2)})
	// Output:
	// [0 1 3 4]
	// [2 3 5 6]
	// [6 7 9 10]
	// [8 9 11 12]
}

// A transposed convolution of stride 2 lays a kernel down at every second place.
func ExampleConvTranspose2D() {
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Batched(1, 1, 1, 2))
	w := g.Const([]float32{1, 2, 3}, 1, 1, 1, 3)
	y := op.ConvTranspose2D(x, w, nil, op.Conv{Stride: [2]int{1, 2}}, [2]int{})
	show(y, engine.Tensors{"x": engine.NewTensor([]float32{1, 10}, 1, 1, 1, 2)})
	// Output: [1 2 13 20 30]
}

func ExamplePadWith() {
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Batched(1, 4))
	in := engine.Tensors{"x": engine.NewTensor([]float32{1, 2, 3, 4}, 1, 4)}
	show(op.PadWith(x, 1, 2, 1, op.PadReflect, 0), in)
	show(op.PadWith(x, 1, 2, 1, op.PadEdge, 0), in)
	show(op.PadWith(x, 1, 2, 1, op.PadWrap, 0), in)
	show(op.PadWith(x, 1, -1, 1, op.PadConstant, 9), in)
	// Output:
	// [3 2 1 2 3 4 3]
	// [1 1 1 2 3 4 4]
	// [3 4 1 2 3 4 1]
	// [2 3 4 9]
}

// What one token takes from three others: from one like all of them the mean.
func ExampleAttention() {
	g := op.NewGraph()
	q := g.Input("q", op.Float32, op.Batched(1, 1, 1))
	k := g.Input("k", op.Float32, op.Batched(1, 3, 1))
	v := g.Const([]float32{10, 20, 30}, 1, 3, 1)
	y, weights := op.Attention(q, k, v, nil)
	in := engine.Tensors{
		"q": engine.NewTensor([]float32{2}, 1, 1, 1),
		"k": engine.NewTensor([]float32{5, 5, 5}, 1, 3, 1),
	}
	show(weights, in)
	show(y, in)
	// Output:
	// [0.33333334 0.33333334 0.33333334]
	// [20]
}

// The gradient of a function of two inputs, as a graph again.
func ExampleMul() {
	g := op.NewGraph()
	a := g.Input("a", op.Float32, op.Dims(2))
	b := g.Input("b", op.Float32, op.Dims(2))
	grads, err := engine.Backprop(op.Sum(op.Mul(a, b), false), a, b)
	if err != nil {
		panic(err)
	}
	in := engine.Tensors{"a": engine.NewTensor([]float32{1, 2}, 2), "b": engine.NewTensor([]float32{3, 4}, 2)}
	show(grads[0], in)
	show(grads[1], in)
	// Output:
	// [3 4]
	// [1 2]
}
