// Package tensorboard writes event files, which TensorBoard shows as curves and
// pictures.
//
// An event file is a sequence of records, each a protocol buffer message between
// its length and two checksums (TFRecord). The formats are TensorFlow's:
// tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto and
// tensorflow/core/framework/summary.proto.
package tensorboard
