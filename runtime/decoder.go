package runtime

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime/ort"
)

// Decoder turns embeddings into images. It must be closed.
type Decoder struct {
	name    string
	session *ort.Session
	info    onnx.Info
	pixels  augment.Preprocess
}

// LoadDecoder opens the ONNX file of a decoder that sslrt wrote: input "embedding",
// float32 [N, D], output "reconstruction", float32 [N, C, H, W] with values in 0..1.
// Of the options it takes the library and the session's.
func LoadDecoder(path string, opt Options) (*Decoder, error) {
	fail := func(err error) (*Decoder, error) {
		return nil, fmt.Errorf("runtime: load %s: %w", filepath.Base(path), err)
	}
	model, err := onnx.ReadFile(path)
	if err != nil {
		return fail(err)
	}
	d := &Decoder{name: filepath.Base(path)}
	if d.info, err = onnx.ReadInfo(model); err != nil {
		return fail(err)
	}
	if d.info.Kind != onnx.KindDecoder || d.info.EmbeddingSize < 1 {
		return fail(fmt.Errorf("its metadata do not make it a decoder, but of kind %q with embeddings of %d values", d.info.Kind, d.info.EmbeddingSize))
	}
	if d.pixels, err = augment.ParsePreprocess(d.info.Preprocess); err != nil {
		return fail(err)
	}
	d.pixels.Mean, d.pixels.Std = [3]float32{}, [3]float32{1, 1, 1}
	if _, err := ort.Init(ort.FindOptions{Path: opt.Library}); err != nil {
		return nil, err
	}
	so := opt.Session
	so.Inputs = []ort.Info{{Name: "embedding", Type: ort.Float32, Shape: []int{-1, d.info.EmbeddingSize}}}
	so.Outputs = []ort.Info{{Name: "reconstruction", Type: ort.Float32, Shape: []int{-1, d.pixels.Channels, d.pixels.Height, d.pixels.Width}}}
	if d.session, err = ort.OpenFile(path, so); err != nil {
		return fail(err)
	}
	return d, nil
}

// Info returns the metadata of the model's file.
func (d *Decoder) Info() onnx.Info { return d.info }

// Dim returns the number of values of an embedding.
func (d *Decoder) Dim() int { return d.info.EmbeddingSize }

// Pixels describes the images: their channels and size. Its Image method makes a
// picture of one.
func (d *Decoder) Pixels() augment.Preprocess { return d.pixels }

// Close waits for calls under way and frees the model. A second Close does nothing.
func (d *Decoder) Close() error { return d.session.Close() }

// Decode returns the images of embeddings: [n, Dim] in one slice becomes [n, C, H, W],
// values in 0..1.
func (d *Decoder) Decode(ctx context.Context, embeddings []float32) ([]float32, error) {
	n := len(embeddings) / d.Dim()
	if n == 0 || len(embeddings)%d.Dim() != 0 {
		return nil, fmt.Errorf("runtime: decode: got %d values, want embeddings of %d", len(embeddings), d.Dim())
	}
	in, err := ort.NewTensor([]int{n, d.Dim()}, embeddings)
	if err != nil {
		return nil, fmt.Errorf("runtime: decode: %w", err)
	}
	out, err := d.session.RunMap(ctx, map[string]*ort.Tensor{"embedding": in})
	if err != nil {
		return nil, fmt.Errorf("runtime: run %s: %w", d.name, err)
	}
	return ort.Data[float32](out["reconstruction"])
}
