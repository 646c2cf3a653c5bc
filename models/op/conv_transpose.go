package op

// ConvTranspose2D is the transposed convolution (Dumoulin and Visin, 2016, "A guide to convolution arithmetic for deep
// learning") of x: [N, K, H, W] with w: [K, C/groups, h, w] plus bias: [C], which may be nil; the result is
// [N, C, H', W']. It is the gradient of Conv2D with respect to its input: stride spreads the input, padding cuts the
// result, and
//
//	H' = (H-1)*stride - pad(top) - pad(bottom) + dilation*(h-1) + outPad + 1
//
// outPad: rows at the bottom and columns at the right that are added to the result.
func ConvTranspose2D(x, w, bias *Node, c Conv, outPad [2]int) *Node {
	if x == nil || w == nil {
		return nil
	}
	if len(x.Dims) != 4 || len(w.Dims) != 4 {
		return x.graph.Fail("op: ConvTranspose2D: want x: [N, K, H, W] and w: [K, C/groups, h, w], got %v and %v", x, w)
	}
	c = c.withDefaults()
	var size, extra [2]int
	for i := range 2 {
		if outPad[i] < 0 {
			return x.graph.Fail("op: ConvTranspose2D: output padding %v: want 0 or more", outPad)
		}
		// A convolution leaves less than a stride over. More output padding is less
		// padding at the end, as far as there is some, and zeros beyond that.
		if over := outPad[i] - (c.Stride[i] - 1); over > 0 {
			outPad[i] -= over
			c.Pad[i+2] -= over
		}
		if c.Pad[i+2] < 0 {
			extra[i], c.Pad[i+2] = -c.Pad[i+2], 0
		}
		size[i] = (x.Dims[i+2]-1)*c.Stride[i] - c.Pad[i] - c.Pad[i+2] + c.Dilation[i]*(w.Dims[i+2]-1) + outPad[i] + 1
	}
	y := Apply(convInputGrad{c, size[0], size[1]}, x, w)
	y = Pad(Pad(y, 2, 0, extra[0]), 3, 0, extra[1])
	return addChannels(y, bias, "ConvTranspose2D")
}

// addChannels adds bias: [C], which may be nil, to y: [N, C, H, W].
func addChannels(y, bias *Node, name string) *Node {
	if y == nil || bias == nil {
		return y
	}
	if len(bias.Dims) != 1 || bias.Dims[0] != y.Dims[1] {
		return y.graph.Fail("op: %s: want bias: [%d], got %v", name, y.Dims[1], bias)
	}
	return Add(y, Reshape(bias, Dims(1, bias.Dims[0], 1, 1)))
}
