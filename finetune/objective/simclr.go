package objective

import (
	"math"

	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// Names of the networks in a state dict.
const (
	NameEncoder    = "encoder"
	NameProjector  = "projector"
	NameClassifier = "fc"
)

// Loss is a contrastive loss by its name.
type Loss string

const (
	LossNTXent  Loss = "ntxent"  // NTXent, the default
	LossInfoNCE Loss = "infonce" // one-directional InfoNCE
)

// SimCLR learns by telling the two views of an image from those of all others in
// the batch (Chen et al., 2020, "A simple framework for contrastive learning of
// visual representations"). Both views go through encoder and projector in one
// pass, so that they share the statistics of their BatchNorms.
type SimCLR struct {
	Encoder     models.Encoder
	Projector   models.Projector
	Temperature float64
	Contrast    Loss
}

// Views returns 2.
func (SimCLR) Views() int { return 2 }

// Chance is the loss of embeddings that are all alike: log(2N-1), of InfoNCE log(N).
func (s SimCLR) Chance(n int) float64 {
	if s.Contrast == LossInfoNCE {
		return math.Log(float64(n))
	}
	return math.Log(float64(2*n - 1))
}

// Loss builds the step.
func (s SimCLR) Loss(b *train.Builder) *op.Node {
	var loss *op.Node
	for _, term := range s.Compare(b, s.Embed(b)) {
		if loss != nil {
			term = op.Add(loss, term)
		}
		loss = term
	}
	return loss
}

// Embed returns the projections of all views: [2N, D].
func (s SimCLR) Embed(b *train.Builder) *op.Node {
	h := s.Encoder.Forward(b.Scope(NameEncoder), b.Views())
	b.Metric(train.MetricEmbedding, h)
	return s.Projector.Forward(b.Scope(NameProjector), h)
}

// Compare returns the terms of the loss of projections z: [2N, D]; their alignment and
// uniformity are metrics.
func (s SimCLR) Compare(b *train.Builder, z *op.Node) []*op.Node {
	b.Metric("alignment", Alignment(z))
	b.Metric("uniformity", Uniformity(z))
	switch s.Contrast {
	case "", LossNTXent:
		return meanTerms(ntxentBlocks(z, s.Temperature))
	case LossInfoNCE:
		return meanTerms(infoNCEBlocks(op.Slice(z, 0, 0, b.N), op.Slice(z, 0, b.N, 2*b.N), s.Temperature))
	}
	b.Graph.Fail("objective: unknown loss %q: choose %s or %s", s.Contrast, LossNTXent, LossInfoNCE)
	return nil
}
