package finetune

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/knn"
	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// Sizes of the nearest-neighbour measurement during training: it must cost little
// beside an epoch.
const (
	monitorBank    = 5000
	monitorQueries = 1000
	monitorBatch   = 128
)

// monitor measures the network after each epoch. With images that are held back for
// validation it is the classifier's accuracy on them. Otherwise the encoder is
// measured by nearest neighbours among its training images: a part of them finds its
// classes in another part, which shows whether training goes well and chooses
// nothing. sslrt evaluate measures on images that training has not seen.
type monitor struct {
	program       engine.Program
	pre           augment.Preprocess
	workers       int
	valid         augment.Source // nil: nearest neighbours
	bank, queries augment.Source
}

// newMonitor returns a monitor of a run that trains on src, nil without labels.
func newMonitor(machine engine.Machine, c *Config, src, valid augment.Source) (*monitor, error) {
	m := &monitor{pre: c.Preprocess(), workers: c.Workers, valid: valid}
	if valid == nil && !m.divide(src) {
		return nil, nil
	}
	encoder, err := c.encoder()
	if err != nil {
		return nil, err
	}
	g := op.NewGraph()
	scope := models.NewScope(models.NewParams(g), false)
	x := g.Input(imageInput, op.Float32, op.Batched(monitorBatch, c.Channels, c.ImageSize, c.ImageSize))
	h := encoder.Forward(scope.Sub(objective.NameEncoder), x)
	if valid != nil {
		h = models.Linear(scope.Sub(objective.NameClassifier), h, len(c.Classes), true)
	}
	m.program, err = machine.Compile(engine.Function{Outputs: []export.Output{{Name: embeddingOutput, Node: h}}})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// divide picks labelled images for the bank and the queries, and reports whether
// there are enough.
func (m *monitor) divide(src augment.Source) bool {
	var labelled []int
	for i := range src.Len() {
		if src.Label(i) >= 0 {
			labelled = append(labelled, i)
		}
	}
	queries := min(monitorQueries, len(labelled)/5)
	bank := min(monitorBank, len(labelled)-queries)
	if queries == 0 {
		return false
	}
	// The same images in every run over the same data, whatever its seed.
	rand.New(rand.NewPCG(1, uint64(len(labelled)))).Shuffle(len(labelled), func(i, j int) {
		labelled[i], labelled[j] = labelled[j], labelled[i]
	})
	m.queries = augment.Subset(src, labelled[:queries])
	m.bank = augment.Subset(src, labelled[queries:queries+bank])
	return true
}

// metric is the name of what is measured.
func (m *monitor) metric() string {
	if m.valid != nil {
		return metricAccuracy
	}
	return metricKNN
}

// Names in the monitor's graph, those of an exported encoder.
const (
	imageInput      = "image"
	embeddingOutput = "embedding"
)

// measure returns the accuracy for the network's current state.
func (m *monitor) measure(ctx context.Context, state engine.Tensors) (float64, error) {
	if err := m.program.Load(state); err != nil {
		return 0, err
	}
	if m.valid != nil {
		logits, labels, classes, err := m.embed(ctx, m.valid)
		if err != nil {
			return 0, err
		}
		return metrics.TopK(logits, classes, labels, 1)
	}
	bank, bankLabels, dim, err := m.embed(ctx, m.bank)
	if err != nil {
		return 0, err
	}
	queries, labels, _, err := m.embed(ctx, m.queries)
	if err != nil {
		return 0, err
	}
	classifier, err := knn.New(bank, bankLabels, dim, knn.Options{})
	if err != nil {
		return 0, fmt.Errorf("finetune: nearest neighbours: %w", err)
	}
	r, err := classifier.Evaluate(queries, labels)
	return r.Accuracy, err
}

// embed returns the network's outputs for a source and its labels: [n, dim]. Images that
// cannot be read are left out.
func (m *monitor) embed(ctx context.Context, src augment.Source) (x []float32, labels []int, dim int, err error) {
	loader, err := augment.NewEvalLoader(src, m.pre, monitorBatch, m.workers)
	if err != nil {
		return nil, nil, 0, err
	}
	defer loader.Close()
	images := make([]float32, monitorBatch*m.pre.Len())
	for {
		b, err := loader.Next(ctx)
		if errors.Is(err, io.EOF) {
			return x, labels, dim, nil
		}
		if err != nil {
			return nil, nil, 0, err
		}
		copy(images, b.Views[0]) // the last batch is filled up by what was there
		out, err := m.program.Run(ctx, engine.Tensors{imageInput: engine.NewTensor(images, monitorBatch, m.pre.Channels, m.pre.Height, m.pre.Width)})
		if err != nil {
			return nil, nil, 0, err
		}
		h := out[embeddingOutput].Float32s()
		dim = len(h) / monitorBatch
		for i := range b.Index {
			if b.Failed == nil || b.Failed[i] == nil {
				x = append(x, h[i*dim:(i+1)*dim]...)
				labels = append(labels, b.Labels[i])
			}
		}
		loader.Release(b)
	}
}

func (m *monitor) Close() error { return m.program.Close() }
