package export

import (
	"fmt"
	"slices"

	"github.com/sslrt/sslrt/models/op"
)

// Operators that give elements other places.

var layoutRules = map[string]rule{
	"Identity":      {least: 1, most: 1, types: allTypes, since: 1, build: func(c *call) value { return c.values[c.n.Inputs[0]] }},
	"Reshape":       {least: 2, most: 2, attrs: attrs{"allowzero": attrInt}, types: allTypes, build: decodeReshape},
	"Flatten":       {least: 1, most: 1, attrs: attrs{"axis": attrInt}, types: allTypes, build: decodeFlatten, since: 1},
	"Squeeze":       {least: 1, most: 2, attrs: attrs{"axes": attrInts}, types: allTypes, build: decodeSqueeze, since: 1},
	"Unsqueeze":     {least: 1, most: 2, attrs: attrs{"axes": attrInts}, types: allTypes, build: decodeUnsqueeze, since: 1},
	"Transpose":     {least: 1, most: 1, attrs: attrs{"perm": attrInts}, types: allTypes, build: decodeTranspose, since: 1},
	"Concat":        {least: 1, most: unlimited, attrs: attrs{"axis": attrInt}, types: allTypes, build: decodeConcat},
	"Split":         {least: 1, most: 2, attrs: attrs{"axis": attrInt, "split": attrInts, "num_outputs": attrInt}, types: allTypes, build: decodeSplit},
	"Slice":         {least: 1, most: 5, attrs: attrs{"starts": attrInts, "ends": attrInts, "axes": attrInts}, types: allTypes, build: decodeSlice, since: 1},
	"Pad":           {least: 1, most: 4, attrs: attrs{"mode": attrText, "pads": attrInts, "value": attrFloat}, types: allTypes, build: decodePad},
	"Expand":        {least: 2, most: 2, types: allTypes, build: decodeExpand},
	"Tile":          {least: 2, most: 2, types: allTypes, build: decodeTile},
	"DepthToSpace":  {least: 1, most: 1, attrs: attrs{"blocksize": attrInt, "mode": attrText}, types: floatOnly, build: decodeDepthToSpace, since: 1},
	"SpaceToDepth":  {least: 1, most: 1, attrs: attrs{"blocksize": attrInt}, types: floatOnly, build: decodeSpaceToDepth, since: 1},
	"CenterCropPad": {least: 2, most: 2, attrs: attrs{"axes": attrInts}, types: floatOnly, build: decodeCenterCropPad},
}

func decodeReshape(c *call) value {
	x := c.arg(0)
	to, shadow := c.intsPair(1)
	if c.err != nil || x == nil {
		return value{}
	}
	keepZero := c.integer("allowzero", 0) != 0
	sizes, err := reshaped(x.Dims, to, keepZero)
	if err != nil {
		return c.fail("%v does not reshape to %v: %w", x.Shape, to, err)
	}
	others, err := reshaped(c.shadowDims(x), shadow, keepZero)
	if err != nil {
		return c.fail("%v to %v fixes the batch: %w: give the model's inputs shapes without a batch axis", x.Shape, to, err)
	}
	return just(c.reshape(x, sizes, others))
}

// reshaped fills in the sizes that a Reshape leaves open.
func reshaped(from []int, to []int64, keepZero bool) ([]int, error) {
	sizes := make([]int, len(to))
	product, inferred := 1, -1
	for i, n := range to {
		switch {
		case n == -1 && inferred < 0:
			inferred = i
			continue
		case n == 0 && !keepZero && i < len(from):
			sizes[i] = from[i]
		case n == 0 && keepZero:
			return nil, &ZeroSize{sizes}
		case n > 0 && n <= maxInt:
			sizes[i] = int(n)
		default:
			return nil, fmt.Errorf("%d is no size", n)
		}
		if sizes[i] > maxElements/product {
			return nil, fmt.Errorf("it is too large")
		}
		product *= sizes[i]
	}
	all := op.Dims(from...).Size()
	if inferred >= 0 {
		sizes[inferred] = all / product
		product *= sizes[inferred]
	}
	if product != all {
		return nil, fmt.Errorf("%d elements do not fill it", all)
	}
	return sizes, nil
}

func decodeFlatten(c *call) value {
	x := c.arg(0)
	if x == nil {
		return value{}
	}
	axis := c.axis(x, 1, 1)
	return just(c.flattened(x, axis))
}

func decodeSqueeze(c *call) value {
	x := c.arg(0)
	list, ok := c.list("axes", 1)
	if c.err != nil || x == nil {
		return value{}
	}
	axes := c.axesOf(list, len(x.Dims))
	if !ok {
		for i, n := range x.Dims {
			if n == 1 && i != x.Batch {
				axes = append(axes, i)
			}
		}
	}
	if c.err != nil {
		return value{}
	}
	return just(c.remove(x, axes...))
}

