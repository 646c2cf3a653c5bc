// Package models holds networks built from the operations of package models/op,
// and their parameters.
//
// A network is a description with a Forward method. It asks a [Scope] for its
// parameters by the names that torchvision gives them in a state dict
// ("layer1.0.conv1.weight"), so that weights move between the two unchanged. The
// same description can be applied several times, in training and in evaluation
// mode, and with parameters of its own or shared ones; [Params] keeps what was
// asked for, with shapes and initialisers, and which value each parameter has
// after the step.
package models
