package models

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/sslrt/sslrt/models/op"
)

// Staged is an encoder that shows the maps it makes on the way.
type Staged interface {
	Encoder

	// Stages returns the map after each stage for x: [N, C, H, W], the largest first.
	Stages(s Scope, x *op.Node) []*op.Node
}

// Map is the size of an image or of what a network makes of it.
type Map struct{ Channels, Height, Width int }

func (m Map) size() int { return m.Channels * m.Height * m.Width }

// Decoder turns embeddings [N, D] back into images [N, C, H, W] with values in 0..1,
// along the maps of an encoder in reverse: each step is a transposed 3x3 convolution
// of stride 2. Its parts are numbered as in a PyTorch Sequential.
type Decoder struct {
	Maps  []Map // that the code grows through, the smallest first; each at most twice as large as the one before
	Image Map

	// Flat says that the code is the first map, flattened. Otherwise a linear layer
	// makes the first map of it.
	Flat bool

	Norm       bool // BatchNorm on all layers but the last, which then have no bias
	Activation Activation
}

// MirrorOf returns the decoder that mirrors an encoder for images of a size. Of an
// encoder that does not show its stages the maps are taken to halve, with 256
// channels at most.
func MirrorOf(e Encoder, image Map) (Decoder, error) {
	if conv, ok := e.(ConvEncoder); ok {
		d := Decoder{Image: image, Flat: true, Activation: conv.Activation}
		return d, d.along(conv, image)
	}
	d := Decoder{Image: image, Norm: true}
	if staged, ok := e.(Staged); ok {
		return d, d.along(staged, image)
	}
	m := Map{32, image.Height, image.Width}
	for d.Maps = []Map{m}; min(m.Height, m.Width) > 8; {
		m = Map{min(2*m.Channels, 256), half(m.Height), half(m.Width)}
		d.Maps = append(d.Maps, m)
	}
	slices.Reverse(d.Maps)
	return d, nil
}

func half(n int) int { return (n + 1) / 2 }

// along sets the maps to those of an encoder, in reverse. Where the encoder shrinks
// more than twofold at once, as before its first stage, maps are put between.
func (d *Decoder) along(e Staged, image Map) error {
	g := op.NewGraph()
	x := g.Input("image", op.Float32, op.Batched(2, image.Channels, image.Height, image.Width))
	stages := e.Stages(NewScope(NewParams(g), true), x)
	if err := g.Err(); err != nil {
		return err
	}
	from := Map{0, image.Height, image.Width}
	for _, n := range stages {
		to := Map{n.Dims[1], n.Dims[2], n.Dims[3]}
		for half(from.Height) > to.Height || half(from.Width) > to.Width {
			from = Map{to.Channels, half(from.Height), half(from.Width)}
			d.Maps = append(d.Maps, from)
		}
		if len(d.Maps) > 0 && d.Maps[len(d.Maps)-1].Height == to.Height && d.Maps[len(d.Maps)-1].Width == to.Width {
			d.Maps = d.Maps[:len(d.Maps)-1] // two stages of one size: the later one
		}
		d.Maps = append(d.Maps, to)
		from = to
	}
	slices.Reverse(d.Maps)
	return nil
}

func (d Decoder) check(z *op.Node) error {
	if len(d.Maps) == 0 {
		return fmt.Errorf("models: a decoder without maps")
	}
	if d.Flat && z.Dims[1] != d.Maps[0].size() {
		return fmt.Errorf("models: Decoder: want codes [N, %d], got %v", d.Maps[0].size(), z.Type)
	}
	return nil
}

// Forward returns images in 0..1: z is [N, D].
func (d Decoder) Forward(s Scope, z *op.Node) *op.Node { return op.Sigmoid(d.Logits(s, z)) }

// Logits returns what Forward takes the sigmoid of.
func (d Decoder) Logits(s Scope, z *op.Node) *op.Node {
	if z == nil {
		return nil
	}
	if err := d.check(z); err != nil {
		return z.Graph().Fail("%w", err)
	}
	part := 0
	next := func() Scope {
		part++
		return s.Sub(strconv.Itoa(part - 1))
	}
	// finish puts norm and activation behind a layer.
	finish := func(x *op.Node) *op.Node {
		if d.Norm {
			x = BatchNorm(next(), x)
		}
		next()
		return d.Activation.apply(x)
	}
	m := d.Maps[0]
	x := z
	if !d.Flat {
		x = Linear(next(), z, m.size(), !d.Norm)
		next() // Unflatten
	}
	x = op.Reshape(x, op.Shape{Dims: []int{z.Dims[0], m.Channels, m.Height, m.Width}, Batch: z.Batch})
	if !d.Flat {
		x = finish(x)
	}
	for _, to := range d.Maps[1:] {
		x = finish(grow(next(), x, to, !d.Norm))
	}
	if last := d.Maps[len(d.Maps)-1]; last.Height == d.Image.Height && last.Width == d.Image.Width {
		return biasedConv(next(), x, d.Image.Channels, 1)
	}
	return grow(next(), x, d.Image, true)
}

// grow is a transposed 3x3 convolution of stride 2 to a size, with PyTorch's initial
// values: parameters weight and, if asked for, bias.
func grow(s Scope, x *op.Node, to Map, bias bool) *op.Node {
	if x == nil {
		return nil
	}
	const k = 3
	more := [2]int{to.Height - (2*x.Dims[2] - 1), to.Width - (2*x.Dims[3] - 1)}
	if min(more[0], more[1]) < 0 || max(more[0], more[1]) > 1 {
		return x.Graph().Fail("models: Decoder: a map of %dx%d does not grow to %dx%d", x.Dims[2], x.Dims[3], to.Height, to.Width)
	}
	bound := Uniform(1 / math.Sqrt(float64(to.Channels*k*k)))
	w := s.Weight("weight", bound, x.Dims[1], to.Channels, k, k)
	var b *op.Node
	if bias {
		b = s.Weight("bias", bound, to.Channels)
	}
	return op.ConvTranspose2D(x, w, b, op.Conv{Stride: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}}, more)
}
