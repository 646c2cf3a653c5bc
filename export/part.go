package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// Names of inputs and outputs in a file.
const (
	InputImage        = "image"       // float32 [N, C, H, W], normalised; or uint8 [N, H, W, C]
	InputEmbedding    = "embedding"   // float32 [N, D], of a decoder
	OutputEmbedding   = "embedding"   // float32 [N, D], pooled, not normalised
	OutputProjection  = "projection"  // float32 [N, D]
	OutputLogits      = "logits"      // float32 [N, K]
	OutputProbability = "probability" // float32 [N, K], softmax of the logits

	OutputReconstruction = "reconstruction" // float32 [N, C, H, W], pixels in 0..1
)

// Stage is one network of a chain.
type Stage struct {
	// Name starts the names of its parameters: "encoder", "projector".
	Name string

	// Forward applies the network: models.ResNet.Forward, models.Projector.Forward.
	Forward func(s models.Scope, x *op.Node) *op.Node
}

// Part is what is written of a trained network for inference: a chain of networks
// from an image to one output, in evaluation mode. It is also the reference that a
// written file is compared with, see Outputs.
type Part struct {
	Kind   string // an onnx.Kind: encoder, projector, classifier, decoder or autoencoder
	Stages []Stage

	Preprocess augment.Preprocess // how an image becomes the input; its size is the input's
	Code       int                // size of a decoder's input

	// What a user of the file may want to know; all may be empty.
	Classes  []string        // of a classifier, in index order
	Method   string          // what it was trained by
	Training json.RawMessage // a summary of the run, a JSON object
	Version  string          // of the program
}

// Outputs builds the part for batches of n images in a graph of its own, whose
// input is InputImage, float32 [n, C, H, W], or for a decoder InputEmbedding, float32
// [n, Code], and returns its outputs and its parameters.
func (p Part) Outputs(n int) ([]Output, *models.Params, error) {
	g := op.NewGraph()
	params := models.NewParams(g)
	pre := p.Preprocess
	var x *op.Node
	if p.Kind == onnx.KindDecoder {
		x = g.Input(InputEmbedding, op.Float32, op.Batched(n, p.Code))
	} else {
		x = g.Input(InputImage, op.Float32, op.Batched(n, pre.Channels, pre.Height, pre.Width))
	}
	if len(p.Stages) == 0 {
		return nil, nil, errors.New("export: a part without networks")
	}
	for _, s := range p.Stages {
		x = s.Forward(models.NewScope(params, false).Sub(s.Name), x)
	}
	if err := g.Err(); err != nil {
		return nil, nil, fmt.Errorf("export: build the %s: %w", p.Kind, err)
	}
	if p.Kind == onnx.KindDecoder || p.Kind == onnx.KindAutoencoder {
		if want := op.Batched(n, pre.Channels, pre.Height, pre.Width); !x.Shape.Equal(want) {
			return nil, nil, fmt.Errorf("export: the %s gives %v for %d images, want %v", p.Kind, x.Type, n, want)
		}
	} else if len(x.Dims) != 2 || x.Dims[0] != n {
		return nil, nil, fmt.Errorf("export: the %s gives %v for %d images, want one row for each", p.Kind, x.Type, n)
	}
	var out []Output
	switch p.Kind {
	case onnx.KindEncoder:
		out = []Output{{OutputEmbedding, x}}
	case onnx.KindProjector:
		out = []Output{{OutputProjection, x}}
	case onnx.KindClassifier:
		if x.Dims[1] != len(p.Classes) {
			return nil, nil, fmt.Errorf("export: the classifier has %d outputs for %d classes", x.Dims[1], len(p.Classes))
		}
		out = []Output{{OutputLogits, x}, {OutputProbability, op.Softmax(x, 1)}}
	case onnx.KindDecoder, onnx.KindAutoencoder:
		out = []Output{{OutputReconstruction, x}}
	default:
		return nil, nil, fmt.Errorf("export: unknown kind of part %q: want %s, %s, %s, %s or %s", p.Kind,
			onnx.KindEncoder, onnx.KindProjector, onnx.KindClassifier, onnx.KindDecoder, onnx.KindAutoencoder)
	}
	return out, params, g.Err()
}

// ModelOptions says how a part becomes a file.
type ModelOptions struct {
	Input         string // onnx.InputFloat, the default, or onnx.InputUint8
	Opset         int    // 13 to 22; default DefaultOpset
	KeepBatchNorm bool   // keep normalisation apart from the convolutions, for further training
}

// Model returns the part with these weights as an ONNX model for any number of
// images. BatchNorm is folded into the layers before it unless it is to be kept.
func (p Part) Model(weights models.StateDict, opt ModelOptions) (*onnx.Model, error) {
	if err := p.Preprocess.Validate(); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	if opt.Input == "" {
		opt.Input = onnx.InputFloat
	}
	if opt.Input != onnx.InputFloat && opt.Input != onnx.InputUint8 {
		return nil, fmt.Errorf("export: unknown input %q: choose %s or %s", opt.Input, onnx.InputFloat, onnx.InputUint8)
	}
	if opt.Input == onnx.InputUint8 && p.Kind == onnx.KindDecoder {
		return nil, errors.New("export: a decoder takes embeddings: leave out the input uint8")
	}
	lower := Options{Opset: opt.Opset, Name: p.Kind, DynamicBatch: true}
	outputs, params, err := p.anyBatch(lower)
	if err != nil {
		return nil, err
	}
	if err := params.Check(weights); err != nil {
		return nil, fmt.Errorf("export: the %s: %w", p.Kind, err)
	}
	lower.Params = weights
	lower.Info = p.info(outputs[0].Node.Dims[1])
	if p.Kind != onnx.KindDecoder {
		lower.Info.Input = opt.Input
	}
	m, err := Lower(outputs, lower)
	if err != nil {
		return nil, err
	}
	if !opt.KeepBatchNorm {
		if err := foldBatchNorm(m.Graph); err != nil {
			return nil, err
		}
	}
	if opt.Input == onnx.InputUint8 {
		takeBytes(m.Graph, p.Preprocess)
	}
	m.Graph.Prune()
	if err := onnx.Check(m); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	return m, nil
}

// anyBatch builds the part, and makes sure that no operation has baked the size of
// the batch into what will be written: for two sizes it must be the same.
func (p Part) anyBatch(opt Options) ([]Output, *models.Params, error) {
	var first []byte
	for n := 2; ; n++ {
		outputs, params, err := p.Outputs(n)
		if err != nil {
			return nil, nil, err
		}
		m, err := Lower(outputs, opt)
		if err != nil {
			return nil, nil, err
		}
		text, err := m.Marshal()
		if err != nil {
			return nil, nil, fmt.Errorf("export: %w", err)
		}
		switch {
		case first == nil:
			first = text
		case !bytes.Equal(first, text):
			return nil, nil, fmt.Errorf("export: the %s holds the size of the batch: its models for 2 and for 3 images differ", p.Kind)
		default:
			return outputs, params, nil
		}
	}
}

func (p Part) info(size int) onnx.Info {
	info := onnx.Info{Kind: p.Kind, Version: p.Version, Method: p.Method, Training: p.Training,
		Layer: p.Stages[len(p.Stages)-1].Name, Preprocess: p.Preprocess.Metadata()}
	switch p.Kind {
	case onnx.KindClassifier:
		info.Classes = p.Classes
	case onnx.KindAutoencoder:
	case onnx.KindDecoder:
		info.EmbeddingSize = p.Code
	default:
		info.EmbeddingSize = size
	}
	return info
}
