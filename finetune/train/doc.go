// Package train builds one training step as one graph: forward passes, loss,
// gradients, optimiser, and whatever follows the new weights. It knows no loss and
// no optimiser by name: an [Objective] builds the loss from what a [Builder] gives
// it, and an [Optimizer] turns gradients into new weights.
//
// What goes into a step beside the parameters is a set of named inputs: the
// augmented views, labels where an objective asks for them, and feeds, small
// inputs that a function of the step's number fills (learning rate, momentum of a
// moving average, sampled noise, masks).
package train
