package export

import (
	"slices"

	"github.com/sslrt/sslrt/models/op"
)

func decodeConv(c *call) value {
	x, w, bias, win, groups := c.convInputs()
	if c.err != nil {
		return value{}
	}
	c.autoPad(win, x.Dims[2:])
	if bias != nil && !slices.Equal(bias.Dims, w.Dims[:1]) {
		c.fail("the bias %v does not fit the weight %v", bias.Shape, w.Shape)
	}
	if c.err != nil {
		return value{}
	}
	switch len(win.kernel) {
	case 1:
		y := op.Conv2D(c.insert(x, 2), c.insert(w, 2), bias, conv(win.plane(-1, 0), groups))
		return just(c.remove(y, 2))
	case 2:
		return just(op.Conv2D(x, w, bias, conv(win.plane(0, 1), groups)))
	}
	return just(c.conv3D(x, w, bias, win, groups))
}

// convInputs reads what both kinds of convolution have: the image, the weight, the
// bias, nil without one, the window and the number of groups.
func (c *call) convInputs() (x, w, bias *op.Node, win window, groups int) {
	x, w, bias = c.arg(0), c.arg(1), c.arg(2)
	group := c.integer("group", 1)
	if group < 1 || group > maxInt {
		c.fail("group %d: want 1 or more", group)
	}
	switch {
	case c.err != nil:
	case x == nil || w == nil:
		c.fail("the image or the weight is left out")
	case len(w.Dims) != len(x.Dims):
		c.fail("a weight %v for x: %v", w.Shape, x.Shape)
	default:
		win = c.window(x, w.Dims[min(2, len(w.Dims)):])
	}
	return x, w, bias, win, int(group)
}

// conv is a window as a convolution's.
func conv(p op.Pool, groups int) op.Conv {
	return op.Conv{Stride: p.Stride, Pad: p.Pad, Dilation: p.Dilation, Groups: groups}
}

// conv3D adds up two-dimensional convolutions, one for each slice of the kernel, of
// all slices of the image that it meets.
func (c *call) conv3D(x, w, bias *op.Node, win window, groups int) *op.Node {
	x = op.Pad(x, 2, win.pad[0], win.pad[3])
	if x == nil {
		return nil
	}
	span := x.Dims[2] - win.extent(0)
	if span < 0 {
		c.fail("the kernel %v is larger than the padded image %v", w.Shape, x.Shape)
		return nil
	}
	depth := span/win.stride[0] + 1
	var sum *op.Node
	for k := range win.kernel[0] {
		from := k * win.dilation[0]
		part := op.SliceStep(x, 2, from, from+(depth-1)*win.stride[0]+1, win.stride[0])
		var b *op.Node
		if k == 0 {
			b = bias
		}
		slice := c.remove(op.Slice(w, 2, k, k+1), 2)
		y := op.Conv2D(flatDepth(part), slice, b, conv(win.plane(1, 2), groups))
		if sum == nil {
			sum = y
		} else {
			sum = op.Add(sum, y)
		}
		if sum == nil {
			return nil
		}
	}
	return deepened(sum, depth, x.Batch)
}

// flatDepth makes the slices of x: [N, C, D, H, W] images of their own: [N*D, C, H, W].
func flatDepth(x *op.Node) *op.Node {
	if x == nil {
		return nil
	}
	n, ch, d := x.Dims[0], x.Dims[1], x.Dims[2]
	return op.Reshape(op.Transpose(x, 0, 2, 1, 3, 4), op.Shape{Dims: []int{n * d, ch, x.Dims[3], x.Dims[4]}, Batch: x.Batch})
}

// deepened undoes flatDepth.
func deepened(y *op.Node, depth, batch int) *op.Node {
	if y == nil {
		return nil
	}
	return op.Transpose(op.Reshape(y, op.Shape{Dims: []int{y.Dims[0] / depth, depth, y.Dims[1], y.Dims[2], y.Dims[3]}, Batch: batch}), 0, 2, 1, 3, 4)
}

