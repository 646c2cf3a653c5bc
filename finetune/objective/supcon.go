package objective

import "github.com/sslrt/sslrt/models/op"

// SupConRows is the supervised contrastive loss of each row (Khosla et al., 2020,
// L_out), [M]: the positives of a row of z: [M, D] are all other rows of its class.
// classes: [M, K] is one-hot; z is normalised here. A row without positives has loss 0.
func SupConRows(z, classes *op.Node, temperature float64) *op.Node {
	if z == nil || classes == nil {
		return nil
	}
	g, m := z.Graph(), z.Dims[0]
	if len(z.Dims) != 2 || len(classes.Dims) != 2 || classes.Dims[0] != m {
		return g.Fail("objective: SupCon: want z: [M, D] and classes: [M, K], got %v and %v", z.Type, classes.Type)
	}
	self := identityMatrix(m)
	others, hidden := make([]float32, m*m), make([]float32, m*m)
	for i, v := range self {
		others[i], hidden[i] = 1-v, masked*v
	}
	unit := op.L2Normalize(z, 1, normEps)
	similarity := op.Scale(op.MatMul(unit, op.Transpose(unit, 1, 0)), 1/temperature)
	logp := op.LogSoftmax(op.Add(similarity, g.Const(hidden, m, m)), 1)
	positive := op.Mul(op.MatMul(classes, op.Transpose(classes, 1, 0)), g.Const(others, m, m))
	count := op.Maximum(op.Sum(positive, false, 1), g.Scalar(1))
	return op.Neg(op.Div(op.Sum(op.Mul(logp, positive), false, 1), count))
}

// SupCon is the mean of SupConRows times temperature / base.
func SupCon(z, classes *op.Node, temperature, base float64) *op.Node {
	return op.Scale(op.Mean(SupConRows(z, classes, temperature), false), temperature/base)
}

// MoCoLogits are the similarities over the temperature of queries q: [N, D] with their
// keys k: [N, D], first, and with a queue: [D, K] of unit columns: [N, 1+K] (He et al.,
// 2020). The right class is 0. Keys and queue carry no gradient.
func MoCoLogits(q, k, queue *op.Node, temperature float64) *op.Node {
	if q == nil || k == nil || queue == nil {
		return nil
	}
	uq, uk := op.L2Normalize(q, 1, normEps), op.StopGradient(op.L2Normalize(k, 1, normEps))
	positive := op.Sum(op.Mul(uq, uk), true, 1)
	return op.Scale(op.Concat(1, positive, op.MatMul(uq, op.StopGradient(queue))), 1/temperature)
}

// MoCoLoss is the mean of -log Softmax(logits) of class 0.
func MoCoLoss(logits *op.Node) *op.Node {
	return op.Neg(op.Mean(op.Slice(op.LogSoftmax(logits, 1), 1, 0, 1), false))
}

// Enqueue returns a queue: [D, K] in which the normalised keys: [N, D] replace the columns
// from at on.
func Enqueue(queue, keys *op.Node, at int) *op.Node {
	if queue == nil || keys == nil {
		return nil
	}
	n, size := keys.Dims[0], queue.Dims[1]
	if at < 0 || at+n > size {
		return queue.Graph().Fail("objective: Enqueue: %d keys do not fit at %d of %d", n, at, size)
	}
	parts := []*op.Node{op.Transpose(op.L2Normalize(keys, 1, normEps), 1, 0)}
	if at > 0 {
		parts = append([]*op.Node{op.Slice(queue, 1, 0, at)}, parts...)
	}
	if at+n < size {
		parts = append(parts, op.Slice(queue, 1, at+n, size))
	}
	return op.Concat(1, parts...)
}
