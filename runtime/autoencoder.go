package runtime

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
)

// Autoencoder gives images back from their embeddings, and so cleans them if it was
// trained for that. It must be closed.
type Autoencoder struct{ net *network }

// LoadAutoencoder opens the ONNX file of an autoencoder, see Load. Its output is
// "reconstruction", float32 [N, C, H, W] of the input's size, with values in 0..1.
func LoadAutoencoder(path string, opt Options) (*Autoencoder, error) {
	net, err := load(path, opt, []string{onnx.KindAutoencoder}, "reconstruction")
	if err != nil {
		return nil, err
	}
	a := &Autoencoder{net}
	if p := net.pre; len(net.row) != 3 || net.row[0] != p.Channels || net.row[1] != p.Height || net.row[2] != p.Width {
		return nil, errors.Join(fmt.Errorf("runtime: load %s: it gives %v for an image of %d channels of %dx%d pixels, want an image of that size",
			net.name, net.row, p.Channels, p.Height, p.Width), a.Close())
	}
	return a, nil
}

// Info returns the metadata of the model's file.
func (a *Autoencoder) Info() onnx.Info { return a.net.info }

// Preprocess returns how an image becomes the model's input.
func (a *Autoencoder) Preprocess() augment.Preprocess { return a.net.pre }

// Close waits for calls under way and frees the model. A second Close does nothing.
func (a *Autoencoder) Close() error { return a.net.session.Close() }

// Pixels returns the preprocessing that gives pixels as Reconstruct takes them:
// Preprocess without the normalisation.
func (a *Autoencoder) Pixels() augment.Preprocess {
	p := a.net.pre
	p.Mean, p.Std = [3]float32{}, [3]float32{1, 1, 1}
	return p
}

// Reconstruct returns what the model makes of images: both are pixels in 0..1, [n, C,
// H, W] with the channels and the size of Preprocess, in one slice. A model of uint8
// input sees them rounded to 8 bits.
func (a *Autoencoder) Reconstruct(ctx context.Context, pixels []float32) ([]float32, error) {
	p := a.net.pre
	size := p.Len()
	if len(pixels) == 0 || len(pixels)%size != 0 {
		return nil, fmt.Errorf("runtime: reconstruct: got %d values, want images of %dx%dx%d", len(pixels), p.Channels, p.Height, p.Width)
	}
	x := images{count: len(pixels) / size}
	area := p.Height * p.Width
	if a.net.bytes {
		x.pixels = make([]uint8, len(pixels))
		for i, v := range pixels {
			c, at := i/area%p.Channels, i/size*size+i%area*p.Channels
			x.pixels[at+c] = uint8(math.Round(255 * float64(min(max(v, 0), 1))))
		}
	} else {
		x.floats = make([]float32, len(pixels))
		for i, v := range pixels {
			c := i / area % p.Channels
			x.floats[i] = (v - p.Mean[c]) / p.Std[c]
		}
	}
	out := make([]float32, len(pixels))
	return out, a.net.run(ctx, out, x)
}

// Reconstructed is what ReconstructAll hands over of one image: pixels in 0..1,
// [C, H, W], valid during the call.
type Reconstructed struct {
	Index                 int
	Clean, Seen, Restored []float32 // the image, what the model saw of it, what it made of that
}

// ReconstructAll gives the images of src to the model, spoilt by noise drawn from a
// seed and an image's number, and hands over each result, in order. Images are decoded
// by workers beside the model. An image that cannot be read is left out and reported;
// that no image can be read is an error.
func ReconstructAll(ctx context.Context, a *Autoencoder, src augment.Source, noise augment.Noise, seed uint64, opt JobOptions, take func(Reconstructed) error) (Summary, error) {
	pre := a.Pixels()
	j := job{what: "reconstruct", src: src, pre: pre, opt: opt}
	one := pre.Len()
	err := j.run(ctx, func(b *augment.Batch, _ []float32, usable []int) error {
		clean := b.Views[0]
		seen := append([]float32(nil), clean...)
		for k, i := range b.Index {
			noise.Apply(augment.NewRand(seed, 0, i, 0), seen[k*one:(k+1)*one], pre.Channels, pre.Height*pre.Width)
		}
		restored, err := a.Reconstruct(ctx, seen)
		if err != nil {
			return err
		}
		for _, k := range usable {
			r := Reconstructed{b.Index[k], clean[k*one : (k+1)*one], seen[k*one : (k+1)*one], restored[k*one : (k+1)*one]}
			if err := take(r); err != nil {
				return err
			}
			j.sum.Done++
		}
		return nil
	})
	return j.sum, err
}
