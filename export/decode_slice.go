package export

import (
	"slices"

	"github.com/sslrt/sslrt/models/op"
)

// Slice and Pad, which take away from the ends of axes and add to them.

// decodeSlice: starts, ends, axes and steps are inputs since opset 10.
func decodeSlice(c *call) value {
	if c.empty(0) {
		return c.values[c.n.Inputs[0]]
	}
	x := c.arg(0)
	if x == nil {
		return value{}
	}
	var starts, ends, otherStarts, otherEnds, axes, steps []int64
	if a, b := c.n.Attr("starts"), c.n.Attr("ends"); a != nil && b != nil {
		starts, ends = a.Ints, b.Ints
		otherStarts, otherEnds = starts, ends
		axes, _ = c.list("axes", -1)
	} else {
		starts, otherStarts = c.intsPair(1)
		ends, otherEnds = c.intsPair(2)
		if c.has(3) {
			axes = c.ints(3)
		}
		if c.has(4) {
			steps = c.ints(4)
		}
	}
	if c.err != nil {
		return value{}
	}
	if axes == nil {
		for i := range starts {
			axes = append(axes, int64(i))
		}
	}
	n := len(starts)
	if len(ends) != n || len(axes) != n || len(otherStarts) != n || len(otherEnds) != n || steps != nil && len(steps) != n {
		return c.fail("%d starts, %d ends, %d axes and %d steps", n, len(ends), len(axes), len(steps))
	}
	shadow := c.shadowDims(x)
	for i, a := range c.axesOf(axes, len(x.Dims)) {
		if c.err != nil {
			return value{}
		}
		step := int64(1)
		if steps != nil {
			step = steps[i]
		}
		if step == 0 {
			return c.fail("a step of 0")
		}
		from, to := clamp(starts[i], ends[i], step, x.Dims[a])
		otherFrom, otherTo := clamp(otherStarts[i], otherEnds[i], step, shadow[a])
		if a == x.Batch {
			if from != 0 || to != x.Dims[a] || otherFrom != 0 || otherTo != shadow[a] || step != 1 {
				return c.fail("takes a part of the batch axis of %v: give the model's inputs shapes without a batch axis", x.Shape)
			}
			continue
		}
		if from != otherFrom || to != otherTo {
			return c.fail("%w", errBatch)
		}
		if to <= from && c.values[c.n.Inputs[0]].constant != nil {
			return value{constant: &constant{dtype: x.DType, dims: emptied(x.Dims, a)}}
		}
		if to <= from {
			return c.fail("%w", &ZeroSize{emptied(x.Dims, a)})
		}
		if step < 0 { // the same elements, found from the other end
			x = op.Flip(x, a)
			step = -step
		}
		if step > int64(x.Dims[a]) {
			step = int64(x.Dims[a])
		}
		x = op.SliceStep(x, a, from, to, int(step))
		if x == nil {
			return value{}
		}
	}
	return just(x)
}

func emptied(dims []int, axis int) []int {
	dims = slices.Clone(dims)
	dims[axis] = 0
	return dims
}

// clamp turns a start and an end into places from and to of an axis of n elements;
// with a negative step, of the axis reversed.
func clamp(start, end, step int64, n int) (from, to int) {
	size := int64(n)
	if start < 0 {
		start += size
	}
	if end < 0 && end > -maxInt {
		end += size
	}
	if step > 0 {
		return int(min(max(start, 0), size)), int(min(max(end, 0), size))
	}
	start, end = min(max(start, -1), size-1), min(max(end, -1), size-1)
	return int(size - 1 - start), int(size - 1 - end)
}

// decodePad: pads, value and axes are inputs since opset 11.
func decodePad(c *call) value {
	x := c.arg(0)
	pads, ok := c.list("pads", 1)
	if c.err != nil || x == nil {
		return value{}
	}
	if !ok {
		return c.fail("no pads are given")
	}
	fill := c.scalar(x, c.float("value", 0))
	constantFill := c.float("value", 0)
	if !c.empty(2) {
		constantFill = c.number(2)
		fill = c.remove1(c.arg(2))
	}
	axes := make([]int, len(x.Dims))
	for i := range axes {
		axes[i] = i
	}
	if c.has(3) {
		axes = c.axesOf(c.ints(3), len(x.Dims))
	}
	if c.err == nil && len(pads) != 2*len(axes) {
		c.fail("%d pads for %d axes", len(pads), len(axes))
	}
	mode := c.text("mode", "constant")
	for i, a := range axes {
		if c.err != nil || x == nil {
			return value{}
		}
		before, after := pads[i], pads[i+len(axes)]
		if before == 0 && after == 0 {
			continue
		}
		if a == x.Batch || max(before, after) > maxInt || min(before, after) < -maxInt {
			return c.fail("cannot pad axis %d of %v by %d and %d", a, x.Shape, before, after)
		}
		if mode == "constant" {
			x = c.padded(x, a, int(before), int(after), fill, constantFill == 0)
		} else {
			x = c.continued(x, a, int(before), int(after), mode)
		}
	}
	return just(x)
}

// remove1 makes a value of one element a scalar.
func (c *call) remove1(x *op.Node) *op.Node {
	if x == nil {
		return nil
	}
	if x.Size() != 1 {
		c.fail("the value has the shape %v, want one number", x.Shape)
		return nil
	}
	return op.Reshape(x, op.Dims())
}

// padded adds elements before and after an axis; negative numbers take some away.
func (c *call) padded(x *op.Node, a, before, after int, fill *op.Node, zero bool) *op.Node {
	n := x.Dims[a]
	if n+before+after < 1 || n+min(before, 0)+min(after, 0) < 1 {
		c.fail("%w", &ZeroSize{emptied(x.Dims, a)})
		return nil
	}
	x = op.Slice(x, a, max(-before, 0), n-max(-after, 0))
	before, after = max(before, 0), max(after, 0)
	y := op.Pad(x, a, before, after)
	if zero || y == x || y == nil {
		return y
	}
	if !c.affords(y.Dims[a]) {
		return nil
	}
	inside := make([]bool, y.Dims[a])
	for i := range inside {
		inside[i] = i >= before && i < len(inside)-after
	}
	along := slices.Repeat([]int{1}, len(y.Dims))
	along[a] = len(inside)
	return op.Where(c.graph.ConstOf(bools(inside, along)), y, fill)
}

// continued goes on beyond the ends of an axis with elements of it.
func (c *call) continued(x *op.Node, a, before, after int, mode string) *op.Node {
	n := x.Dims[a]
	if n+before+after < 1 {
		c.fail("%w", &ZeroSize{emptied(x.Dims, a)})
		return nil
	}
	if !c.affords(n + before + after) {
		return nil
	}
	at := make([]int64, n+before+after)
	for i := range at {
		k := i - before
		switch mode {
		case "edge":
			k = min(max(k, 0), n-1)
		case "wrap":
			k = ((k % n) + n) % n
		case "reflect":
			if n == 1 {
				k = 0
				break
			}
			period := 2 * (n - 1)
			k = ((k % period) + period) % period
			k = min(k, period-k)
		default:
			c.fail("mode %q: want constant, reflect, edge or wrap", mode)
			return nil
		}
		at[i] = int64(k)
	}
	return op.Gather(x, c.graph.ConstOf(integers(at).dense), a)
}
