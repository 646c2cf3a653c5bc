package objective

import (
	"math"

	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// Supervised learns the labels of the images: an encoder and one linear layer.
type Supervised struct {
	Encoder models.Encoder
	Classes int
	Freeze  bool // the encoder keeps its weights and its running statistics
}

// Views returns 1.
func (Supervised) Views() int { return 1 }

// Chance is the loss of one probability for all classes.
func (s Supervised) Chance(int) float64 { return math.Log(float64(s.Classes)) }

// Loss builds the cross-entropy; the logits are a metric.
func (s Supervised) Loss(b *train.Builder) *op.Node {
	scope := b.Scope(NameEncoder)
	if s.Freeze {
		scope = b.EvalScope(NameEncoder)
	}
	h := s.Encoder.Forward(scope, b.Views())
	if s.Freeze {
		h = op.StopGradient(h)
	}
	logits := models.Linear(b.Scope(NameClassifier), h, s.Classes, true)
	b.Metric("logits", logits)
	return CrossEntropy(logits, b.Labels())
}
