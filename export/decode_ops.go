package export

import (
	"math"
	"slices"

	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// rule says how an operator of ONNX is made of operations.
type rule struct {
	least, most int // number of inputs
	attrs       attrs
	build       func(c *call) value
}

type attrs map[string]onnx.AttrType

var (
	windowAttrs = attrs{"auto_pad": onnx.AttrString, "kernel_shape": onnx.AttrInts, "pads": onnx.AttrInts,
		"strides": onnx.AttrInts, "dilations": onnx.AttrInts}
	axisAttr = attrs{"axis": onnx.AttrInt}
)

// rules holds the operators of ONNX's own domain that can be decoded.
var rules = map[string]rule{
	"Add":                {2, 2, nil, binary(op.Add)},
	"BatchNormalization": {5, 5, attrs{"epsilon": onnx.AttrFloat, "momentum": onnx.AttrFloat, "spatial": onnx.AttrInt, "training_mode": onnx.AttrInt}, decodeBatchNorm},
	"Concat":             {1, math.MaxInt, axisAttr, decodeConcat},
	"Constant": {0, 0, attrs{"value": onnx.AttrTensor, "value_float": onnx.AttrFloat, "value_floats": onnx.AttrFloats,
		"value_int": onnx.AttrInt, "value_ints": onnx.AttrInts}, decodeConstant},
	"Conv":              {2, 3, with(windowAttrs, attrs{"group": onnx.AttrInt}), decodeConv},
	"Div":               {2, 2, nil, binary(op.Div)},
	"Flatten":           {1, 1, axisAttr, decodeFlatten},
	"Gemm":              {2, 3, attrs{"alpha": onnx.AttrFloat, "beta": onnx.AttrFloat, "transA": onnx.AttrInt, "transB": onnx.AttrInt}, decodeGemm},
	"GlobalAveragePool": {1, 1, nil, decodeGlobalAveragePool},
	"Identity":          {1, 1, nil, func(c *call) value { return c.values[c.n.Inputs[0]] }},
	"LogSoftmax":        {1, 1, axisAttr, softmax(op.LogSoftmax)},
	"MatMul":            {2, 2, nil, binary(op.MatMul)},
	"MaxPool":           {1, 1, with(windowAttrs, attrs{"ceil_mode": onnx.AttrInt, "storage_order": onnx.AttrInt}), decodeMaxPool},
	"Mul":               {2, 2, nil, binary(op.Mul)},
	"Relu":              {1, 1, nil, unary(op.ReLU)},
	"Reshape":           {2, 2, attrs{"allowzero": onnx.AttrInt}, decodeReshape},
	"Sigmoid":           {1, 1, nil, unary(op.Sigmoid)},
	"Softmax":           {1, 1, axisAttr, softmax(op.Softmax)},
	"Sub":               {2, 2, nil, binary(op.Sub)},
	"Transpose":         {1, 1, attrs{"perm": onnx.AttrInts}, decodeTranspose},
}

func with(a, b attrs) attrs {
	all := attrs{}
	for _, m := range []attrs{a, b} {
		for name, t := range m {
			all[name] = t
		}
	}
	return all
}

func ruleOf(n *onnx.Node) (rule, bool) {
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return rule{}, false
	}
	r, ok := rules[n.OpType]
	return r, ok
}

func unary(f func(x *op.Node) *op.Node) func(*call) value {
	return func(c *call) value { return value{node: f(c.arg(0))} }
}

func binary(f func(a, b *op.Node) *op.Node) func(*call) value {
	return func(c *call) value { return value{node: f(c.arg(0), c.arg(1))} }
}

func decodeConv(c *call) value {
	x, w, bias, win := c.arg(0), c.arg(1), c.arg(2), c.window()
	group := c.integer("group", 1)
	if group < 1 || group > math.MaxInt32 {
		c.fail("group %d: want 1 or more", group)
	}
	if c.err != nil {
		return value{}
	}
	if c.n.Attr("kernel_shape") != nil && (len(w.Dims) != 4 || !slices.Equal(w.Dims[2:], win.kernel[:])) {
		return c.fail("kernel_shape %v does not fit the weight %v", win.kernel, w.Shape)
	}
	if bias != nil && !slices.Equal(bias.Dims, w.Dims[:min(1, len(w.Dims))]) {
		return c.fail("the bias %v does not fit the weight %v", bias.Shape, w.Shape)
	}
	return value{node: op.Conv2D(x, w, bias, op.Conv{Stride: win.stride, Pad: win.pad, Dilation: win.dilation, Groups: int(group)})}
}

func decodeMaxPool(c *call) value {
	x, win := c.arg(0), c.window()
	c.only("storage_order", 0)
	if win.dilation != [2]int{1, 1} {
		c.fail("dilations %v are not supported", win.dilation)
	}
	if c.err != nil {
		return value{}
	}
	return value{node: op.MaxPool2D(x, op.Pool{Kernel: win.kernel, Stride: win.stride, Pad: win.pad, Ceil: c.integer("ceil_mode", 0) != 0})}
}

func decodeGlobalAveragePool(c *call) value {
	x := c.arg(0)
	if c.err != nil {
		return value{}
	}
	if len(x.Dims) < 3 {
		return c.fail("want x: [N, C, ...], got %v", x.Shape)
	}
	var axes []int
	for i := 2; i < len(x.Dims); i++ {
		axes = append(axes, i)
	}
	return value{node: op.Mean(x, true, axes...)}
}

