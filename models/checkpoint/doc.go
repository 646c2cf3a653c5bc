// Package checkpoint takes in what others trained: weights as PyTorch and
// safetensors files hold them, whatever project wrote them.
//
// [Open] reads a file without executing anything in it: it lists tensors, whose
// values are read when they are asked for.
package checkpoint
