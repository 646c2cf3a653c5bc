package models

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/models/op"
)

// Encoder is a network from images to embeddings.
type Encoder interface {
	// Forward maps x: [N, C, H, W] to one embedding for each image: [N, Size()].
	Forward(s Scope, x *op.Node) *op.Node

	// Size returns the size of the embedding.
	Size() int
}

var _ Encoder = ResNet{}

// NameConv is the name of ConvEncoder.
const NameConv = "conv"

// Names of the stems that EncoderOptions.Stem takes.
const (
	StemNameCIFAR    = "cifar"
	StemNameImageNet = "imagenet"
)

var stems = map[string]Stem{StemNameCIFAR: StemCIFAR, StemNameImageNet: StemImageNet}

// EncoderOptions fit a network to its images. The zero value is the network as it
// was published.
type EncoderOptions struct {
	ImageSize int     // pixels of a side; 0 is 224
	Width     float64 // factor on the channels; 0 is 1
	Stem      string  // of a ResNet: cifar, imagenet; empty is DefaultStem
}

// NewEncoder returns the network called name, one of EncoderNames.
func NewEncoder(name string, o EncoderOptions) (Encoder, error) {
	if o.ImageSize == 0 {
		o.ImageSize = 224
	}
	if o.Width == 0 {
		o.Width = 1
	}
	if name == NameConv {
		return NewConvEncoder(o.ImageSize, o.Width), checkWidth(o.Width)
	}
	if _, ok := resNets[name]; !ok {
		return nil, unknownEncoder(name)
	}
	if o.Stem == "" {
		o.Stem = DefaultStem(name, o.ImageSize)
	}
	stem, ok := stems[o.Stem]
	if !ok {
		return nil, fmt.Errorf("models: unknown stem %q: choose %s", o.Stem, strings.Join(slices.Sorted(maps.Keys(stems)), " or "))
	}
	return NewResNet(name, stem, o.Width)
}

// DefaultStem returns the name of the stem that suits a network and square images
// of a size: the 3x3 one up to 64 pixels and for the networks made for CIFAR. It is
// empty for networks without a choice of stems.
func DefaultStem(name string, imageSize int) string {
	r, ok := resNets[name]
	switch {
	case !ok:
		return ""
	case imageSize <= 64 || r.Shortcut == ShortcutPad:
		return StemNameCIFAR
	}
	return StemNameImageNet
}

// EncoderNames lists the names that NewEncoder knows, smaller numbers first.
func EncoderNames() []string {
	names := append(slices.Collect(maps.Keys(resNets)), NameConv)
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Trim(a, digits), strings.Trim(b, digits)), len(a)-len(b), strings.Compare(a, b))
	})
	return names
}

const digits = "0123456789"

func unknownEncoder(name string) error {
	return fmt.Errorf("models: unknown encoder %q: choose %s", name, strings.Join(EncoderNames(), ", "))
}
