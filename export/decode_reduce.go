package export

import (
	"slices"

	"github.com/sslrt/sslrt/models/op"
)

// Reductions along axes.

func reduceRule(f func(x *op.Node, axes []int) *op.Node) rule {
	return rule{least: 1, most: 2, attrs: attrs{"axes": attrInts, "keepdims": attrInt, "noop_with_empty_axes": attrInt}, types: floatOnly,
		build: func(c *call) value { return just(c.reduce(f)) }}
}

var reductionRules = map[string]rule{
	"ReduceSum":  reduceRule(sumOver),
	"ReduceMean": reduceRule(func(x *op.Node, axes []int) *op.Node { return op.Mean(x, true, axes...) }),
	"ReduceMax":  reduceRule(maxOver),
	"ReduceMin":  reduceRule(func(x *op.Node, axes []int) *op.Node { return op.Neg(maxOver(op.Neg(x), axes)) }),
	"ReduceProd": reduceRule(productOver),
	"ReduceL1":   reduceRule(func(x *op.Node, axes []int) *op.Node { return sumOver(op.Abs(x), axes) }),
	"ReduceL2":   reduceRule(func(x *op.Node, axes []int) *op.Node { return root(sumOver(op.Mul(x, x), axes)) }),
	"ReduceLogSum": reduceRule(func(x *op.Node, axes []int) *op.Node {
		return op.Log(sumOver(x, axes))
	}),
	"ReduceLogSumExp": reduceRule(func(x *op.Node, axes []int) *op.Node {
		largest := op.StopGradient(maxOver(x, axes))
		return op.Add(op.Log(sumOver(op.Exp(op.Sub(x, largest)), axes)), largest)
	}),
	"ReduceSumSquare": reduceRule(func(x *op.Node, axes []int) *op.Node { return sumOver(op.Mul(x, x), axes) }),

	"ArgMax": argRule(op.ArgMax),
	"ArgMin": argRule(op.ArgMin),

	"Softmax":    softmaxRule(op.Softmax),
	"LogSoftmax": softmaxRule(op.LogSoftmax),
	"Hardmax": softmaxRule(func(x *op.Node, axis int) *op.Node {
		if x == nil {
			return nil
		}
		shape := slices.Repeat([]int{1}, len(x.Dims))
		shape[axis] = x.Dims[axis]
		places := op.Reshape(x.Graph().ConstOf(counted(x.Dims[axis])), op.Dims(shape...))
		return op.Cast(op.IsEqual(places, op.ArgMax(x, axis, false)), op.Float32)
	}),
	"CumSum": {least: 2, most: 2, attrs: attrs{"exclusive": attrInt, "reverse": attrInt}, types: floatOnly, build: func(c *call) value {
		return just(op.CumSum(c.arg(0), int(c.number(1)), c.integer("exclusive", 0) != 0, c.integer("reverse", 0) != 0))
	}},
	"TopK": {least: 1, most: 2, attrs: attrs{"k": attrInt, "axis": attrInt, "largest": attrInt, "sorted": attrInt}, types: floatOnly, build: decodeTopK},
}

func sumOver(x *op.Node, axes []int) *op.Node { return op.Sum(x, true, axes...) }

func maxOver(x *op.Node, axes []int) *op.Node { return op.Max(x, true, axes...) }

// root is the square root, with the gradient 0 at 0 as PyTorch's norms have it.
func root(x *op.Node) *op.Node {
	if x == nil {
		return nil
	}
	return op.Sqrt(op.Maximum(x, x.Graph().Scalar(1e-38)))
}

// productOver multiplies halves until one is left.
func productOver(x *op.Node, axes []int) *op.Node {
	for _, a := range axes {
		for x != nil && x.Dims[a] > 1 {
			n := x.Dims[a]
			y := op.Mul(op.Slice(x, a, 0, n/2), op.Slice(x, a, n/2, n/2*2))
			if n%2 == 1 {
				y = op.Concat(a, y, op.Slice(x, a, n-1, n))
			}
			x = y
		}
	}
	return x
}

// reduce calls f, which keeps the axes it reduces.
func (c *call) reduce(f func(x *op.Node, axes []int) *op.Node) *op.Node {
	x := c.arg(0)
	if x == nil {
		return nil
	}
	list, _ := c.list("axes", 1)
	if len(list) == 0 && c.integer("noop_with_empty_axes", 0) != 0 {
		return x
	}
	axes := c.axesOf(list, len(x.Dims))
	if len(list) == 0 {
		for i := range x.Dims {
			axes = append(axes, i)
		}
	}
	if c.err != nil {
		return nil
	}
	if len(axes) == 0 {
		return f(op.Reshape(x, op.Dims(1)), []int{0})
	}
	y := f(x, axes)
	if c.integer("keepdims", 1) == 0 {
		y = c.remove(y, axes...)
	}
	return y
}

func argRule(f func(x *op.Node, axis int, last bool) *op.Node) rule {
	return rule{least: 1, most: 1, attrs: attrs{"axis": attrInt, "keepdims": attrInt, "select_last_index": attrInt}, types: floatOnly,
		build: func(c *call) value {
			x := c.arg(0)
			if x == nil {
				return value{}
			}
			axis := c.axis(x, 0, 0)
			if c.err != nil {
				return value{}
			}
			y := f(x, axis, c.integer("select_last_index", 0) != 0)
			if c.integer("keepdims", 1) == 0 {
				y = c.remove(y, axis)
			}
			return just(y)
		}}
}

// softmaxRule is for what works along one axis. Before opset 13 it took all axes
// from that one on together.
func softmaxRule(f func(x *op.Node, axis int) *op.Node) rule {
	return rule{least: 1, most: 1, attrs: attrs{"axis": attrInt}, types: floatOnly, build: func(c *call) value {
		x := c.arg(0)
		if x == nil || c.n.OpType == "Hardmax" && !c.affords(x.Size()) {
			return value{}
		}
		otherwise := int64(-1)
		if c.opset < 13 {
			otherwise = 1
		}
		axis := c.axis(x, otherwise, 0)
		if c.err != nil {
			return value{}
		}
		if c.opset >= 13 || axis == len(x.Dims)-1 {
			return just(f(x, axis))
		}
		rows := c.flattened(x, axis)
		return just(c.reshape(f(rows, 1), x.Dims, c.shadowDims(x)))
	}}
}

// flattened makes x a matrix: the axes before axis and those from it on.
func (c *call) flattened(x *op.Node, axis int) *op.Node {
	to := func(dims []int) []int {
		return []int{op.Dims(dims[:axis]...).Size(), op.Dims(dims[axis:]...).Size()}
	}
	return c.reshape(x, to(x.Dims), to(c.shadowDims(x)))
}

func decodeTopK(c *call) value {
	x := c.arg(0)
	if x == nil {
		return value{}
	}
	axis, k := c.axis(x, -1, 0), c.integer("k", 0)
	if c.has(1) {
		k = int64(c.number(1))
	}
	if n := c.sizeOf(k); c.err == nil {
		values, indices := op.TopK(x, n, axis, c.integer("largest", 1) != 0)
		c.more = []value{just(indices)}
		return just(values)
	}
	return value{}
}
