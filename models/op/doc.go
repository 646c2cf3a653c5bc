// Package op holds the differentiable operations of sslrt and the graph that
// they form.
//
// A [Graph] is a gorgonia expression graph that contains operations of this
// package only, beside its leaves: inputs (fed at each run), parameters (named
// weights and state) and constants. Networks are written as plain function
// calls on nodes:
//
//	g := op.NewGraph()
//	x := g.Input("x", op.Float32, op.Batched(8, 3))      // x: [N, 3]
//	w := g.Param("w", op.Float32, op.Dims(4, 3))         // w: [4, 3]
//	y := op.ReLU(op.Linear(x, w, nil))                    // y: [N, 4]
//	if err := g.Err(); err != nil { ... }
//
// A call that cannot be made (shapes that do not fit, say) returns nil and is
// remembered as the error of its graph; calls on nil return nil, so that a
// network can be built without a check at each line and [Graph.Err] says at the
// end what was wrong first.
//
// Each operation has four faces, which stand side by side in one file and in
// this order: the shape rule (Infer), the Go kernel (Run), the gradient (Grad)
// and the ONNX form (ONNX). Nobody else knows how an operation is
// differentiated or written. To add one, see CONTRIBUTING.md.
//
// The batch dimension is symbolic: a [Type] marks which axis is the batch, so
// that what is lowered at N = 2 and at N = 3 is the same ONNX file.
package op
