package runtime

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
)

// Classifier gives images the probabilities of classes. It must be closed.
type Classifier struct {
	net     *network
	logits  bool // the output has to go through softmax
	classes []string
}

// Class is a class with its probability.
type Class struct {
	Name        string  `json:"class"`
	Index       int     `json:"index"`
	Probability float32 `json:"probability"`
}

// LoadClassifier opens the ONNX file of a classifier, as Load does an encoder's: its
// output is the one named by opt.Output, else "probability", else "logits", else the
// only one there is. What is not called probability goes through softmax. Classes
// without names in the file are called by their numbers.
func LoadClassifier(path string, opt Options) (*Classifier, error) {
	kinds := []string{onnx.KindClassifier}
	m, err := onnx.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("runtime: load model: %w", err)
	}
	usual, has := "probability", func(name string) bool {
		return slices.ContainsFunc(m.Graph.Outputs, func(v *onnx.ValueInfo) bool { return v.Name == name })
	}
	if !has(usual) {
		usual = "logits"
	}
	net, err := load(path, opt, kinds, usual)
	if err != nil {
		return nil, err
	}
	c := &Classifier{net: net, logits: opt.Output != "probability" && (opt.Output != "" || usual != "probability"), classes: net.info.Classes}
	if len(c.classes) == 0 {
		for i := range net.dim {
			c.classes = append(c.classes, strconv.Itoa(i))
		}
	}
	if len(c.classes) != net.dim {
		net.session.Close()
		return nil, fmt.Errorf("runtime: load %s: its metadata name %d classes, its output has %d", net.name, len(c.classes), net.dim)
	}
	return c, nil
}

// Classes returns the names of the classes, in the order of their numbers.
func (c *Classifier) Classes() []string { return c.classes }

// Info returns the metadata of the model's file.
func (c *Classifier) Info() onnx.Info { return c.net.info }

// Preprocess returns how an image becomes the model's input.
func (c *Classifier) Preprocess() augment.Preprocess { return c.net.pre }

// Close waits for calls under way and frees the model.
func (c *Classifier) Close() error { return c.net.session.Close() }

// PredictionSink takes predictions one by one.
type PredictionSink interface {
	// Write adds the classes of an image, the most probable first: its file name as the
	// source gives it, and its class, "" if it has none. It keeps no argument.
	Write(file, label string, top []Class) error
}

// ClassifyAll writes the top most probable classes of all images of src to sink, in
// the order of src; see EmbedAll.
func ClassifyAll(ctx context.Context, c *Classifier, src augment.Source, top int, sink PredictionSink, opt JobOptions) (Summary, error) {
	if top < 1 {
		return Summary{}, errors.New("runtime: classify: no class is asked for")
	}
	return EmbedAll(ctx, &Encoder{c.net}, src, &ranking{c, min(top, len(c.classes)), sink}, opt)
}

// ranking is a Sink that turns outputs into predictions.
type ranking struct {
	c   *Classifier
	top int
	to  PredictionSink
}

func (r *ranking) Write(file, label string, output []float32) error {
	p := slices.Clone(output)
	if r.c.logits {
		softmax(p)
	}
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	// Ties, and values that are no numbers, keep the order of the classes.
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] > p[b]:
			return -1
		case p[a] < p[b]:
			return 1
		}
		return 0
	})
	out := make([]Class, r.top)
	for k, i := range order[:r.top] {
		out[k] = Class{r.c.classes[i], i, p[i]}
	}
	return r.to.Write(file, label, out)
}

// softmax turns logits into probabilities.
func softmax(v []float32) {
	largest, sum := slices.Max(v), 0.0
	for _, x := range v {
		sum += math.Exp(float64(x - largest))
	}
	for i, x := range v {
		v[i] = float32(math.Exp(float64(x-largest)) / sum)
	}
}

// Rename gives the classes other names, one for each; none changes nothing.
func (c *Classifier) Rename(names []string) error {
	if len(names) == 0 {
		return nil
	}
	if len(names) != len(c.classes) {
		return fmt.Errorf("runtime: got %d class names, %s has %d classes", len(names), c.net.name, len(c.classes))
	}
	c.classes = slices.Clone(names)
	return nil
}
