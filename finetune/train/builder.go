package train

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// Names of a step's inputs and of its loss.
const (
	InputViews  = "views"  // float32 [V*N, C, H, W], the first view of all images first
	InputLabels = "labels" // int64 [N]
	InputRate   = "lr"     // float32 scalar
	OutputLoss  = "loss"   // float32 scalar

	// MetricEmbedding is what an objective calls the encoder's output: [M, D]. The
	// trainer measures its effective rank.
	MetricEmbedding = "embedding"

	// MetricGradNorm is the norm of all gradients together, before any clipping. Of
	// gradients that are accumulated it is that of their mean, known with the last
	// batch of a step.
	MetricGradNorm = "grad_norm"
)

// Step says where training stands, for the functions that fill feeds.
type Step struct {
	Index, Total int // steps done before this one, and of the whole run
	Batch        int // of the step's batches, from 0 up; more than 0 only where gradients accumulate
	Seed         uint64
}

// Rand returns a random stream for one feed of this step and batch: the same one
// whenever the run is repeated or resumed.
func (s Step) Rand(feed string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(feed))
	if s.Batch > 0 {
		fmt.Fprintf(h, " %d", s.Batch)
	}
	return rand.New(rand.NewPCG(s.Seed^h.Sum64(), uint64(s.Index)))
}

// Feed is an input that is computed anew for each step.
type Feed struct {
	Node *op.Node
	Fill func(s Step, data []float32)
}

// Builder is what objectives and optimisers build with. The batch size N counts
// images; each of them has as many views as the objective asks for.
type Builder struct {
	*models.Params
	N int

	image   []int // C, H, W
	nviews  int
	views   *op.Node
	labels  *op.Node
	feeds   []Feed
	metrics []export.Output
	images  []string
	rate    *op.Node
	norm    *op.Node
}

// Scope returns the scope of a network in training mode: "encoder", "projector",
// "predictor", "target.encoder".
func (b *Builder) Scope(name string) models.Scope {
	return models.NewScope(b.Params, true).Sub(name)
}

// EvalScope returns the scope of a network that normalises with its running
// statistics, as a frozen encoder does.
func (b *Builder) EvalScope(name string) models.Scope {
	return models.NewScope(b.Params, false).Sub(name)
}

// Views returns all views for one forward pass: [V*N, C, H, W], the first view of
// all images first.
func (b *Builder) Views() *op.Node {
	if b.views == nil {
		b.views = b.Graph.Input(InputViews, op.Float32, op.Batched(append([]int{b.nviews * b.N}, b.image...)...))
	}
	return b.views
}

// View returns view number i of all images: [N, C, H, W].
func (b *Builder) View(i int) *op.Node { return op.Slice(b.Views(), 0, i*b.N, (i+1)*b.N) }

// Labels returns the class indices of the images: int64 [N].
func (b *Builder) Labels() *op.Node {
	if b.labels == nil {
		b.labels = b.Graph.Input(InputLabels, op.Int64, op.Batched(b.N))
	}
	return b.labels
}

// Feed adds an input that fill computes for each step.
func (b *Builder) Feed(name string, shape op.Shape, fill func(s Step, data []float32)) *op.Node {
	n := b.Graph.Input(name, op.Float32, shape)
	b.feeds = append(b.feeds, Feed{n, fill})
	return n
}

// Rate returns the learning rate of the step, a scalar.
func (b *Builder) Rate() *op.Node { return b.rate }

// GradNorm returns the square root of the sum of squares of all gradients.
func (b *Builder) GradNorm(grads []*op.Node) *op.Node {
	if b.norm == nil {
		var sum *op.Node
		for _, g := range grads {
			square := op.Sum(op.Mul(g, g), false)
			if sum != nil {
				square = op.Add(sum, square)
			}
			sum = square
		}
		b.norm = op.Sqrt(sum)
	}
	return b.norm
}

// Show adds pictures x: [N, C, H, W], in the units of the views, to what a step
// returns: those of the first images are shown after each epoch, beside the first
// view, such as reconstructions.
func (b *Builder) Show(name string, x *op.Node) {
	if x == nil {
		return
	}
	if len(x.Dims) != 4 || x.Dims[0] != b.N || x.Dims[1] != b.image[0] {
		b.Graph.Fail("train: show %q: want [%d, %d, H, W], got %v", name, b.N, b.image[0], x.Type)
		return
	}
	b.images = append(b.images, name)
	b.Metric(name, x)
}

// Metric adds a value to what a step returns beside the loss: a scalar to be
// logged, or a tensor such as the embeddings.
func (b *Builder) Metric(name string, value *op.Node) {
	if value != nil {
		b.metrics = append(b.metrics, export.Output{Name: name, Node: value})
	}
}
