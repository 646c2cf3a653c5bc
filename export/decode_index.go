package export

import (
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/op"
)

// Operators that choose elements by indices.

var indexRules = map[string]rule{
	"Gather":          {least: 2, most: 2, attrs: attrs{"axis": attrInt}, types: allTypes, build: decodeGather, since: 1},
	"GatherElements":  {least: 2, most: 2, attrs: attrs{"axis": attrInt}, types: allTypes, build: decodeGatherElements},
	"GatherND":        {least: 2, most: 2, attrs: attrs{"batch_dims": attrInt}, types: allTypes, build: decodeGatherND},
	"ScatterElements": {least: 3, most: 3, attrs: attrs{"axis": attrInt, "reduction": attrText}, types: allTypes, build: decodeScatterElements},
	"Scatter":         {least: 3, most: 3, attrs: attrs{"axis": attrInt}, types: allTypes, build: decodeScatterElements},
	"ScatterND":       {least: 3, most: 3, attrs: attrs{"reduction": attrText}, types: allTypes, build: decodeScatterND},
	"OneHot":          {least: 3, most: 3, attrs: attrs{"axis": attrInt}, types: allTypes, of: 2, build: decodeOneHot},
	"Compress":        {least: 2, most: 2, attrs: attrs{"axis": attrInt}, types: allTypes, build: decodeCompress},
	"ReverseSequence": {least: 2, most: 2, attrs: attrs{"batch_axis": attrInt, "time_axis": attrInt}, types: allTypes, build: decodeReverseSequence},
	"Trilu":           {least: 1, most: 2, attrs: attrs{"upper": attrInt}, types: allTypes, build: decodeTrilu},
}

func bools(v []bool, sizes []int) *tensor.Dense {
	return tensor.New(tensor.WithShape(sizes...), tensor.WithBacking(v))
}

// counted is 0, 1, ..., n-1.
func counted(n int) *tensor.Dense {
	v := make([]int64, n)
	for i := range v {
		v[i] = int64(i)
	}
	return integers(v).dense
}

func decodeGather(c *call) value {
	if c.empty(1) {
		return c.fail("%w", &ZeroSize{[]int{0}})
	}
	x, idx := c.arg(0), c.arg(1)
	if x == nil || idx == nil {
		return value{}
	}
	axis := c.axis(x, 0, 0)
	if c.err == nil && axis == x.Batch {
		return c.fail("takes a part of the batch axis of %v: give the model's inputs shapes without a batch axis", x.Shape)
	}
	if c.err != nil {
		return value{}
	}
	return just(op.Gather(x, idx, axis))
}

func decodeGatherElements(c *call) value {
	x, idx := c.arg(0), c.arg(1)
	if x == nil || idx == nil {
		return value{}
	}
	axis := c.axis(x, 0, 0)
	if c.err != nil {
		return value{}
	}
	return just(op.GatherElements(x, idx, axis))
}

func decodeScatterElements(c *call) value {
	x, idx, v := c.arg(0), c.arg(1), c.arg(2)
	if x == nil || idx == nil || v == nil {
		return value{}
	}
	axis := c.axis(x, 0, 0)
	if c.err != nil {
		return value{}
	}
	return just(op.ScatterElements(x, idx, v, axis, c.text("reduction", "none")))
}

// linear turns rows of indices into x's axes from first on, [..., K], into numbers of
// those K axes taken as one: [...].
func (c *call) linear(x, idx *op.Node, first int) *op.Node {
	last := len(idx.Dims) - 1
	k := idx.Dims[last]
	if first+k > len(x.Dims) {
		c.fail("rows of %d indices for %v", k, x.Shape)
		return nil
	}
	var sum *op.Node
	step := 1
	for i := k - 1; i >= 0; i-- {
		size := x.Dims[first+i]
		at := c.remove(op.Slice(idx, last, i, i+1), last)
		at = op.Where(op.IsLess(at, c.scalar(at, 0)), op.Add(at, c.scalar(at, float64(size))), at)
		at = op.Mul(at, c.scalar(at, float64(step)))
		if sum == nil {
			sum = at
		} else {
			sum = op.Add(sum, at)
		}
		step *= size
	}
	return sum
}

