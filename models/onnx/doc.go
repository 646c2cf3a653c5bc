// Package onnx holds an ONNX model file as plain Go values: it reads, writes,
// checks, builds and prints models, and knows the metadata keys of this
// project. It runs nothing; package runtime/ort does.
//
// The types follow the protobuf messages of the ONNX specification
// (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto) one for one, with
// shorter names: [Model] is ModelProto, [Graph] GraphProto, [Node] NodeProto,
// [Attr] AttributeProto, [Tensor] TensorProto. What a type does not name is kept
// as it stood in the file, so that reading a model and writing it again loses
// nothing; a file whose fields stand in field-number order, as every protobuf
// library writes them, comes back byte for byte.
//
// Reading trusts nothing: memory is bounded by a small multiple of the bytes that
// are there, nesting is bounded, and data files outside the model's folder are
// refused. [Check] then says whether the graph makes sense.
package onnx
