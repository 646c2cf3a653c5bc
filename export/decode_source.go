package export

import (
	"math"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// Operators whose result is known when the model is decoded.

var sourceRules = map[string]rule{
	"Constant": {least: 0, most: 0, attrs: attrs{"value": attrTensor, "value_float": attrFloat, "value_floats": onnx.AttrFloats,
		"value_int": attrInt, "value_ints": attrInts}, types: allTypes, build: decodeConstant, since: 1},
	"ConstantOfShape": {least: 1, most: 1, attrs: attrs{"value": attrTensor}, types: "l", build: decodeConstantOfShape},
	"EyeLike":         {least: 1, most: 1, attrs: attrs{"dtype": attrInt, "k": attrInt}, types: allTypes, build: decodeEyeLike},
	"Range":           {least: 3, most: 3, types: numbers, build: decodeRange},
	"Shape":           {least: 1, most: 1, attrs: attrs{"start": attrInt, "end": attrInt}, types: allTypes, build: decodeShape, since: 1, heavy: true},
	"Size":            {least: 1, most: 1, types: allTypes, build: decodeSize, since: 1, heavy: true},
	"NonZero":         {least: 1, most: 1, types: allTypes, build: decodeNonZero},
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
	k, err := c.constant(t)
	if err != nil {
		return c.fail("%w", err)
	}
	return value{constant: k}
}

func decodeConstantOfShape(c *call) value {
	sizes := c.ints(0)
	k := &constant{dense: tensor.New(tensor.FromScalar(float32(0)))}
	if a := c.n.Attr("value"); a != nil {
		var err error
		if k, err = c.constant(a.T); err != nil {
			return c.fail("%w", err)
		}
	}
	if c.err != nil {
		return value{}
	}
	if k.dense == nil || k.dense.Shape().TotalSize() != 1 {
		return c.fail("value has the shape %v, want one element", k.dims)
	}
	dims := make([]int, len(sizes))
	for i, n := range sizes {
		dims[i] = c.sizeOf(n)
	}
	for _, n := range dims {
		if n == 0 {
			return value{constant: &constant{dtype: k.dtype, dims: dims}}
		}
	}
	one := op.Reshape(c.graph.ConstOf(k.dense), op.Dims())
	if len(dims) == 0 {
		return just(one)
	}
	return just(op.Expand(one, op.Dims(dims...), nil))
}

func decodeEyeLike(c *call) value {
	like := c.arg(0)
	if !c.fixed(like) {
		return value{}
	}
	to := like.DType
	if a := c.n.Attr("dtype"); a != nil {
		var err error
		if to, err = c.dtype(onnx.DataType(a.I)); err != nil {
			return c.fail("%w", err)
		}
	}
	if len(like.Dims) != 2 {
		return c.fail("want a matrix, got %v", like.Shape)
	}
	h, w, k := like.Dims[0], like.Dims[1], c.integer("k", 0)
	if !c.affords(h * w) {
		return value{}
	}
	v := make([]bool, h*w)
	for i := range v {
		v[i] = int64(i%w-i/w) == k
	}
	return just(op.Cast(c.graph.ConstOf(bools(v, []int{h, w})), to))
}

func decodeRange(c *call) value {
	first := c.arg(0)
	from, to, step := c.number(0), c.number(1), c.number(2)
	if c.err != nil || first == nil {
		return value{}
	}
	n := math.Ceil((to - from) / step)
	switch {
	case step == 0 || math.IsNaN(n) || n > float64(foldBudget):
		return c.fail("from %g to %g by %g", from, to, step)
	case n <= 0:
		return value{constant: &constant{dtype: first.DType, dims: []int{0}}}
	}
	if !c.affords(int(n)) {
		return value{}
	}
	v := make([]float32, int(n))
	whole := make([]int64, len(v))
	for i := range v {
		at := from + float64(i)*step
		v[i], whole[i] = float32(at), int64(at)
	}
	if first.DType == op.Float32 {
		return value{constant: fill(&constant{dims: []int{len(v)}}, v)}
	}
	return just(op.Cast(c.graph.ConstOf(integers(whole).dense), first.DType))
}

// dims returns the sizes of input 0, whatever it is, and those with one image more.
func (c *call) dims() (is, shadow []int) {
	v := c.values[c.n.Inputs[0]]
	switch {
	case v.node != nil:
		return v.node.Dims, c.shadowDims(v.node)
	case v.param != nil:
		k := make([]int, len(v.param.Dims))
		for i, n := range v.param.Dims {
			k[i] = int(n)
		}
		return k, k
	case v.shadow != nil:
		return v.constant.dims, v.shadow.dims
	}
	return v.constant.dims, v.constant.dims
}

// opened is a constant and its shadow, if that differs.
func opened(is, shadow *constant) value {
	if is.same(shadow) {
		return value{constant: is}
	}
	return value{constant: is, shadow: shadow}
}

func decodeShape(c *call) value {
	is, shadow := c.dims()
	rank := int64(len(is))
	from, to := c.integer("start", 0), c.integer("end", rank)
	if from < 0 {
		from += rank
	}
	if to < 0 {
		to += rank
	}
	from, to = min(max(from, 0), rank), min(max(to, 0), rank)
	list := func(dims []int) *constant {
		var v []int64
		for i := from; i < to; i++ {
			v = append(v, int64(dims[i]))
		}
		return integers(v)
	}
	return opened(list(is), list(shadow))
}

func decodeSize(c *call) value {
	is, shadow := c.dims()
	count := func(dims []int) *constant {
		return fill(&constant{dtype: op.Int64}, []int64{int64(op.Dims(dims...).Size())})
	}
	return opened(count(is), count(shadow))
}

// decodeNonZero lists the places of elements that are not 0 of a value known now.
func decodeNonZero(c *call) value {
	k, shadow := c.constantArg(0)
	if c.err != nil {
		return value{}
	}
	if k.dense == nil || !k.same(shadow) {
		return c.fail("input %q %w", c.n.Inputs[0], errBatch)
	}
	v, err := op.Cast(c.graph.ConstOf(k.dense), op.Bool), error(nil)
	marks, err := c.runHere(v)
	if err != nil {
		return c.fail("%w", err)
	}
	rank := max(len(k.dims), 1)
	places := make([][]int64, rank)
	for i, set := range marks.Bools() {
		if !set {
			continue
		}
		for a := len(k.dims) - 1; a >= 0; a-- {
			places[a] = append(places[a], int64(i%k.dims[a]))
			i /= k.dims[a]
		}
	}
	var all []int64
	for _, p := range places {
		all = append(all, p...)
	}
	dims := []int{rank, len(all) / rank}
	return value{constant: fill(&constant{dtype: op.Int64, dims: dims}, all)}
}

// runHere computes a node that depends on constants only.
func (c *call) runHere(n *op.Node) (*tensor.Dense, error) {
	if n == nil {
		return nil, c.graph.Err()
	}
	return c.run(n)
}
