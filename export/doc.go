// Package export turns graphs into ONNX models and ONNX models into graphs. It
// writes, it never runs: package finetune/engine checks a written file against the
// graph it came from.
package export
