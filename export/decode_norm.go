package export

import (
	"slices"

	"github.com/sslrt/sslrt/models/op"
)

// Normalisation and what stands beside it.

var normRules = map[string]rule{
	"BatchNormalization": {least: 5, most: 5, attrs: attrs{"epsilon": attrFloat, "momentum": attrFloat, "spatial": attrInt, "training_mode": attrInt, "is_test": attrInt},
		types: floatOnly, build: decodeBatchNorm, heavy: true},
	"InstanceNormalization": {least: 3, most: 3, attrs: attrs{"epsilon": attrFloat}, types: floatOnly, build: decodeInstanceNorm, heavy: true},
	"GroupNormalization": {least: 3, most: 3, attrs: attrs{"epsilon": attrFloat, "num_groups": attrInt, "stash_type": attrInt}, types: floatOnly,
		build: decodeGroupNorm, heavy: true},
	"LayerNormalization": {least: 2, most: 3, attrs: attrs{"axis": attrInt, "epsilon": attrFloat, "stash_type": attrInt}, types: floatOnly,
		build: decodeLayerNorm, heavy: true},
	"LRN":                       {least: 1, most: 1, attrs: attrs{"alpha": attrFloat, "beta": attrFloat, "bias": attrFloat, "size": attrInt}, types: floatOnly, build: decodeLRN, since: 1},
	"LpNormalization":           {least: 1, most: 1, attrs: attrs{"axis": attrInt, "p": attrInt}, types: floatOnly, build: decodeLpNorm, since: 1},
	"MeanVarianceNormalization": {least: 1, most: 1, attrs: attrs{"axes": attrInts}, types: floatOnly, build: decodeMeanVariance},
	"Dropout":                   {least: 1, most: 3, attrs: attrs{"ratio": attrFloat, "is_test": attrInt, "seed": attrInt}, types: floatOnly, build: decodeDropout, heavy: true},
}

// decodeBatchNorm: with the batch's statistics the running ones are results too,
// with the population's variance. What Next says follows PyTorch: the unbiased one.
func decodeBatchNorm(c *call) value {
	c.only("spatial", 1)
	x, weight, bias, mean, variance, eps := c.arg(0), c.arg(1), c.arg(2), c.arg(3), c.arg(4), c.float("epsilon", 1e-5)
	if c.err != nil || x == nil {
		return value{}
	}
	training := c.integer("training_mode", 0) != 0
	if c.mode == Training || c.mode == Inference {
		training = c.mode == Training
	}
	if !training {
		return just(op.BatchNormEval(x, mean, variance, weight, bias, eps))
	}
	if len(x.Dims) < 2 || x.Size()/x.Dims[1] < 2 {
		return c.fail("in training needs more than one value per channel, got %v", x.Shape)
	}
	y, batchMean, batchVariance := op.BatchNormTrain(x, weight, bias, eps)
	momentum := c.float("momentum", 0.9)
	follow := func(running, batch *op.Node, scale float64) *op.Node {
		return op.Add(op.Scale(running, momentum), op.Scale(batch, (1-momentum)*scale))
	}
	n := float64(x.Size() / x.Dims[1])
	for i, next := range []*op.Node{follow(mean, batchMean, 1), follow(variance, batchVariance, n/(n-1))} {
		if v := c.values[c.n.Inputs[3+i]]; v.param != nil {
			c.next[v.param.Name] = next
		}
	}
	c.more = []value{just(follow(mean, batchMean, 1)), just(follow(variance, batchVariance, 1))}
	return just(y)
}

func decodeInstanceNorm(c *call) value {
	x, weight, bias := c.arg(0), c.arg(1), c.arg(2)
	if x == nil {
		return value{}
	}
	if len(x.Dims) < 3 {
		return c.fail("want x: [N, C, ...], got %v", x.Shape)
	}
	if !c.perChannel(x, weight, bias) {
		return value{}
	}
	return just(op.GroupNorm(x, weight, bias, x.Dims[1], c.float("epsilon", 1e-5)))
}

// perChannel checks that lists have one number for each channel of x.
func (c *call) perChannel(x *op.Node, lists ...*op.Node) bool {
	for _, l := range lists {
		if l == nil {
			return false
		}
		if !slices.Equal(l.Dims, x.Dims[1:2]) {
			c.fail("%v does not fit the channels of %v", l.Shape, x.Shape)
			return false
		}
	}
	return true
}

// decodeGroupNorm: weight and bias have a number for each group before opset 21.
func decodeGroupNorm(c *call) value {
	x, weight, bias := c.arg(0), c.arg(1), c.arg(2)
	if x == nil || weight == nil || bias == nil {
		return value{}
	}
	groups := c.sizeOf(c.integer("num_groups", 0))
	if c.err == nil && (len(x.Dims) < 3 || groups < 1 || x.Dims[1]%groups != 0) {
		c.fail("%d groups of the channels of %v", groups, x.Shape)
	}
	if c.err != nil {
		return value{}
	}
	if c.opset < 21 {
		channels := x.Dims[1]
		spread := func(v *op.Node) *op.Node {
			if !slices.Equal(v.Dims, []int{groups}) {
				c.fail("%v does not fit %d groups", v.Shape, groups)
				return nil
			}
			return op.Reshape(op.Expand(op.Reshape(v, op.Dims(groups, 1)), op.Dims(groups, channels/groups), nil), op.Dims(channels))
		}
		weight, bias = spread(weight), spread(bias)
	}
	if c.err != nil || !c.perChannel(x, weight, bias) {
		return value{}
	}
	return just(op.GroupNorm(x, weight, bias, groups, c.float("epsilon", 1e-5)))
}

