package train

import (
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
	Gradients  bool // return each weight's gradient too, as "grad:" and its name
}

// GradPrefix starts the names of gradients among a step's outputs.
const GradPrefix = "grad:"

// Program is a training step, ready to be compiled by a machine.
type Program struct {
	Function engine.Function
	Params   *models.Params
	Feeds    []Feed
	Views    int  // of each image
	Labels   bool // the step takes labels
	Metrics  []string
	Images   []string // outputs that are pictures, see Builder.Show
}

// Build makes the graph of a training step.
func Build(c Config) (*Program, error) {
	if c.BatchSize < 1 || len(c.Image) != 3 {
		return nil, fmt.Errorf("train: want a batch size of at least 1 and an image size C, H, W, got %d and %v", c.BatchSize, c.Image)
	}
	g := op.NewGraph()
	b := &Builder{Params: models.NewParams(g), N: c.BatchSize, image: c.Image, nviews: c.Objective.Views()}
	b.rate = b.Feed(InputRate, op.Dims(), func(s Step, data []float32) { data[0] = float32(c.Rate(s)) })
	loss := c.Objective.Loss(b)
	if err := g.Err(); err != nil {
		return nil, fmt.Errorf("train: %w", err)
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
	grads, err := engine.Backprop(loss, nodes...)
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
	if c.Accumulate > 1 {
		b.accumulate(c.Accumulate, weights, grads, update)
	} else {
		update(grads)
	}
	if err := g.Err(); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}

	p := &Program{Params: b.Params, Feeds: b.feeds, Views: b.nviews, Labels: b.labels != nil, Images: b.images}
	p.Function.Outputs = append([]export.Output{{Name: OutputLoss, Node: loss}}, b.metrics...)
	for _, m := range b.metrics {
		p.Metrics = append(p.Metrics, m.Name)
	}
	if c.Gradients {
		for i, w := range weights {
			p.Function.Outputs = append(p.Function.Outputs, export.Output{Name: GradPrefix + w.Name, Node: grads[i]})
		}
	}
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
