package train

import (
	"fmt"
	"strings"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// Names of what a chunk's passes take and give beside what a step has.
const (
	rowsName = "chunk.rows"     // what the loss compares: [V*n, D] of a chunk, [V*N, D] of all
	seedName = "chunk.gradient" // the loss's gradient with respect to it, of the same shape
)

// chunks are the two passes of a step in chunks that come before Program.Function. No
// state changes in them.
type chunks struct {
	batch, size, views int             // images of a step and of a chunk, views of an image
	embed              engine.Function // views of a chunk to rows, and metrics with a row for each view
	compare            engine.Function // rows of the whole batch to the loss, its metrics and gradient
	undo               []string        // parameters that change with each chunk, not with a step
}

// buildChunks makes a step of three functions: rows of a chunk, their loss, and the
// backward pass of a chunk. The last one adds its gradients to those of the chunks
// before, as accumulated batches do, and changes the weights with the last chunk.
func buildChunks(c Config) (*Program, error) {
	fail := func(err error) (*Program, error) { return nil, fmt.Errorf("train: chunks: %w", err) }
	o, ok := c.Objective.(Comparer)
	switch _, updates := c.Objective.(Updater); {
	case !ok:
		return fail(fmt.Errorf("the loss of %T is not one of rows that a network makes of each view", c.Objective))
	case updates:
		return fail(fmt.Errorf("%T has state that follows the weights", c.Objective))
	case c.Chunk < 1 || c.BatchSize%c.Chunk != 0:
		return fail(fmt.Errorf("a batch of %d images does not divide into chunks of %d", c.BatchSize, c.Chunk))
	case c.Gradients:
		return fail(fmt.Errorf("gradients come in pieces: they are not returned"))
	}
	ch := &chunks{batch: c.BatchSize, size: c.Chunk, views: o.Views()}
	embed := c.newBuilder(c.Chunk)
	rows := o.Embed(embed)
	if err := embed.Graph.Err(); err != nil {
		return fail(err)
	}
	ch.embed.Outputs = append([]export.Output{{Name: rowsName, Node: rows}}, embed.metrics...)
	for _, out := range ch.embed.Outputs {
		if len(out.Node.Dims) != 2 || out.Node.Dims[0] != c.Chunk*ch.views {
			return fail(fmt.Errorf("%q is %v, want a row for each of %d views", out.Name, out.Node.Type, c.Chunk*ch.views))
		}
	}
	if len(embed.feeds) > 0 || embed.labels != nil {
		return fail(fmt.Errorf("rows of %T depend on more than the views", c.Objective))
	}

	compare := c.newBuilder(c.BatchSize)
	z := compare.Graph.Input(rowsName, op.Float32, op.Batched(c.BatchSize*compare.nviews, rows.Dims[1]))
	loss, dz, err := differentiate(o.Compare(compare, z), z)
	if err == nil {
		err = compare.Graph.Err()
	}
	if err != nil {
		return fail(err)
	}
	if len(compare.Specs()) > 0 || compare.views != nil {
		return fail(fmt.Errorf("the loss of %T depends on more than rows", c.Objective))
	}
	// Folded, the gradient of each term would leave matrices as large as its similarities:
	// at 8,192 views 0.8 GB.
	ch.compare.LargeConstants = true
	ch.compare.Outputs = append([]export.Output{{Name: seedName, Node: dz}, {Name: OutputLoss, Node: loss}}, compare.metrics...)

	c.Objective, c.BatchSize = seeded{o}, c.Chunk
	p, err := build(c, true)
	if err != nil {
		return nil, err
	}
	p.chunks, ch.undo = ch, p.Statistics
	for _, s := range p.Params.Specs() {
		if strings.HasPrefix(s.Name, accumulated) {
			ch.undo = append(ch.undo, s.Name)
		}
	}
	p.Feeds = append(p.Feeds, compare.feeds...)
	p.Labels = compare.labels != nil
	p.Images = nil
	// The loss of a seeded pass is none, and its other metrics are known already.
	p.Function.Outputs = nil
	for _, out := range p.Outputs {
		if out.Name == MetricGradNorm {
			p.Function.Outputs = append(p.Function.Outputs, out)
		}
	}
	p.Outputs = nil
	for _, out := range append(ch.embed.Outputs, append(ch.compare.Outputs, p.Function.Outputs...)...) {
		if out.Name != rowsName && out.Name != seedName {
			p.Outputs = append(p.Outputs, out)
		}
	}
	return p, nil
}

// differentiate returns the sum of the terms of a loss and its gradient with respect to
// z. It differentiates them one by one, so that a machine may forget all that belongs to
// a term before it computes the next one.
func differentiate(terms []*op.Node, z *op.Node) (loss, dz *op.Node, err error) {
	add := func(sum, x *op.Node) *op.Node {
		if sum == nil {
			return x
		}
		return op.Add(sum, x)
	}
	for _, term := range terms {
		grads, err := engine.Backprop(term, z)
		if err != nil {
			return nil, nil, err
		}
		if grads[0] == nil {
			return nil, nil, fmt.Errorf("the loss does not depend on the rows")
		}
		loss, dz = add(loss, term), add(dz, grads[0])
	}
	return loss, dz, nil
}

// seeded is the backward pass of a chunk: its loss has the gradient with respect to the
// rows that the whole batch's loss has.
type seeded struct{ Comparer }

// Loss is the sum of rows * seed.
func (s seeded) Loss(b *Builder) *op.Node {
	rows := s.Embed(b)
	if rows == nil {
		return nil
	}
	return op.Sum(op.Mul(rows, b.Graph.Input(seedName, op.Float32, rows.Shape)), false)
}
