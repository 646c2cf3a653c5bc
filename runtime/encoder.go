package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
)

// encoderKinds are the kinds of file that are encoders.
var encoderKinds = []string{onnx.KindEncoder, onnx.KindProjector}

// Encoder turns images into embeddings. It must be closed.
type Encoder struct{ net *network }

// Load opens the ONNX file of an encoder. What the file does not say and opt does
// not give is an error that names the missing entry. A file without metadata
// works too; its input is float32 [N, C, H, W] or uint8 [N, H, W, C], and its
// output float32 with one row per image: the one named by opt.Output, else
// "embedding", else the only one there is. Of a file that is marked as another
// kind of model (classifier, ...) only an output named by opt.Output is taken.
//
// Load runs the model a few times, see the package comment.
func Load(path string, opt Options) (*Encoder, error) {
	net, err := load(path, opt, encoderKinds, "embedding")
	if err != nil {
		return nil, err
	}
	return &Encoder{net}, nil
}

// LoadBytes is Load for the contents of an ONNX file. Data in files beside it are
// not found.
func LoadBytes(model []byte, opt Options) (*Encoder, error) {
	net, err := loadBytes(model, opt, encoderKinds, "embedding")
	if err != nil {
		return nil, err
	}
	return &Encoder{net}, nil
}

// Dim returns the number of values of an embedding.
func (e *Encoder) Dim() int { return e.net.dim }

// Output returns the name of the model's output that is taken.
func (e *Encoder) Output() string { return e.net.output }

// Info returns the metadata of the model's file.
func (e *Encoder) Info() onnx.Info { return e.net.info }

// Preprocess returns how an image becomes the model's input.
func (e *Encoder) Preprocess() augment.Preprocess { return e.net.pre }

// Close waits for calls under way and frees the model. A second Close does
// nothing.
func (e *Encoder) Close() error { return e.net.session.Close() }

// EmbedImage returns the embedding of an image: [Dim].
func (e *Encoder) EmbedImage(ctx context.Context, m image.Image) ([]float32, error) {
	if m == nil || m.Bounds().Empty() {
		return nil, errors.New("runtime: embed image: it has no pixels")
	}
	if b := m.Bounds(); b.Dx() > augment.MaxPixels/b.Dy() {
		return nil, fmt.Errorf("runtime: embed image: got %dx%d pixels, want at most %d", b.Dx(), b.Dy(), augment.MaxPixels)
	}
	return e.EmbedBatch(ctx, []*augment.Image{augment.FromImage(m)})
}

// EmbedBytes returns the embedding of the contents of an image file, of the
// formats that augment.Decode reads: [Dim].
func (e *Encoder) EmbedBytes(ctx context.Context, data []byte) ([]float32, error) {
	return e.EmbedReader(ctx, bytes.NewReader(data))
}

// EmbedReader returns the embedding of the image that r holds: [Dim].
func (e *Encoder) EmbedReader(ctx context.Context, r io.Reader) ([]float32, error) {
	m, err := augment.Decode(r)
	if err != nil {
		return nil, fmt.Errorf("runtime: embed: %w", err)
	}
	return e.EmbedBatch(ctx, []*augment.Image{m})
}

// EmbedFile returns the embedding of the image in a file: [Dim].
func (e *Encoder) EmbedFile(ctx context.Context, path string) ([]float32, error) {
	m, err := augment.DecodeFile(path)
	if err != nil {
		return nil, fmt.Errorf("runtime: embed: %w", err)
	}
	return e.EmbedBatch(ctx, []*augment.Image{m})
}

// EmbedBatch returns the embeddings of decoded images in their order:
// [len(images), Dim].
func (e *Encoder) EmbedBatch(ctx context.Context, images []*augment.Image) ([]float32, error) {
	for i, m := range images {
		if m == nil || m.W < 1 || m.H < 1 || len(m.Pix) != m.W*m.H*3 {
			return nil, fmt.Errorf("runtime: embed: image %d has no pixels, or not W*H*3 of them", i)
		}
	}
	out := make([]float32, len(images)*e.net.dim)
	if err := e.net.run(ctx, out, e.net.prepare(images)); err != nil {
		return nil, err
	}
	return out, nil
}
