// Package trace tells where the time of a function goes that ONNX Runtime runs: by
// kind of kernel, by operation of the graph, by layer, and beside the least time
// that its multiplications could take on this machine.
//
// ONNX Runtime's profile gives a time for each node of the model as it runs it,
// after the passes of package ortpass and its own rewrites. A node's time belongs to
// the operation whose value it computes; nodes that were put in between belong to
// the operation that reads their value first.
package trace
