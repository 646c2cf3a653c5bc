package export

import (
	"fmt"
	"math"
	"slices"

	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// call is one node of the file while it is turned into operations.
type call struct {
	*decoder
	n    *onnx.Node
	more []value // results after the first
	err  error   // the first
}

// build turns the node into operations. Values of wrong calls are nil, as the graph
// remembers them.
func (c *call) build(r rule) (results []value, err error) {
	first := r.build(c)
	if c.err == nil {
		c.err = c.graph.Err()
	}
	if c.err != nil {
		return nil, c.err
	}
	results = append([]value{first}, c.more...)
	for _, v := range results {
		if v.node != nil {
			if err := sizeFits(v.node.Shape); err != nil {
				return nil, err
			}
		}
	}
	return results, nil
}

func (c *call) fail(format string, args ...any) value {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
	return value{}
}

// has tells whether input i is there.
func (c *call) has(i int) bool { return i < len(c.n.Inputs) && c.n.Inputs[i] != "" }

// arg returns input i as data: nil when it is left out, or wrong, which c.err
// tells.
func (c *call) arg(i int) *op.Node {
	if !c.has(i) {
		return nil
	}
	n, err := c.data(c.n.Inputs[i])
	if err != nil {
		c.fail("input %w", err)
	}
	return n
}

// args returns all inputs.
func (c *call) args() []*op.Node {
	in := make([]*op.Node, len(c.n.Inputs))
	for i := range in {
		if in[i] = c.arg(i); in[i] == nil {
			c.fail("input %d is left out", i)
		}
	}
	return in
}

// constantArg returns input i, which must be known now, and its shadow: itself where
// it does not depend on the batch.
func (c *call) constantArg(i int) (is, shadow *constant) {
	if !c.has(i) {
		c.fail("input %d is left out", i)
		return nil, nil
	}
	name := c.n.Inputs[i]
	v := c.values[name]
	if v.param != nil {
		k, err := c.constant(v.param)
		if err != nil {
			c.fail("input %q: %w", name, err)
			return nil, nil
		}
		return k, k
	}
	if v.constant == nil {
		unbound := &Unbound{}
		for _, n := range op.Reachable(v.node) {
			if n.Kind == op.Input {
				unbound.Inputs = append(unbound.Inputs, n.Name)
			}
		}
		c.fail("input %q %w", name, unbound)
		return nil, nil
	}
	if v.shadow != nil {
		return v.constant, v.shadow
	}
	return v.constant, v.constant
}

// ints returns the numbers of an input that must be known before the model runs.
func (c *call) ints(i int) []int64 {
	v, shadow := c.intsPair(i)
	if c.err == nil && !slices.Equal(v, shadow) {
		c.fail("input %q %w", c.n.Inputs[i], errBatch)
	}
	return v
}

// intsPair returns them and what they would be with one image more in the batch.
func (c *call) intsPair(i int) (is, shadow []int64) {
	a, b := c.constantArg(i)
	if c.err != nil {
		return nil, nil
	}
	is, err := a.ints()
	if err == nil && len(a.dims) > 1 {
		err = fmt.Errorf("has the shape %v, want a list", a.dims)
	}
	if err != nil {
		c.fail("input %q %w", c.n.Inputs[i], err)
		return nil, nil
	}
	shadow, _ = b.ints()
	return is, shadow
}

// number returns an input of one element that must be known before the model runs.
func (c *call) number(i int) float64 {
	k, shadow := c.constantArg(i)
	switch {
	case c.err != nil:
	case k.dense == nil || k.dense.Shape().TotalSize() != 1:
		c.fail("input %q has the shape %v, want one number", c.n.Inputs[i], k.dims)
	case !k.same(shadow):
		c.fail("input %q %w", c.n.Inputs[i], errBatch)
	case k.dtype == op.Float32:
		return float64(k.dense.Float32s()[0])
	case k.dtype == op.Bool:
		if k.dense.Bools()[0] {
			return 1
		}
	default:
		v, _ := k.ints()
		return float64(v[0])
	}
	return 0
}

// floats returns the float32 numbers of an input that must be known.
func (c *call) floats(i int) []float32 {
	k, shadow := c.constantArg(i)
	switch {
	case c.err != nil || k.dense == nil:
	case k.dtype != op.Float32:
		c.fail("input %q is %v, want float32", c.n.Inputs[i], k.dtype)
	case !k.same(shadow):
		c.fail("input %q %w", c.n.Inputs[i], errBatch)
	default:
		return k.dense.Float32s()
	}
	return nil
}

// empty tells whether input i is left out or holds nothing, which stands for the
// same where an input is optional.
func (c *call) empty(i int) bool {
	if !c.has(i) {
		return true
	}
	v := c.values[c.n.Inputs[i]]
	return v.constant != nil && v.constant.dense == nil || v.param != nil && slices.Contains(v.param.Dims, 0)
}

func (c *call) integer(name string, otherwise int64) int64 {
	if a := c.n.Attr(name); a != nil {
		return a.I
	}
	return otherwise
}

func (c *call) float(name string, otherwise float32) float64 {
	if a := c.n.Attr(name); a != nil {
		return float64(a.F)
	}
	return float64(otherwise)
}

func (c *call) text(name, otherwise string) string {
	if a := c.n.Attr(name); a != nil {
		return string(a.S)
	}
	return otherwise
}

// list returns a list of numbers from an attribute, or from input i in files where
// it is one; ok is false when it is left out.
func (c *call) list(name string, i int) (v []int64, ok bool) {
	if a := c.n.Attr(name); a != nil {
		return a.Ints, true
	}
	if i > 0 && c.has(i) {
		return c.ints(i), true
	}
	return nil, false
}

// only fails unless an attribute has the one value that is supported.
func (c *call) only(name string, want int64) {
	if got := c.integer(name, want); got != want {
		c.fail("%s %d is not supported: want %d", name, got, want)
	}
}

// axisOf turns an axis that may count from the end into one of 0 to rank-1.
func (c *call) axisOf(a int64, rank int) int {
	if a < -int64(rank) || a >= int64(rank) {
		c.fail("axis %d is outside %d axes", a, rank)
		return 0
	}
	if a < 0 {
		a += int64(rank)
	}
	return int(a)
}

// axesOf does so for several, which must differ; in order.
func (c *call) axesOf(axes []int64, rank int) []int {
	out := make([]int, len(axes))
	for i, a := range axes {
		out[i] = c.axisOf(a, rank)
	}
	sorted := slices.Sorted(slices.Values(out))
	if c.err == nil && len(slices.Compact(sorted)) != len(out) {
		c.fail("axes %v name an axis twice", axes)
	}
	return out
}

// axis returns the attribute axis of x as a number of 0 to rank-1, or rank where end
// is set.
func (c *call) axis(x *op.Node, otherwise int64, end int) int {
	a, rank := c.integer("axis", otherwise), int64(len(x.Dims))
	if a < -rank || a >= rank+int64(end) {
		c.fail("axis %d is outside the axes of %v", a, x.Shape)
		return 0
	}
	if a < 0 {
		a += rank
	}
	return int(a)
}

// reshape gives x other sizes; shadow are those for one image more in the batch.
func (c *call) reshape(x *op.Node, sizes, shadow []int) *op.Node {
	if c.err != nil || x == nil {
		return nil
	}
	if slices.Contains(sizes, 0) {
		c.fail("%w", &ZeroSize{sizes})
		return nil
	}
	to, err := op.Dims(sizes...), error(nil)
	if x.Batch >= 0 {
		to, err = c.open(sizes, shadow)
		if err == nil && (to.Batch < 0 || op.Dims(shadow...).Size() != op.Dims(c.shadowDims(x)...).Size()) {
			err = fmt.Errorf("fixes the batch: give the model's inputs shapes without a batch axis")
		}
	}
	if err != nil {
		c.fail("%v to %v: %w", x.Shape, sizes, err)
		return nil
	}
	return op.Reshape(x, to)
}

// insert gives x more axes of size 1, so that they are at these places, in order.
func (c *call) insert(x *op.Node, axes ...int) *op.Node {
	if x == nil {
		return nil
	}
	to := op.Shape{Dims: slices.Clone(x.Dims), Batch: x.Batch}
	for _, a := range axes {
		to.Dims = slices.Insert(to.Dims, a, 1)
		if to.Batch >= a {
			to.Batch++
		}
	}
	return op.Reshape(x, to)
}

// remove takes axes of size 1 away.
func (c *call) remove(x *op.Node, axes ...int) *op.Node {
	if x == nil {
		return nil
	}
	to := op.Shape{Batch: -1}
	for i, d := range x.Dims {
		if slices.Contains(axes, i) {
			if d != 1 || i == x.Batch {
				c.fail("axis %d of %v cannot be taken away", i, x.Shape)
				return nil
			}
			continue
		}
		if i == x.Batch {
			to.Batch = len(to.Dims)
		}
		to.Dims = append(to.Dims, d)
	}
	return op.Reshape(x, to)
}

// scalar is a constant of the element type of x.
func (c *call) scalar(x *op.Node, v float64) *op.Node {
	if x == nil {
		return nil
	}
	return op.Cast(x.Graph().Scalar(v), x.DType)
}

// affords checks that so many elements may be made; calls that are wrong already
// afford nothing.
func (c *call) affords(elements int) bool {
	if c.err == nil {
		c.err = c.spend(elements)
	}
	return c.err == nil
}

func just(n *op.Node) value { return value{node: n} }

// sizeOf checks a number that is a size.
func (c *call) sizeOf(n int64) int {
	if n < 0 || n > math.MaxInt32 {
		c.fail("%d is no size", n)
		return 1
	}
	return int(n)
}