func decodeLayerNorm(c *call) value {
	x, weight, bias, eps := c.arg(0), c.arg(1), c.arg(2), c.float("epsilon", 1e-5)
	if x == nil || weight == nil {
		return value{}
	}
	axis := c.axis(x, -1, 0)
	if c.err != nil {
		return value{}
	}
	if x.Batch >= axis {
		return c.fail("normalises over the batch axis of %v", x.Shape)
	}
	last := op.Dims(x.Dims[axis:]...)
	if bias == nil {
		bias = c.graph.Scalar(0)
	}
	y := op.LayerNorm(x, op.Expand(weight, last, nil), op.Expand(bias, last, nil), eps)
	for i, name := range c.n.Outputs {
		if i == 0 || !c.used[name] {
			continue
		}
		var axes []int
		for a := axis; a < len(x.Dims); a++ {
			axes = append(axes, a)
		}
		mean := op.Mean(x, true, axes...)
		d := op.Sub(x, mean)
		deviation := op.Sqrt(op.AddScalar(op.Mean(op.Mul(d, d), true, axes...), eps))
		c.more = []value{just(mean), just(op.Div(c.graph.Scalar(1), deviation))}
	}
	return just(y)
}

// decodeLRN divides by a power of the mean square of neighbouring channels.
func decodeLRN(c *call) value {
	x := c.arg(0)
	size := c.sizeOf(c.integer("size", 0))
	if x == nil || c.err != nil {
		return value{}
	}
	if size < 1 || size > 1<<10 || len(x.Dims) < 3 {
		return c.fail("size %d for %v", size, x.Shape)
	}
	channels := x.Dims[1]
	square := op.Pad(op.Mul(x, x), 1, (size-1)/2, size/2)
	var sum *op.Node
	for i := range size {
		part := op.Slice(square, 1, i, i+channels)
		if sum == nil {
			sum = part
		} else {
			sum = op.Add(sum, part)
		}
	}
	base := op.AddScalar(op.Scale(sum, c.float("alpha", 0.0001)/float64(size)), c.float("bias", 1))
	return just(op.Mul(x, op.Pow(base, c.graph.Scalar(-c.float("beta", 0.75)))))
}

func decodeLpNorm(c *call) value {
	x, p := c.arg(0), c.integer("p", 2)
	if x == nil {
		return value{}
	}
	axis := c.axis(x, -1, 0)
	if c.err == nil && p != 1 && p != 2 {
		c.fail("p %d: want 1 or 2", p)
	}
	if c.err != nil {
		return value{}
	}
	if p == 2 {
		return just(op.L2Normalize(x, axis, 1e-12))
	}
	return just(op.Div(x, op.Sum(op.Abs(x), true, axis)))
}

func decodeMeanVariance(c *call) value {
	x := c.arg(0)
	list, ok := c.list("axes", -1)
	if x == nil {
		return value{}
	}
	if !ok {
		list = []int64{0, 2, 3}
	}
	axes := c.axesOf(list, len(x.Dims))
	if c.err != nil {
		return value{}
	}
	d := op.Sub(x, op.Mean(x, true, axes...))
	return just(op.Div(d, op.AddScalar(op.Sqrt(op.Mean(op.Mul(d, d), true, axes...)), 1e-9)))
}

// decodeDropout: ratio and training_mode are inputs since opset 12. In training the
// mask is drawn once, while decoding, as ONNX's reference implementation draws it.
func decodeDropout(c *call) value {
	x := c.arg(0)
	ratio := c.float("ratio", 0.5)
	if c.has(1) {
		ratio = c.number(1)
	}
	training := c.has(2) && c.mode == AsWritten && c.number(2) != 0
	if c.err != nil || x == nil {
		return value{}
	}
	if !(ratio >= 0 && ratio < 1) {
		return c.fail("ratio %g: want 0 or more and less than 1", ratio)
	}
	mask := func(all []bool, sizes []int) *op.Node { return c.graph.ConstOf(bools(all, sizes)) }
	if !training || ratio == 0 {
		if len(c.n.Outputs) > 1 && c.used[c.n.Outputs[1]] {
			c.more = []value{just(c.expand(mask([]bool{true}, []int{1}), int64s(x.Dims), int64s(c.shadowDims(x))))}
		}
		return just(x)
	}
	if !c.fixed(x) {
		return value{}
	}
	if !c.affords(x.Size()) {
		return value{}
	}
	random := newMersenne(uint32(c.integer("seed", 0)))
	kept := make([]bool, x.Size())
	for i := range kept {
		kept[i] = random.float64() >= ratio
	}
	m := mask(kept, x.Dims)
	c.more = []value{just(m)}
	return just(op.Where(m, op.Scale(x, 1/(1-ratio)), c.scalar(x, 0)))
}

func int64s(v []int) []int64 { return convert(v, func(x int) int64 { return int64(x) }) }
