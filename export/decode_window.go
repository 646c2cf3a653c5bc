package export

import (
	"slices"

	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// Convolution and pooling in one, two and three dimensions.

var windowAttrs = attrs{"auto_pad": attrText, "kernel_shape": attrInts, "pads": attrInts, "strides": attrInts, "dilations": attrInts}

var windowRules = map[string]rule{
	"Conv": {least: 2, most: 3, attrs: with(windowAttrs, attrs{"group": attrInt}), types: floatOnly, build: decodeConv, heavy: true},
	"ConvTranspose": {least: 2, most: 3, attrs: with(windowAttrs, attrs{"group": attrInt, "output_padding": attrInts, "output_shape": attrInts}),
		types: floatOnly, build: decodeConvTranspose, heavy: true},
	"MaxPool": {least: 1, most: 1, attrs: with(windowAttrs, attrs{"ceil_mode": attrInt, "storage_order": attrInt}), types: floatOnly, build: decodeMaxPool, heavy: true},
	"AveragePool": {least: 1, most: 1, attrs: with(windowAttrs, attrs{"ceil_mode": attrInt, "count_include_pad": attrInt}), types: floatOnly,
		build: decodeAveragePool, heavy: true},
	"LpPool":            {least: 1, most: 1, attrs: with(windowAttrs, attrs{"ceil_mode": attrInt, "p": attrInt}), types: floatOnly, build: decodeLpPool, heavy: true},
	"GlobalAveragePool": globalPoolRule(func(x *op.Node, axes []int) *op.Node { return op.Mean(x, true, axes...) }),
	"GlobalMaxPool":     globalPoolRule(maxOver),
	"Gemm": {least: 2, most: 3, attrs: attrs{"alpha": attrFloat, "beta": attrFloat, "transA": attrInt, "transB": attrInt, "broadcast": attrInt},
		types: floatOnly, build: decodeGemm, heavy: true},
	"MatMul":   {least: 2, most: 2, types: floatOnly, build: decodeMatMul, heavy: true},
	"Resize":   {least: 1, most: 4, attrs: resizeAttrs, types: floatOnly, build: decodeResize, heavy: true},
	"Upsample": {least: 1, most: 2, attrs: attrs{"mode": attrText, "scales": onnx.AttrFloats}, types: floatOnly, build: decodeUpsample, heavy: true},
}

// window is what convolution and pooling have in common: lists of one number for
// each axis of the image, pad twice that.
type window struct{ kernel, stride, dilation, pad []int }

// sizes fills a list of sizes from an attribute; what is not there stays as it is.
func (c *call) sizes(name string, to []int, least int64) {
	a := c.n.Attr(name)
	if a == nil {
		return
	}
	if len(a.Ints) != len(to) {
		c.fail("%s %v: want %d numbers", name, a.Ints, len(to))
		return
	}
	for i, v := range a.Ints {
		if v < least || v > maxInt {
			c.fail("%s %v: want numbers of %d to %d", name, a.Ints, least, maxInt)
			return
		}
		to[i] = int(v)
	}
}

// maxImage bounds the sides of an image and of windows over it, some of which are
// looked at one by one.
const maxImage = 1 << 20

// window reads the attributes for x: [N, C, ...]; kernel is that of the weight, nil
// for pooling.
func (c *call) window(x *op.Node, kernel []int) window {
	rank := len(x.Dims) - 2
	if rank < 1 || rank > 3 {
		c.fail("want x: [N, C, ...] with an image of one to three axes, got %v", x.Shape)
		return window{}
	}
	if x.Batch > 0 {
		c.fail("want the batch first in %v", x.Shape)
	}
	if slices.Max(x.Dims[2:]) > maxImage {
		c.fail("an image of %v is too large", x.Dims[2:])
	}
	ones := slices.Repeat([]int{1}, rank)
	w := window{kernel: slices.Clone(kernel), stride: slices.Clone(ones), dilation: slices.Clone(ones), pad: make([]int, 2*rank)}
	if kernel == nil {
		w.kernel = make([]int, rank)
		if c.n.Attr("kernel_shape") == nil {
			c.fail("attribute kernel_shape is missing")
		}
	}
	c.sizes("kernel_shape", w.kernel, 1)
	c.sizes("strides", w.stride, 1)
	c.sizes("dilations", w.dilation, 1)
	c.sizes("pads", w.pad, 0)
	if len(w.kernel) > 2 && max(w.kernel[0], w.stride[0]) > 1<<10 || slices.Max(slices.Concat(w.kernel, w.pad)) > maxImage {
		c.fail("windows of %v with pads %v are too large", w.kernel, w.pad)
	}
	if kernel != nil && !slices.Equal(kernel, w.kernel) {
		c.fail("kernel_shape %v does not fit the weight's %v", w.kernel, kernel)
	}
	return w
}

// extent is how many elements of axis i a window spans.
func (w window) extent(i int) int { return w.dilation[i]*(w.kernel[i]-1) + 1 }

// widen adds the padding with which no window sticks out where the number of windows
// is rounded up.
func (w window) widen(sizes []int) {
	for i, n := range sizes {
		end := i + len(sizes)
		if over := (n + w.pad[i] + w.pad[end] - w.extent(i)) % w.stride[i]; over > 0 {
			w.pad[end] += w.stride[i] - over
		}
	}
}

// autoPad sets the padding that gives ceil(size/stride) windows, or none.
func (c *call) autoPad(w window, sizes []int) {
	how := c.text("auto_pad", "NOTSET")
	rank := len(w.kernel)
	for i := range rank {
		switch how {
		case "", "NOTSET":
		case "VALID":
			w.pad[i], w.pad[i+rank] = 0, 0
		case "SAME_UPPER", "SAME_LOWER":
			out := (sizes[i] + w.stride[i] - 1) / w.stride[i]
			total := max((out-1)*w.stride[i]+w.extent(i)-sizes[i], 0)
			w.pad[i], w.pad[i+rank] = total/2, total-total/2
			if how == "SAME_LOWER" {
				w.pad[i], w.pad[i+rank] = w.pad[i+rank], w.pad[i]
			}
		default:
			c.fail("auto_pad %s is not known", how)
		}
	}
}

// plane is the window over axes i and j of three, or of a single axis with i = -1.
func (w window) plane(i, j int) op.Pool {
	p := op.Pool{Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}}
	rank := len(w.kernel)
	for to, from := range []int{i, j} {
		if from < 0 {
			continue
		}
		p.Kernel[to], p.Stride[to], p.Dilation[to] = w.kernel[from], w.stride[from], w.dilation[from]
		p.Pad[to], p.Pad[to+2] = w.pad[from], w.pad[from+rank]
	}
	return p
}

