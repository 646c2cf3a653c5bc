// Package engine runs graphs. It differentiates them ([Backprop]) and compiles
// them for one of two machines, which give the same numbers:
//
//   - [Go], gorgonia's graph over the Go kernels of package models/op: no
//     library needed, the reference;
//   - [ORT], ONNX Runtime over the graph lowered to one ONNX model: fast.
//
// A [Function] names what goes in, what comes out, and which parameters a run
// replaces by new values; a training step is one such function.
package engine