func decodeConvTranspose(c *call) value {
	x, w, bias, win, groups := c.convInputs()
	if c.err != nil {
		return value{}
	}
	if w.Dims[0] != x.Dims[1] || w.Dims[0]%groups != 0 {
		c.fail("the weight %v does not fit %v in %d groups", w.Shape, x.Shape, groups)
	}
	if bias != nil && !slices.Equal(bias.Dims, []int{w.Dims[1] * groups}) {
		c.fail("the bias %v does not fit the weight %v", bias.Shape, w.Shape)
	}
	extra := c.transposedPads(win, x.Dims[2:])
	if c.err != nil {
		return value{}
	}
	switch len(win.kernel) {
	case 1:
		y := op.ConvTranspose2D(c.insert(x, 2), c.insert(w, 2), bias, conv(win.plane(-1, 0), groups), [2]int{0, extra[0]})
		return just(c.remove(y, 2))
	case 2:
		return just(op.ConvTranspose2D(x, w, bias, conv(win.plane(0, 1), groups), [2]int(extra)))
	}
	return just(c.convTranspose3D(x, w, bias, win, extra, groups))
}

// transposedPads sets the padding of a transposed convolution from output_shape or
// auto_pad, and returns the padding of its result.
func (c *call) transposedPads(win window, sizes []int) []int {
	rank := len(win.kernel)
	extra, out := make([]int, rank), make([]int, rank)
	c.sizes("output_padding", extra, 0)
	c.sizes("output_shape", out, 1)
	how := c.text("auto_pad", "NOTSET")
	for i := range rank {
		switch {
		case how == "VALID":
			win.pad[i], win.pad[i+rank] = 0, 0
			continue
		case how == "SAME_UPPER" || how == "SAME_LOWER":
			if c.n.Attr("output_shape") == nil {
				out[i] = sizes[i] * win.stride[i]
			}
		case c.n.Attr("output_shape") == nil:
			continue
		}
		total := win.stride[i]*(sizes[i]-1) + extra[i] + win.extent(i) - out[i]
		if total < 0 {
			extra[i], total = extra[i]-total, 0
		}
		win.pad[i], win.pad[i+rank] = total-total/2, total/2
		if how == "SAME_UPPER" {
			win.pad[i], win.pad[i+rank] = total/2, total-total/2
		}
	}
	return extra
}

// convTranspose3D adds up two-dimensional transposed convolutions, one for each
// slice of the kernel, each at its place along the depth.
func (c *call) convTranspose3D(x, w, bias *op.Node, win window, extra []int, groups int) *op.Node {
	depth, step := x.Dims[2], win.stride[0]
	var sum *op.Node
	for k := range win.kernel[0] {
		slice := c.remove(op.Slice(w, 2, k, k+1), 2)
		y := op.ConvTranspose2D(flatDepth(x), slice, nil, conv(win.plane(1, 2), groups), [2]int{extra[1], extra[2]})
		y = deepened(y, depth, x.Batch)
		if y == nil {
			return nil
		}
		// step-1 empty slices behind each but the last
		n, ch, h, wd := y.Dims[0], y.Dims[1], y.Dims[3], y.Dims[4]
		y = op.Pad(c.insert(y, 3), 3, 0, step-1)
		y = op.Reshape(y, op.Shape{Dims: []int{n, ch, depth * step, h, wd}, Batch: x.Batch})
		y = op.Slice(y, 2, 0, (depth-1)*step+1)
		y = op.Pad(y, 2, k*win.dilation[0], (win.kernel[0]-1-k)*win.dilation[0]+extra[0])
		if sum == nil {
			sum = y
		} else {
			sum = op.Add(sum, y)
		}
	}
	if sum == nil {
		return nil
	}
	if sum.Dims[2]-win.pad[0]-win.pad[3] < 1 {
		c.fail("pads %v leave nothing of %v", win.pad, sum.Shape)
		return nil
	}
	sum = op.Slice(sum, 2, win.pad[0], sum.Dims[2]-win.pad[3])
	if bias == nil {
		return sum
	}
	return op.Add(sum, op.Reshape(bias, op.Dims(1, bias.Dims[0], 1, 1, 1)))
}
