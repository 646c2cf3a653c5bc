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
	ImageSize int          // pixels of a side; 0 is 224
	Channels  int          // of an image; 0 is 3
	Width     float64      // factor on the channels; 0 is 1
	Stem      string       // of a ResNet: cifar, imagenet; empty is DefaultStem
	Patch     int          // of a transformer, in pixels; 0 is DefaultPatch
	Pool      TokenPooling // of a transformer; empty is PoolToken
}

// NewEncoder returns the network called name, one of EncoderNames.
func NewEncoder(name string, o EncoderOptions) (Encoder, error) {
	if o.ImageSize == 0 {
		o.ImageSize = 224
	}
	if o.Channels == 0 {
		o.Channels = 3
	}
	if o.Width == 0 {
		o.Width = 1
	}
	if err := o.check(name); err != nil {
		return nil, err
	}
	switch {
	case isResNet(name):
		return o.resNet(name)
	case isViT(name):
		return o.vit(name)
	case name == NameConv:
		return NewConvEncoder(o.ImageSize, o.Width), checkWidth(o.Width)
	case isPlain(name):
		return NewPlain(name, Map{o.Channels, o.ImageSize, o.ImageSize}, o.Width)
	}
	return nil, unknownEncoder(name)
}

func isResNet(name string) bool { _, ok := resNets[name]; return ok }
func isViT(name string) bool    { _, ok := vits[name]; return ok }
func isPlain(name string) bool  { return name == NamePlain || strings.HasPrefix(name, NamePlain+"-") }

// check refuses options that the network has no use for.
func (o EncoderOptions) check(name string) error {
	if o.Stem != "" && !isResNet(name) {
		return fmt.Errorf("models: encoder %s has no stem to choose, got %q", name, o.Stem)
	}
	if (o.Patch != 0 || o.Pool != "") && !isViT(name) {
		return fmt.Errorf("models: encoder %s has no patches and no pooling of tokens to choose", name)
	}
	return nil
}

func (o EncoderOptions) resNet(name string) (Encoder, error) {
	if o.Stem == "" {
		o.Stem = DefaultStem(name, o.ImageSize)
	}
	stem, ok := stems[o.Stem]
	if !ok {
		return nil, fmt.Errorf("models: unknown stem %q: choose %s", o.Stem, strings.Join(slices.Sorted(maps.Keys(stems)), " or "))
	}
	return NewResNet(name, stem, o.Width)
}

func (o EncoderOptions) vit(name string) (Encoder, error) {
	if o.Patch == 0 {
		o.Patch = DefaultPatch(name, o.ImageSize)
	}
	v, err := NewViT(name, o.Patch, o.Width)
	if err != nil {
		return nil, err
	}
	v.Pool = o.Pool
	if o.ImageSize%o.Patch != 0 {
		return nil, fmt.Errorf("models: images of %d pixels do not split into patches of %d: choose another patch or image size", o.ImageSize, o.Patch)
	}
	if o.Pool != "" && o.Pool != PoolToken && o.Pool != PoolMean {
		return nil, fmt.Errorf("models: unknown pooling %q: choose %s or %s", o.Pool, PoolToken, PoolMean)
	}
	return v, nil
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

// DefaultPatch returns the patch that suits a network and square images of a size,
// in pixels: 4 up to 64, 8 up to 128, else 16. It is 0 for networks without patches.
func DefaultPatch(name string, imageSize int) int {
	switch {
	case !isViT(name):
		return 0
	case imageSize <= 64:
		return 4
	case imageSize <= 128:
		return 8
	}
	return 16
}

// EncoderNames lists the names that NewEncoder knows, smaller numbers first.
func EncoderNames() []string {
	names := slices.Concat(slices.Collect(maps.Keys(resNets)), slices.Collect(maps.Keys(vits)), []string{NameConv, NamePlain})
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.Trim(a, digits), strings.Trim(b, digits)), len(a)-len(b), strings.Compare(a, b))
	})
	return names
}

const digits = "0123456789"

func unknownEncoder(name string) error {
	return fmt.Errorf("models: unknown encoder %q: choose %s", name, strings.Join(EncoderNames(), ", "))
}
