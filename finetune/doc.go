// Package finetune trains networks: it takes a [Config], a source of images and a
// run directory, and goes from initial weights to checkpoints.
//
// The parts lie below it: finetune/train builds a step as one graph,
// finetune/objective and finetune/optim say what is minimised and how,
// finetune/engine runs graphs, finetune/knn measures encoders. This package adds
// what a run needs beside the step: data, schedule, metrics, checkpoints, progress.
package finetune