// fixed fails where one of the nodes depends on the batch.
func (c *call) fixed(nodes ...*op.Node) bool {
	for _, n := range nodes {
		if n == nil {
			return false
		}
		if n.Batch >= 0 {
			c.fail("of %v, which has a batch axis, is not supported", n.Shape)
			return false
		}
	}
	return true
}

func decodeGatherND(c *call) value {
	x, idx := c.arg(0), c.arg(1)
	if !c.fixed(x, idx) {
		return value{}
	}
	b := c.sizeOf(c.integer("batch_dims", 0))
	if b >= len(idx.Dims) || b > len(x.Dims) || !slices.Equal(x.Dims[:b], idx.Dims[:b]) {
		return c.fail("batch_dims %d of %v and %v", b, x.Shape, idx.Shape)
	}
	at := c.linear(x, idx, b)
	if c.err != nil || at == nil {
		return value{}
	}
	k := idx.Dims[len(idx.Dims)-1]
	outer, inner := op.Dims(x.Dims[:b]...).Size(), op.Dims(x.Dims[b:b+k]...).Size()
	if !c.affords(outer) {
		return value{}
	}
	if b > 0 { // number of the row before the indices count
		along := append(slices.Clone(x.Dims[:b]), slices.Repeat([]int{1}, len(at.Dims)-b)...)
		row := op.Reshape(op.Cast(c.graph.ConstOf(counted(outer)), at.DType), op.Dims(along...))
		at = op.Add(at, op.Mul(row, c.scalar(at, float64(inner))))
	}
	rest := x.Dims[b+k:]
	rows := op.Reshape(x, op.Dims(append([]int{outer * inner}, rest...)...))
	return just(op.Gather(rows, at, 0))
}

func decodeScatterND(c *call) value {
	x, idx, v := c.arg(0), c.arg(1), c.arg(2)
	if !c.fixed(x, idx, v) {
		return value{}
	}
	at := c.linear(x, idx, 0)
	if c.err != nil || at == nil {
		return value{}
	}
	k := idx.Dims[len(idx.Dims)-1]
	inner, rest := op.Dims(x.Dims[:k]...).Size(), op.Dims(x.Dims[k:]...).Size()
	if v.Size() != at.Size()*rest {
		return c.fail("updates %v do not fit the indices %v", v.Shape, idx.Shape)
	}
	n := at.Size()
	at = op.Expand(op.Reshape(at, op.Dims(n, 1)), op.Dims(n, rest), nil)
	y := op.ScatterElements(op.Reshape(x, op.Dims(inner, rest)), at, op.Reshape(v, op.Dims(n, rest)), 0, c.text("reduction", "none"))
	return just(op.Reshape(y, x.Shape))
}

// decodeOneHot: indices may be of any number type and count from the end.
func decodeOneHot(c *call) value {
	idx, depth, values := c.arg(0), c.sizeOf(int64(c.number(1))), c.arg(2)
	if c.err != nil || idx == nil || values == nil {
		return value{}
	}
	if depth < 1 || len(values.Dims) != 1 || values.Dims[0] != 2 {
		return c.fail("depth %d and values %v, want a depth of 1 or more and two values", depth, values.Shape)
	}
	axis := c.axisOf(c.integer("axis", -1), len(idx.Dims)+1)
	if !c.affords(depth) {
		return value{}
	}
	idx = c.insert(op.Cast(idx, op.Int64), axis)
	size := c.scalar(idx, float64(depth))
	idx = op.Where(op.IsLess(idx, c.scalar(idx, 0)), op.Add(idx, size), idx)
	along := slices.Repeat([]int{1}, len(idx.Dims))
	along[axis] = depth
	hit := op.IsEqual(idx, op.Reshape(c.graph.ConstOf(counted(depth)), op.Dims(along...)))
	pick := func(i int) *op.Node { return op.Reshape(op.Slice(values, 0, i, i+1), op.Dims()) }
	return just(op.Where(hit, pick(1), pick(0)))
}

