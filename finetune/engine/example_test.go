package engine_test

import (
	"context"
	"fmt"
	"log"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// A line is fitted by gradient descent: one run is one step, after which the
// parameter has its new value.
func Example() {
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Batched(3))
	y := g.Input("y", op.Float32, op.Batched(3))
	w := g.Param("w", op.Float32, op.Dims())
	d := op.Sub(op.Mul(x, w), y)
	loss := op.Mean(op.Mul(d, d), false)
	grads, err := engine.Backprop(loss, w)
	if err != nil {
		log.Fatal(err)
	}
	step, err := engine.Go{}.Compile(engine.Function{
		Outputs: []export.Output{{Name: "loss", Node: loss}},
		Carry:   []engine.Carry{{Param: w, Next: op.Sub(w, op.Scale(grads[0], 0.1))}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer step.Close()
	if err := step.Load(engine.Tensors{"w": engine.NewTensor([]float32{0})}); err != nil {
		log.Fatal(err)
	}
	data := engine.Tensors{"x": engine.NewTensor([]float32{1, 2, 3}, 3), "y": engine.NewTensor([]float32{2, 4, 6}, 3)}
	for range 20 {
		if _, err := step.Run(context.Background(), data); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Printf("w = %.3f\n", step.State()["w"].Float32s()[0])
	// Output: w = 2.000
}
