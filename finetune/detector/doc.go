// Package detector makes anomaly detectors: from an encoder and images of normal
// things, one ONNX file that gives each image a score, a heatmap and a decision. All
// of it is computed inside the file, which any ONNX Runtime runs; [Fit] writes the
// scoring behind the encoder's own nodes.
//
// Nothing but normal images is needed. A part of them is held back: the threshold is
// a quantile of their scores, so that about that share of normal images passes.
//
// The methods, and the features they take:
//
//   - knn: distance to the nearest embeddings of normal images
//   - mahalanobis: distance from the Gaussian of normal embeddings
//   - padim: a Gaussian of joined feature maps at each place of the image, for things
//     that are always seen alike
//   - patchcore: distance to the nearest patch of a memory, wherever it was seen
//   - autoencoder: error of a reconstruction
package detector