// decodeCompress takes the elements that a list known now marks.
func decodeCompress(c *call) value {
	x := c.arg(0)
	k, shadow := c.constantArg(1)
	if c.err != nil || x == nil {
		return value{}
	}
	if k.dtype != op.Bool || len(k.dims) != 1 || k.dense == nil || !k.same(shadow) {
		return c.fail("the condition %v%v is no list of bool", k.dtype, k.dims)
	}
	axis := 0
	if c.n.Attr("axis") != nil {
		axis = c.axis(x, 0, 0)
	} else {
		x = c.reshape(x, []int{x.Size()}, []int{op.Dims(c.shadowDims(x)...).Size()})
	}
	if c.err != nil || x == nil {
		return value{}
	}
	if axis == x.Batch {
		return c.fail("takes a part of the batch axis of %v", x.Shape)
	}
	var at []int64
	for i, chosen := range k.dense.Bools() {
		if chosen {
			at = append(at, int64(i))
		}
	}
	if len(at) == 0 {
		return c.fail("%w", &ZeroSize{emptied(x.Dims, axis)})
	}
	return just(op.Gather(x, c.graph.ConstOf(integers(at).dense), axis))
}

// decodeReverseSequence reverses the first elements of each row, as many as a list
// known now says.
func decodeReverseSequence(c *call) value {
	x, lengths := c.arg(0), c.ints(1)
	if c.err != nil || !c.fixed(x) {
		return value{}
	}
	batch, time := c.integer("batch_axis", 1), c.integer("time_axis", 0)
	if len(x.Dims) < 2 || batch+time != 1 || batch*time != 0 || len(lengths) != x.Dims[batch] {
		return c.fail("axes %d and %d of %v with %d lengths", batch, time, x.Shape, len(lengths))
	}
	n, rows := x.Dims[time], x.Dims[batch]
	if !c.affords(n * rows) {
		return value{}
	}
	at := make([]int64, n*rows)
	for r, length := range lengths {
		if length < 0 || length > int64(n) {
			return c.fail("a length of %d of %d", length, n)
		}
		for i := range n {
			k := int64(i)
			if k < length {
				k = length - 1 - k
			}
			if time == 0 {
				at[i*rows+r] = k
			} else {
				at[r*n+i] = k
			}
		}
	}
	sizes := slices.Repeat([]int{1}, len(x.Dims))
	sizes[0], sizes[1] = x.Dims[0], x.Dims[1]
	idx := op.Reshape(c.graph.ConstOf(integers(at).dense), op.Dims(sizes...))
	return just(op.GatherElements(x, op.Expand(idx, x.Shape, nil), int(time)))
}

func decodeTrilu(c *call) value {
	x := c.arg(0)
	if x == nil {
		return value{}
	}
	k := int64(0)
	if c.has(1) {
		k = int64(c.number(1))
	}
	rank := len(x.Dims)
	if rank < 2 || x.Batch >= rank-2 {
		return c.fail("want matrices, got %v", x.Shape)
	}
	h, w, upper := x.Dims[rank-2], x.Dims[rank-1], c.integer("upper", 1) != 0
	if !c.affords(h * w) {
		return value{}
	}
	keep := make([]bool, h*w)
	for i := range keep {
		d := int64(i%w - i/w)
		keep[i] = upper && d >= k || !upper && d <= k
	}
	return just(op.Where(c.graph.ConstOf(bools(keep, []int{h, w})), x, c.scalar(x, 0)))
}
