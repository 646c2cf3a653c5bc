package models

import "github.com/sslrt/sslrt/models/op"

// Encoder is a network from images to embeddings.
type Encoder interface {
	// Forward maps x: [N, C, H, W] to one embedding for each image: [N, Size()].
	Forward(s Scope, x *op.Node) *op.Node

	// Size returns the size of the embedding.
	Size() int
}

var _ Encoder = ResNet{}
