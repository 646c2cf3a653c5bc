package train

import (
	"context"
	"fmt"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// Objective is what a network is trained for.
type Objective interface {
	// Views is the number of augmented views of each image.
	Views() int

	// Loss builds the forward passes and the loss, a scalar.
	Loss(b *Builder) *op.Node
}

// Updater is an Objective with state that follows the updated weights, such as
// a target network that is their moving average.
type Updater interface {
	// Update is called once the weights have their new values: b.Get returns
	// them and b.Set replaces the state.
	Update(b *Builder)
}

// Comparer is an Objective whose loss compares rows, one for each view, that a network
// makes of the views. It can be computed in chunks, see Config.Chunk: Embed must treat
// each view alone, but for the statistics of normalisation, and what it gives to
// Builder.Metric must have a row for each view.
type Comparer interface {
	Objective

	// Embed builds the forward pass of b.Views(): [V*N, C, H, W] to rows [V*N, D].
	Embed(b *Builder) *op.Node

	// Compare returns scalars whose sum is the loss of rows z: [V*N, D], those of the
	// first view of all images first. Several terms bound the memory: the gradient of
	// one is computed before the next term.
	Compare(b *Builder, z *op.Node) []*op.Node
}

// Chancer is an Objective that knows the loss of a network which has learnt
// nothing.
type Chancer interface {
	// Chance returns that loss for batches of n images.
	Chance(n int) float64
}

// Optimizer turns gradients into new weights.
type Optimizer interface {
	// Update gives each weight its next value by b.Set. grads[i] belongs to
	// weights[i].
	Update(b *Builder, weights []models.Spec, grads []*op.Node)
}

// Config says what a step is made of.
type Config struct {
	Objective Objective
	Optimizer Optimizer
	Rate      func(s Step) float64 // the learning rate
	BatchSize int                  // images
	Image     []int                // C, H, W of a view
	Frozen    func(weight string) bool
	GradNorm  bool // return the metric MetricGradNorm

	// Accumulate is the number of batches whose gradients are averaged before the
	// weights change once; 0 stands for 1. See [Step.Batch].
	Accumulate int

	// Chunk computes a batch in pieces of so many images, in the memory of one piece,
	// by cached gradients (Gao et al., 2021, "Scaling deep contrastive learning batch
	// size under memory limited setup"); 0: at once. The objective must be a Comparer,
	// BatchSize a multiple. Statistics of normalisation are those of a chunk; all else
	// is that of the whole batch.
	Chunk int

	// CheckpointActivations keeps only what goes from one block of the network to the
	// next for the backward pass, and computes the rest anew.
	CheckpointActivations bool

	Gradients bool // return each weight's gradient too, as "grad:" and its name
}

// GradPrefix starts the names of gradients among a step's outputs.
const GradPrefix = "grad:"

// Program is a training step, ready to be compiled by Compile.
type Program struct {
	Function engine.Function // the step; of one in chunks the backward pass of a chunk
	Params   *models.Params
	Feeds    []Feed
	Views    int             // of each image
	Labels   bool            // the step takes labels
	Outputs  []export.Output // what a run returns
	Images   []string        // outputs that are pictures, see Builder.Show

	// Statistics are the parameters that forward passes set: BatchNorm's running
	// statistics, queues.
	Statistics []string

	chunks *chunks // nil for a step that is one function
}

// Chunked says whether the step is computed in chunks: it is not one function then.
func (p *Program) Chunked() bool { return p.chunks != nil }

// Compile makes the step ready to run on a machine. That of a step in chunks is a
// *ChunkedStep.
func (p *Program) Compile(m engine.Machine) (engine.Program, error) {
	if p.chunks != nil {
		return p.compileChunks(m)
	}
	return m.Compile(p.Function)
}

// FirstNonFinite runs the step's forward passes and its loss on the Go machine and
// returns the first computed node with a value that is NaN or infinite, nil if there is
// none.
func (p *Program) FirstNonFinite(ctx context.Context, params, in engine.Tensors) (*op.Node, error) {
	if p.chunks != nil {
		return p.firstNonFiniteChunk(ctx, params, in)
	}
	return engine.FirstNonFinite(ctx, p.Function, params, in)
}

// Build makes the graph of a training step.
func Build(c Config) (*Program, error) {
	if c.BatchSize < 1 || len(c.Image) != 3 {
		return nil, fmt.Errorf("train: want a batch size of at least 1 and an image size C, H, W, got %d and %v", c.BatchSize, c.Image)
	}
	if c.Chunk != 0 {
		return buildChunks(c)
	}
	return build(c, c.Accumulate > 1)
}

// newBuilder returns a builder of a step for n images.
func (c *Config) newBuilder(n int) *Builder {
	return &Builder{Params: models.NewParams(op.NewGraph()), N: n, image: c.Image, nviews: c.Objective.Views()}
}

// build makes a step of one function. With accumulate the gradients of its runs are
// added up before the weights change.
func build(c Config, accumulate bool) (*Program, error) {
	b := c.newBuilder(c.BatchSize)
	g := b.Graph
	b.rate = b.Feed(InputRate, op.Dims(), func(s Step, data []float32) { data[0] = float32(c.Rate(s)) })
	loss := c.Objective.Loss(b)
	if err := g.Err(); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	var statistics []string
	for _, s := range b.Changed() {
		statistics = append(statistics, s.Name)
	}
	var weights []models.Spec
	for _, s := range b.Trainable() {
		if c.Frozen == nil || !c.Frozen(s.Name) {
			weights = append(weights, s)
		}
	}
	nodes := make([]*op.Node, len(weights))
	for i, w := range weights {
		nodes[i] = w.Node
	}
	backprop := engine.Backprop
	if c.CheckpointActivations {
		if g.Blocks() == 0 {
			return nil, fmt.Errorf("train: checkpoint activations: the network has no blocks to compute anew")
		}
		backprop = engine.BackpropCheckpointed
	}
	grads, err := backprop(loss, nodes...)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	// A weight without gradient (a target network's) is the objective's business.
	n := 0
	for i := range weights {
		if grads[i] != nil {
			weights[n], grads[n] = weights[i], grads[i]
			n++
		}
	}
	weights, grads = weights[:n], grads[:n]
	if n == 0 {
		return nil, fmt.Errorf("train: the loss depends on no weight")
	}
	update := func(grads []*op.Node) {
		if c.GradNorm {
			b.Metric(MetricGradNorm, b.GradNorm(grads))
		}
		c.Optimizer.Update(b, weights, grads)
		if u, ok := c.Objective.(Updater); ok {
			u.Update(b)
		}
	}
	if accumulate {
		b.accumulate(max(1, c.Accumulate), weights, grads, update)
	} else {
		update(grads)
	}
	if err := g.Err(); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}

	p := &Program{Params: b.Params, Feeds: b.feeds, Views: b.nviews, Labels: b.labels != nil, Images: b.images, Statistics: statistics}
	p.Outputs = append([]export.Output{{Name: OutputLoss, Node: loss}}, b.metrics...)
	if c.Gradients {
		for i, w := range weights {
			p.Outputs = append(p.Outputs, export.Output{Name: GradPrefix + w.Name, Node: grads[i]})
		}
	}
	p.Function.Outputs = p.Outputs
	for _, s := range b.Changed() {
		p.Function.Carry = append(p.Function.Carry, engine.Carry{Param: s.Node, Next: b.Get(s.Name)})
	}
	return p, nil
}

// Inputs returns the feeds of a step; views and labels come from the data.
func (p *Program) Inputs(s Step) engine.Tensors {
	in := engine.Tensors{}
	for _, f := range p.Feeds {
		v := make([]float32, f.Node.Size())
		f.Fill(s, v)
		in[f.Node.Name] = engine.NewTensor(v, f.Node.Dims...)
	}
	return in
}