func decodeBatchNorm(c *call) value {
	c.only("training_mode", 0)
	c.only("spatial", 1)
	x, weight, bias, mean, variance := c.arg(0), c.arg(1), c.arg(2), c.arg(3), c.arg(4)
	return value{node: op.BatchNormEval(x, mean, variance, weight, bias, c.float("epsilon", 1e-5))}
}

func decodeGemm(c *call) value {
	a, b, bias := c.arg(0), c.arg(1), c.arg(2)
	y := op.Gemm(a, b, c.integer("transA", 0) != 0, c.integer("transB", 0) != 0)
	if alpha := c.float("alpha", 1); alpha != 1 && y != nil {
		y = op.Scale(y, alpha)
	}
	if bias == nil || y == nil {
		return value{node: y}
	}
	if beta := c.float("beta", 1); beta != 1 {
		bias = op.Scale(bias, beta)
	}
	sum := op.Add(y, bias)
	if sum != nil && !slices.Equal(sum.Dims, y.Dims) {
		return c.fail("the bias %v does not fit the product %v", c.arg(2).Shape, y.Shape)
	}
	return value{node: sum}
}

func decodeConcat(c *call) value {
	if c.n.Attr("axis") == nil {
		return c.fail("attribute axis is missing")
	}
	in := make([]*op.Node, len(c.n.Inputs))
	for i := range in {
		if in[i] = c.arg(i); in[i] == nil {
			return c.fail("input %d is left out", i)
		}
	}
	axis := c.axis(in[0], 0, 0)
	if c.err != nil {
		return value{}
	}
	for _, x := range in {
		if x.Batch == axis {
			return c.fail("joins along the batch axis, which is not supported")
		}
	}
	return value{node: op.Concat(axis, in...)}
}

// softmax makes Softmax or LogSoftmax. Before opset 13 they took all axes from
// axis on together.
func softmax(f func(x *op.Node, axis int) *op.Node) func(*call) value {
	return func(c *call) value {
		x := c.arg(0)
		if c.err != nil {
			return value{}
		}
		otherwise := int64(-1)
		if c.opset < 13 {
			otherwise = 1
		}
		axis := c.axis(x, otherwise, 0)
		if c.opset < 13 && c.err == nil && axis != len(x.Dims)-1 {
			return c.fail("opset %d with axis %d of %v is not supported: want the last axis", c.opset, axis, x.Shape)
		}
		if c.err != nil {
			return value{}
		}
		return value{node: f(x, axis)}
	}
}

func decodeTranspose(c *call) value {
	x := c.arg(0)
	if c.err != nil {
		return value{}
	}
	perm := make([]int, len(x.Dims))
	for i := range perm {
		perm[i] = len(perm) - 1 - i
	}
	if a := c.n.Attr("perm"); a != nil {
		if len(a.Ints) != len(perm) {
			return c.fail("perm %v does not permute the axes of %v", a.Ints, x.Shape)
		}
		for i, p := range a.Ints {
			perm[i] = int(p)
		}
	}
	return value{node: op.Transpose(x, perm...)}
}

func decodeConstant(c *call) value {
	if len(c.n.Attrs) != 1 {
		return c.fail("has %d attributes, want one value", len(c.n.Attrs))
	}
	t := c.n.Attrs[0].T
	switch a := c.n.Attrs[0]; a.Name {
	case "value_float":
		t = onnx.FloatTensor("", nil, []float32{a.F})
	case "value_floats":
		t = onnx.FloatTensor("", []int64{int64(len(a.Floats))}, a.Floats)
	case "value_int":
		t = onnx.Int64Tensor("", nil, []int64{a.I})
	case "value_ints":
		t = onnx.Int64Tensor("", []int64{int64(len(a.Ints))}, a.Ints)
	}
	return value{constant: t}
}

func decodeFlatten(c *call) value {
	x := c.arg(0)
	if c.err != nil {
		return value{}
	}
	axis := c.axis(x, 1, 1)
	if c.err != nil {
		return value{}
	}
	sizes := []int{op.Dims(x.Dims[:axis]...).Size(), op.Dims(x.Dims[axis:]...).Size()}
	return c.reshape(x, sizes, []bool{x.Batch < axis, x.Batch >= axis})
}

func decodeReshape(c *call) value {
	x := c.arg(0)
	to, err := c.constantInts(1)
	if err != nil {
		c.fail("the shape: %w", err)
	}
	if c.err != nil {
		return value{}
	}
	keepZero := c.integer("allowzero", 0) != 0
	sizes, open := make([]int, len(to)), make([]bool, len(to))
	product, inferred := 1, -1
	for i, n := range to {
		switch {
		case n == -1 && inferred < 0:
			inferred = i
			continue
		case n == 0 && !keepZero && i < len(x.Dims):
			sizes[i], open[i] = x.Dims[i], i == x.Batch
		case n > 0 && n <= math.MaxInt32:
			sizes[i] = int(n)
		default:
			return c.fail("%v does not reshape to %v", x.Shape, to)
		}
		if sizes[i] > maxElements/product {
			return c.fail("%v does not reshape to %v", x.Shape, to)
		}
		product *= sizes[i]
	}
	if inferred >= 0 {
		if x.Size()%product != 0 {
			return c.fail("%v does not reshape to %v", x.Shape, to)
		}
		sizes[inferred], open[inferred] = x.Size()/product, true
	}
	return c.reshape(x, sizes, open)
}
