package probe

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sslrt/sslrt/finetune/linear"
	"github.com/sslrt/sslrt/models/onnx"
)

// minOpset is the oldest version of ONNX's operators that the classifiers are written
// in.
const minOpset = 11

// File says what a classifier's file holds beside the encoder.
type File struct {
	Embedding string   // output of the encoder to classify by; default "embedding", or the only one
	Classes   []string // names, in index order
	Method    string   // how it was made: "linear", "knn"
	Protocol  string   // for a reader
	Version   string   // of the program
}

// LinearModel writes a linear probe behind its encoder: one file with the outputs
// logits and probability, [N, K], the latter softmax(logits / temperature).
func LinearModel(encoder *onnx.Model, m *linear.Model, temperature float64, f File) (*onnx.Model, error) {
	c, err := newComposer(encoder, f, m.Dim)
	if err != nil {
		return nil, err
	}
	w := make([]float32, len(m.W))
	for i, v := range m.W {
		w[i] = float32(v)
	}
	b := make([]float32, len(m.B))
	for i, v := range m.B {
		b[i] = float32(v)
	}
	k, d := int64(m.Classes), int64(m.Dim)
	logits := c.b.Node("Gemm", []string{c.x,
		c.b.Initializer("classifier.weight", onnx.FloatTensor("", []int64{k, d}, w)),
		c.b.Initializer("classifier.bias", onnx.FloatTensor("", []int64{k}, b))}, onnx.IntAttr("transB", 1))
	scaled := c.b.Node("Div", []string{logits, c.b.Float(float32(temperature))})
	return c.finish(logits, c.b.Node("Softmax", []string{scaled}, onnx.IntAttr("axis", 1)))
}

// KNNModel writes a nearest-neighbour classifier (Wu et al., 2018) behind its encoder:
// the k most similar of the bank's vectors, by cosine, vote for their labels with
// weight exp(similarity / temperature). The output probability, [N, K], is each class's
// share of the votes, logits is its logarithm.
//
//	bank: [M, dim]
//	labels: [M]
func KNNModel(encoder *onnx.Model, bank []float32, labels []int, dim, k int, temperature float64, f File) (*onnx.Model, error) {
	if len(labels) == 0 || len(bank) != len(labels)*dim {
		return nil, fmt.Errorf("probe: %d labels for %d values of width %d", len(labels), len(bank), dim)
	}
	c, err := newComposer(encoder, f, dim)
	if err != nil {
		return nil, err
	}
	b, n, d := c.b, int64(len(labels)), int64(dim)
	length := func(x string) string {
		if c.opset >= 18 { // where the axes are an input
			return b.Node("ReduceL2", []string{x, b.Ints(1)}, onnx.IntAttr("keepdims", 1))
		}
		return b.Node("ReduceL2", []string{x}, onnx.IntsAttr("axes", 1), onnx.IntAttr("keepdims", 1))
	}
	unit := func(x string) string {
		return b.Node("Div", []string{x, b.Node("Max", []string{length(x), b.Float(1e-12)})})
	}
	votes := make([]float32, len(labels)*len(f.Classes))
	for i, l := range labels {
		if l < 0 || l >= len(f.Classes) {
			return nil, fmt.Errorf("probe: label %d of training image %d, want 0 to %d", l, i, len(f.Classes)-1)
		}
		votes[i*len(f.Classes)+l] = 1
	}
	rows := b.Initializer("classifier.bank", onnx.FloatTensor("", []int64{n, d}, bank))
	similar := b.Node("Gemm", []string{unit(c.x), unit(rows)}, onnx.IntAttr("transB", 1)) // [N, M]
	top := b.NodeN("TopK", []string{similar, b.Ints(min(int64(k), n))}, 2, onnx.IntAttr("axis", 1))
	// Softmax of the similarities is the weights' share, and finite for every temperature.
	weight := b.Node("Softmax", []string{b.Node("Div", []string{top[0], b.Float(float32(temperature))})}, onnx.IntAttr("axis", 1))
	classes := b.Initializer("classifier.labels", onnx.FloatTensor("", []int64{n, int64(len(f.Classes))}, votes))
	chosen := b.Node("Gather", []string{classes, top[1]}, onnx.IntAttr("axis", 0)) // [N, k, K]
	weight = b.Node("Reshape", []string{weight, b.Ints(0, 1, -1)})                 // [N, 1, k]
	probability := b.Node("Reshape", []string{b.Node("MatMul", []string{weight, chosen}), b.Ints(0, -1)})
	logits := b.Node("Log", []string{b.Node("Max", []string{probability, b.Float(1e-30)})})
	return c.finish(logits, probability)
}

// composer adds a classifier to an encoder.
type composer struct {
	b     *onnx.Builder
	opset int64
	x     string // the embedding, [N, dim]
	batch onnx.Dim
	info  onnx.Info
	f     File
}

func newComposer(encoder *onnx.Model, f File, dim int) (*composer, error) {
	fail := func(format string, args ...any) (*composer, error) {
		return nil, fmt.Errorf("probe: the encoder: "+format, args...)
	}
	c := &composer{opset: encoder.Opset(""), f: f}
	if c.opset < minOpset {
		return fail("it is of opset %d: export it again with opset %d or later", c.opset, minOpset)
	}
	if len(f.Classes) < 2 {
		return nil, errors.New("probe: a classifier needs two classes or more")
	}
	var err error
	if c.info, err = onnx.ReadInfo(encoder); err != nil {
		return nil, err
	}
	for _, o := range encoder.Graph.Outputs {
		if o.Name == f.Embedding || f.Embedding == "" && (o.Name == "embedding" || len(encoder.Graph.Outputs) == 1) {
			c.x = o.Name
			if len(o.Dims) == 2 && o.Dims[1].Param == "" && o.Dims[1].Value >= 0 && o.Dims[1].Value != int64(dim) {
				return fail("its output %q is of width %d, the classifier of %d", o.Name, o.Dims[1].Value, dim)
			}
			if len(o.Dims) > 0 {
				c.batch = o.Dims[0]
			}
		}
	}
	if c.x == "" {
		return fail("it has no output %q", f.Embedding)
	}
	c.b = onnx.Extend(encoder)
	// Maps are taken row by row, as the classifier was fitted.
	c.x = c.b.Node("Reshape", []string{c.x, c.b.Ints(-1, int64(dim))})
	return c, nil
}

func (c *composer) finish(logits, probability string) (*onnx.Model, error) {
	k := onnx.Fixed(int64(len(c.f.Classes)))
	c.b.NodeTo("Identity", []string{logits}, []string{"logits"})
	c.b.NodeTo("Identity", []string{probability}, []string{"probability"})
	c.b.Output(onnx.TensorInfo("logits", onnx.Float, c.batch, k))
	c.b.Output(onnx.TensorInfo("probability", onnx.Float, c.batch, k))
	summary, err := json.Marshal(struct {
		Encoder  json.RawMessage `json:"encoder,omitempty"` // the encoder file's own
		By       string          `json:"encoder_method,omitempty"`
		Protocol string          `json:"protocol"`
	}{c.info.Training, c.info.Method, c.f.Protocol})
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	return c.b.Model("classifier", onnx.Info{Kind: onnx.KindClassifier, Version: c.f.Version, Method: c.f.Method,
		Layer: c.info.Layer, Classes: c.f.Classes, Input: c.info.Input, Training: summary, Preprocess: c.info.Preprocess})
}