// pooled calls f, which pools over two axes, so that all axes of an image are pooled
// over: in three dimensions one after the other, which maxima, sums and counts allow.
func (c *call) pooled(x *op.Node, w window, f func(x *op.Node, p op.Pool) *op.Node) *op.Node {
	switch len(w.kernel) {
	case 1:
		return c.remove(f(c.insert(x, 2), w.plane(-1, 0)), 2)
	case 2:
		return f(x, w.plane(0, 1))
	}
	n, ch, depth := x.Dims[0], x.Dims[1], x.Dims[2]
	y := f(op.Reshape(x, op.Shape{Dims: []int{n, ch * depth, x.Dims[3], x.Dims[4]}, Batch: x.Batch}), w.plane(1, 2))
	if y == nil {
		return nil
	}
	h, wd := y.Dims[2], y.Dims[3]
	y = f(op.Reshape(y, op.Shape{Dims: []int{n, ch, depth, h * wd}, Batch: x.Batch}), w.plane(0, -1))
	if y == nil {
		return nil
	}
	return op.Reshape(y, op.Shape{Dims: []int{n, ch, y.Dims[2], h, wd}, Batch: x.Batch})
}

// poolArgs reads x and the window of a pooling.
func (c *call) poolArgs() (x *op.Node, w window, ok bool) {
	if x = c.arg(0); x == nil {
		return nil, w, false
	}
	w = c.window(x, nil)
	if c.err == nil {
		c.autoPad(w, x.Dims[2:])
	}
	return x, w, c.err == nil
}

func decodeMaxPool(c *call) value {
	x, w, ok := c.poolArgs()
	if !ok {
		return value{}
	}
	ceil := c.integer("ceil_mode", 0) != 0
	y := c.pooled(x, w, func(x *op.Node, p op.Pool) *op.Node {
		p.Ceil = ceil
		return op.MaxPool2D(x, p)
	})
	if len(c.n.Outputs) > 1 && c.used[c.n.Outputs[1]] {
		c.more = []value{just(c.maxPlaces(x, w, ceil))}
	}
	return just(y)
}

// maxPlaces are the places of maxima in all of x, as ONNX counts them.
func (c *call) maxPlaces(x *op.Node, w window, ceil bool) *op.Node {
	if len(w.kernel) != 2 || !c.fixed(x) {
		c.fail("its indices are not supported for %v", x.Shape)
		return nil
	}
	p := w.plane(0, 1)
	p.Ceil = ceil
	at := op.MaxPool2DIndices(x, p)
	height, width := c.graph.ConstOf(integers([]int64{int64(x.Dims[2])}).dense), c.graph.ConstOf(integers([]int64{int64(x.Dims[3])}).dense)
	if c.integer("storage_order", 0) != 0 { // column by column
		at = op.Add(op.Mul(op.Mod(at, width), height), op.Div(at, width))
	}
	if !c.affords(x.Dims[0] * x.Dims[1]) {
		return nil
	}
	plane := make([]int64, x.Dims[0]*x.Dims[1])
	for i := range plane {
		plane[i] = int64(i * x.Dims[2] * x.Dims[3])
	}
	return op.Add(at, op.Reshape(c.graph.ConstOf(integers(plane).dense), op.Dims(x.Dims[0], x.Dims[1], 1, 1)))
}