func decodeUnsqueeze(c *call) value {
	x := c.arg(0)
	list, ok := c.list("axes", 1)
	if !ok {
		return c.fail("no axes are given")
	}
	if c.err != nil || x == nil {
		return value{}
	}
	axes := c.axesOf(list, len(x.Dims)+len(list))
	slices.Sort(axes)
	if c.err != nil {
		return value{}
	}
	return just(c.insert(x, axes...))
}

func decodeTranspose(c *call) value {
	x := c.arg(0)
	if x == nil {
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
	if len(perm) == 0 {
		return c.values[c.n.Inputs[0]]
	}
	return just(op.Transpose(x, perm...))
}

// decodeConcat leaves out what has no elements, as lists of sizes may.
func decodeConcat(c *call) value {
	if c.n.Attr("axis") == nil {
		return c.fail("attribute axis is missing")
	}
	var in []*op.Node
	for i := range c.n.Inputs {
		if c.has(i) && c.empty(i) {
			continue
		}
		x := c.arg(i)
		if x == nil {
			return c.fail("input %d is left out", i)
		}
		in = append(in, x)
	}
	if len(in) == 0 {
		return c.values[c.n.Inputs[0]]
	}
	axis := c.axis(in[0], 0, 0)
	for _, x := range in {
		if c.err == nil && (in[0].Batch == axis || x.Batch == axis) && x.Batch != in[0].Batch {
			return c.fail("joins %v and %v along the batch axis", in[0].Shape, x.Shape)
		}
	}
	if c.err != nil {
		return value{}
	}
	return just(op.Concat(axis, in...))
}

func decodeSplit(c *call) value {
	x := c.arg(0)
	list, ok := c.list("split", 1)
	if c.err != nil || x == nil {
		return value{}
	}
	axis := c.axis(x, 0, 0)
	if c.err != nil {
		return value{}
	}
	size := x.Dims[axis]
	if !ok { // parts alike, the last one smaller if need be
		n := int(c.integer("num_outputs", int64(len(c.n.Outputs))))
		if n < 1 || n > size {
			return c.fail("%d parts of an axis of %d", n, size)
		}
		part := (size + n - 1) / n
		if !c.affords(n) {
			return value{}
		}
		for at := 0; at < size; at += part {
			list = append(list, int64(min(part, size-at)))
		}
	}
	if axis == x.Batch && len(list) > 1 {
		return c.fail("splits the batch axis of %v", x.Shape)
	}
	var parts []value
	at := 0
	for _, n := range list {
		if n == 0 {
			return c.fail("%w", &ZeroSize{[]int{0}})
		}
		if n < 0 || n > int64(size-at) {
			return c.fail("parts %v of an axis of %d", list, size)
		}
		parts = append(parts, just(op.Slice(x, axis, at, at+int(n))))
		at += int(n)
	}
	if at != size {
		return c.fail("parts %v of an axis of %d", list, size)
	}
	c.more = parts[1:]
	return parts[0]
}

func decodeExpand(c *call) value {
	x := c.arg(0)
	to, shadow := c.intsPair(1)
	if c.err != nil || x == nil {
		return value{}
	}
	return just(c.expand(x, to, shadow))
}

// expand broadcasts x and a shape, which would be shadow with one image more.
func (c *call) expand(x *op.Node, to, shadow []int64) *op.Node {
	sizes, err := both(x.Dims, to)
	others, otherErr := both(c.shadowDims(x), shadow)
	switch {
	case err != nil:
		c.fail("%v does not expand to %v: %w", x.Shape, to, err)
		return nil
	case otherErr != nil || len(others) != len(sizes):
		c.fail("%v to %v fixes the batch: give the model's inputs shapes without a batch axis", x.Shape, to)
		return nil
	}
	s := op.Dims(sizes...)
	if c.like != nil {
		if s, err = c.open(sizes, others); err != nil {
			c.fail("%v to %v: %w", x.Shape, to, err)
			return nil
		}
	}
	if s.Equal(x.Shape) {
		return x
	}
	return op.Expand(x, s, c.like)
}

// both broadcasts two lists of sizes.
func both(a []int, b []int64) ([]int, error) {
	out := make([]int, max(len(a), len(b)))
	for i := range out {
		m, n := 1, int64(1)
		if j := i - len(out) + len(a); j >= 0 {
			m = a[j]
		}
		if j := i - len(out) + len(b); j >= 0 {
			n = b[j]
		}
		switch {
		case n == 0:
			return nil, &ZeroSize{out}
		case n < 0 || n > maxInt || m != 1 && n != 1 && int64(m) != n:
			return nil, fmt.Errorf("axis %d has sizes %d and %d", i, m, n)
		}
		out[i] = max(m, int(n))
	}
	return out, nil
}

// decodeTile repeats each axis as a whole.
func decodeTile(c *call) value {
	x := c.arg(0)
	times, shadow := c.intsPair(1)
	if c.err != nil || x == nil {
		return value{}
	}
	if len(times) != len(x.Dims) || len(shadow) != len(times) {
		return c.fail("%d repeats for %v", len(times), x.Shape)
	}
	for i := range times {
		if x == nil || c.err != nil {
			return value{}
		}
		if times[i] == 0 {
			return c.fail("%w", &ZeroSize{emptied(x.Dims, i)})
		}
		if times[i] == 1 && shadow[i] == 1 {
			continue
		}
		// A new axis in front of it is repeated, then both become one.
		y := c.insert(x, i)
		to, others := slices.Repeat([]int64{1}, len(y.Dims)), slices.Repeat([]int64{1}, len(y.Dims))
		to[i], others[i] = times[i], shadow[i]
		dims, otherDims := slices.Clone(x.Dims), c.shadowDims(x)
		dims[i] *= int(times[i])
		otherDims[i] *= int(shadow[i])
		y = c.expand(y, to, others)
		if y == nil {
			return value{}
		}
		x = c.reshape(y, dims, otherDims)
	}
	return just(x)
}

// blocks checks x: [N, C, H, W] and the attribute blocksize.
func (c *call) blocks(x *op.Node) int {
	b := c.sizeOf(c.integer("blocksize", 0))
	if c.err == nil && (b < 1 || len(x.Dims) != 4) {
		c.fail("blocks of %d in %v", b, x.Shape)
	}
	return b
}

func decodeDepthToSpace(c *call) value {
	x := c.arg(0)
	if x == nil {
		return value{}
	}
	b := c.blocks(x)
	mode := c.text("mode", "DCR")
	if c.err == nil && (x.Dims[1]%(b*b) != 0 || mode != "DCR" && mode != "CRD") {
		c.fail("mode %q with blocks of %d in %v", mode, b, x.Shape)
	}
	if c.err != nil {
		return value{}
	}
	n, depth, h, w := x.Dims[0], x.Dims[1]/b/b, x.Dims[2], x.Dims[3]
	if mode == "CRD" {
		x = op.Transpose(op.Reshape(x, op.Shape{Dims: []int{n, depth, b, b, h, w}, Batch: x.Batch}), 0, 1, 4, 2, 5, 3)
	} else {
		x = op.Transpose(op.Reshape(x, op.Shape{Dims: []int{n, b, b, depth, h, w}, Batch: x.Batch}), 0, 3, 4, 1, 5, 2)
	}
	return just(op.Reshape(x, op.Shape{Dims: []int{n, depth, h * b, w * b}, Batch: c.arg(0).Batch}))
}

func decodeSpaceToDepth(c *call) value {
	x := c.arg(0)
	if x == nil {
		return value{}
	}
	b := c.blocks(x)
	if c.err == nil && (x.Dims[2]%b != 0 || x.Dims[3]%b != 0) {
		c.fail("blocks of %d in %v", b, x.Shape)
	}
	if c.err != nil {
		return value{}
	}
	n, depth, h, w := x.Dims[0], x.Dims[1], x.Dims[2]/b, x.Dims[3]/b
	y := op.Transpose(op.Reshape(x, op.Shape{Dims: []int{n, depth, h, b, w, b}, Batch: x.Batch}), 0, 3, 5, 1, 2, 4)
	return just(op.Reshape(y, op.Shape{Dims: []int{n, depth * b * b, h, w}, Batch: x.Batch}))
}

func decodeCenterCropPad(c *call) value {
	x := c.arg(0)
	to := c.ints(1)
	if c.err != nil || x == nil {
		return value{}
	}
	list, ok := c.list("axes", -1)
	if !ok {
		for i := range x.Dims {
			list = append(list, int64(i))
		}
	}
	axes := c.axesOf(list, len(x.Dims))
	if c.err == nil && len(axes) != len(to) {
		c.fail("%d sizes for %d axes", len(to), len(axes))
	}
	for i, a := range axes {
		size := c.sizeOf(to[i])
		if c.err != nil || x == nil {
			return value{}
		}
		if a == x.Batch {
			return c.fail("crops the batch axis of %v", x.Shape)
		}
		if d := x.Dims[a] - size; d > 0 {
			x = op.Slice(x, a, d/2, d/2+size)
		} else {
			x = op.Pad(x, a, -d/2, -d-(-d/2))
		}
	}
	return just(x)
}
