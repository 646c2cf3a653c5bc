package export

import (
	"github.com/sslrt/sslrt/models/op"
)

// Losses with class labels.

var lossAttrs = attrs{"ignore_index": attrInt, "reduction": attrText}

var lossRules = map[string]rule{
	"NegativeLogLikelihoodLoss": {least: 2, most: 3, attrs: lossAttrs, types: floatOnly, heavy: true, build: func(c *call) value {
		return just(c.likelihood(c.arg(0)))
	}},
	"SoftmaxCrossEntropyLoss": {least: 2, most: 3, attrs: lossAttrs, types: floatOnly, heavy: true, build: func(c *call) value {
		x := c.arg(0)
		if x == nil || len(x.Dims) < 2 {
			return c.fail("want scores [N, C, ...]")
		}
		p := op.LogSoftmax(x, 1)
		c.more = []value{just(p)}
		return just(c.likelihood(p))
	}},
}

// likelihood is the loss for log-probabilities [N, C, ...] and labels [N, ...].
func (c *call) likelihood(p *op.Node) *op.Node {
	labels, weight := c.arg(1), c.arg(2)
	if c.err != nil || p == nil || labels == nil {
		return nil
	}
	if len(p.Dims) < 2 || len(labels.Dims) != len(p.Dims)-1 || (labels.DType != op.Int64 && labels.DType != op.Int32) {
		c.fail("scores %v and labels %v", p.Shape, labels.Type)
		return nil
	}
	ignores := c.n.Attr("ignore_index") != nil
	var ignored *op.Node
	if ignores {
		ignored = op.IsEqual(labels, c.scalar(labels, float64(c.integer("ignore_index", 0))))
		labels = op.Where(ignored, c.scalar(labels, 0), labels)
	}
	loss := op.Neg(c.remove(op.GatherElements(p, c.insert(labels, 1), 1), 1))
	var share *op.Node // of each label
	if weight != nil {
		share = op.Gather(weight, labels, 0)
	}
	if ignores {
		if share == nil {
			share = c.graph.Scalar(1)
		}
		share = op.Where(ignored, c.graph.Scalar(0), share)
	}
	if share != nil {
		loss = op.Mul(loss, share)
	}
	switch how := c.text("reduction", "mean"); {
	case how == "none":
		return loss
	case how == "sum":
		return op.Sum(loss, false)
	case how != "mean":
		c.fail("reduction %q: want none, sum or mean", how)
		return nil
	case share == nil:
		return op.Mean(loss, false)
	}
	return op.Div(op.Sum(loss, false), op.Sum(share, false))
}