func decodeAveragePool(c *call) value {
	x, w, ok := c.poolArgs()
	if !ok {
		return value{}
	}
	countPad, ceil := c.integer("count_include_pad", 0) != 0, c.integer("ceil_mode", 0) != 0
	if countPad && ceil && len(w.kernel) == 3 {
		// ONNX's tests of three dimensions count what sticks out beyond the padding. In
		// one and two PyTorch and ONNX Runtime, which do not, are followed.
		w.widen(x.Dims[2:])
		ceil = false
	}
	return just(c.pooled(x, w, func(x *op.Node, p op.Pool) *op.Node {
		p.Ceil = ceil
		return op.AvgPool2D(x, p, countPad)
	}))
}

// decodeLpPool is the mean of powers times their number, of which the root is taken.
func decodeLpPool(c *call) value {
	x, w, ok := c.poolArgs()
	if !ok {
		return value{}
	}
	p, count := float64(c.integer("p", 2)), 1
	for _, k := range w.kernel {
		count *= k
	}
	if c.integer("ceil_mode", 0) != 0 {
		w.widen(x.Dims[2:])
	}
	mean := c.pooled(powered(op.Abs(x), p), w, func(x *op.Node, p op.Pool) *op.Node { return op.AvgPool2D(x, p, true) })
	return just(powered(op.Scale(mean, float64(count)), 1/p))
}

// powered is x to a power, for x of 0 or more, with a gradient at 0.
func powered(x *op.Node, p float64) *op.Node {
	switch {
	case x == nil || p == 1:
		return x
	case p == 2:
		return op.Mul(x, x)
	case p == 0.5:
		return root(x)
	}
	return op.Pow(op.Maximum(x, x.Graph().Scalar(1e-38)), x.Graph().Scalar(p))
}

func globalPoolRule(f func(x *op.Node, axes []int) *op.Node) rule {
	return rule{least: 1, most: 1, types: floatOnly, since: 1, build: func(c *call) value {
		x := c.arg(0)
		if x == nil {
			return value{}
		}
		if len(x.Dims) < 3 {
			return c.fail("want x: [N, C, ...], got %v", x.Shape)
		}
		var axes []int
		for i := 2; i < len(x.Dims); i++ {
			axes = append(axes, i)
		}
		return just(f(x, axes))
	}}
}

func decodeGemm(c *call) value {
	a, b, bias := c.arg(0), c.arg(1), c.arg(2)
	transA, transB := c.integer("transA", 0) != 0, c.integer("transB", 0) != 0
	if a == nil || b == nil {
		return value{}
	}
	if len(a.Dims) == 2 && len(b.Dims) == 2 && (a.Batch == 1) == !transA && a.Batch >= 0 || b.Batch >= 0 && (b.Batch == 0) == !transB {
		return c.fail("sums over the batch axis of %v and %v", a.Shape, b.Shape)
	}
	y := op.Gemm(a, b, transA, transB)
	if alpha := c.float("alpha", 1); alpha != 1 && y != nil {
		y = op.Scale(y, alpha)
	}
	if bias == nil || y == nil {
		return just(y)
	}
	if beta := c.float("beta", 1); beta != 1 {
		bias = op.Scale(bias, beta)
	}
	sum := op.Add(y, bias)
	if sum != nil && !slices.Equal(sum.Dims, y.Dims) {
		return c.fail("the bias %v does not fit the product %v", c.arg(2).Shape, y.Shape)
	}
	return just(sum)
}

// decodeMatMul: a list is a row on the left and a column on the right.
func decodeMatMul(c *call) value {
	a, b := c.arg(0), c.arg(1)
	if a == nil || b == nil {
		return value{}
	}
	row, column := len(a.Dims) == 1, len(b.Dims) == 1
	if len(a.Dims) == 0 || len(b.Dims) == 0 {
		return c.fail("want one axis or more, got %v and %v", a.Shape, b.Shape)
	}
	if row {
		a = c.insert(a, 0)
	}
	if column {
		b = c.insert(b, 1)
	}
	if a.Batch == len(a.Dims)-1 || b.Batch >= 0 && b.Batch == len(b.Dims)-2 {
		return c.fail("sums over the batch axis of %v and %v", a.Shape, b.Shape)
	}
	y := op.MatMul(a, b)
	if y == nil {
		return value{}
	}
	if column {
		y = c.remove(y, len(y.Dims)-1)
	}
	if row && y != nil {
		y = c.remove(y, len(y.Dims)-1-btoi(!column))
	}
	return just(y)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
