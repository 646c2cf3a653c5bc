// Package runtime runs finished models: a program that only deploys needs this
// package and an ONNX file, nothing that trains.
//
// An [Encoder] turns images into embeddings. It reads from the file how pixels
// become its input, so that an image is prepared as it was in training; what a
// foreign file does not say is given by [Options]. [EmbedAll] is the batch job:
// any [augment.Source] in, a [Sink] out, in order and in bounded memory.
//
// # Same image, same bits
//
// An embedding depends on the image and the model alone: not on the other images
// of a batch, the batch size, the number of decoding workers or the order. A
// kernel may add up in another order for another batch size, so an Encoder uses
// one or two batch sizes for all its runs, and only sizes that gave bit-equal
// results, in every place of the batch, when the model was loaded. On ONNX
// Runtime's CPU provider the number of threads does not matter either; another
// machine, device or version of the library may differ in the last bits.
//
// # Concurrency
//
// All methods are safe for concurrent use. Close waits for what is under way.
package runtime
