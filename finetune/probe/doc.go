// Package probe measures an encoder by labelled embeddings and makes classifiers of
// it. A [Linear] probe is logistic regression on frozen embeddings, its penalty chosen
// on a part that is held back. [LinearModel] and [KNNModel] write such a classifier as
// one ONNX file with the encoder inside.
package probe
