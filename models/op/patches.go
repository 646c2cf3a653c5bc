package op

// PixelShuffle makes channels into pixels (Shi et al., 2016): x: [N, C*r*r, H, W]
// becomes [N, C, H*r, W*r], as PyTorch's and as ONNX's DepthToSpace in mode CRD.
func PixelShuffle(x *Node, r int) *Node {
	if x == nil {
		return nil
	}
	if len(x.Dims) != 4 || r < 1 || x.Dims[1]%(r*r) != 0 {
		return x.graph.Fail("op: PixelShuffle: want x: [N, C*%d*%d, H, W], got %v", r, r, x)
	}
	n, c, h, w := x.Dims[0], x.Dims[1]/(r*r), x.Dims[2], x.Dims[3]
	x = Reshape(x, Shape{[]int{n, c, r, r, h, w}, x.Batch})
	x = Transpose(x, 0, 1, 4, 2, 5, 3)
	return Reshape(x, Shape{[]int{n, c, h * r, w * r}, x.Batch})
}

// PixelUnshuffle undoes PixelShuffle: x: [N, C, H*r, W*r] becomes [N, C*r*r, H, W].
func PixelUnshuffle(x *Node, r int) *Node {
	if x == nil {
		return nil
	}
	if len(x.Dims) != 4 || r < 1 || x.Dims[2]%r != 0 || x.Dims[3]%r != 0 {
		return x.graph.Fail("op: PixelUnshuffle: want x: [N, C, H*%d, W*%d], got %v", r, r, x)
	}
	n, c, h, w := x.Dims[0], x.Dims[1], x.Dims[2]/r, x.Dims[3]/r
	x = Reshape(x, Shape{[]int{n, c, h, r, w, r}, x.Batch})
	x = Transpose(x, 0, 1, 3, 5, 2, 4)
	return Reshape(x, Shape{[]int{n, c * r * r, h, w}, x.Batch})
}

// Patchify cuts x: [N, C, H, W] into patches of p x p pixels, row by row:
// [N, H/p*W/p, p*p*C]. Inside a patch the order is row, column, channel (He et al.,
// 2022, "Masked autoencoders are scalable vision learners").
func Patchify(x *Node, p int) *Node { return patches(x, p, 0, 2, 4, 3, 5, 1) }

// patches cuts images into patches; order is that of the axes N, C, rows, row in
// the patch, columns, column in the patch.
func patches(x *Node, p int, order ...int) *Node {
	if x == nil {
		return nil
	}
	if len(x.Dims) != 4 || p < 1 || x.Dims[2]%p != 0 || x.Dims[3]%p != 0 {
		return x.graph.Fail("op: Patchify: %v does not split into patches of %dx%d pixels", x, p, p)
	}
	n, c, h, w := x.Dims[0], x.Dims[1], x.Dims[2]/p, x.Dims[3]/p
	x = Reshape(x, Shape{[]int{n, c, h, p, w, p}, x.Batch})
	x = Transpose(x, order...)
	return Reshape(x, Shape{[]int{n, h * w, p * p * c}, x.Batch})
}

// Unpatchify undoes Patchify for images of h x w pixels.
func Unpatchify(x *Node, p, h, w int) *Node {
	if x == nil {
		return nil
	}
	if len(x.Dims) != 3 || p < 1 || h%p != 0 || w%p != 0 || x.Dims[1] != h/p*(w/p) || x.Dims[2]%(p*p) != 0 {
		return x.graph.Fail("op: Unpatchify: %v are not patches of %dx%d pixels of a %dx%d image", x, p, p, h, w)
	}
	n, c := x.Dims[0], x.Dims[2]/(p*p)
	x = Reshape(x, Shape{[]int{n, h / p, w / p, p, p, c}, x.Batch})
	x = Transpose(x, 0, 5, 1, 3, 2, 4)
	return Reshape(x, Shape{[]int{n, c, h, w}, x.Batch})
}

// PatchEmbed is the first layer of a vision transformer (Dosovitskiy et al., 2021):
// each patch of x: [N, C, H, W] times w: [D, C, p, p] plus bias: [D]: tokens
// [N, H/p*W/p, D]. It is Conv2D with the stride of its kernel, as one product.
func PatchEmbed(x, w, bias *Node) *Node {
	if x == nil || w == nil {
		return nil
	}
	if len(w.Dims) != 4 || w.Dims[2] != w.Dims[3] || len(x.Dims) != 4 || w.Dims[1] != x.Dims[1] {
		return x.graph.Fail("op: PatchEmbed: want x: [N, C, H, W] and w: [D, C, p, p], got %v and %v", x, w)
	}
	tokens := patches(x, w.Dims[2], 0, 2, 4, 1, 3, 5)
	return LinearTokens(tokens, Reshape(w, Dims(w.Dims[0], w.Size()/w.Dims[0])), bias)
}

// TakeRows takes rows of each matrix of x: [N, L, D]: indices: int64 [N, K] of
// 0..L-1 give [N, K, D].
func TakeRows(x, indices *Node) *Node {
	if x == nil || indices == nil {
		return nil
	}
	if len(x.Dims) != 3 || len(indices.Dims) != 2 || x.Dims[0] != indices.Dims[0] {
		return x.graph.Fail("op: TakeRows: want x: [N, L, D] and indices: [N, K], got %v and %v", x, indices)
	}
	n, k, d := x.Dims[0], indices.Dims[1], x.Dims[2]
	column := Reshape(indices, Shape{[]int{n, k, 1}, indices.Batch})
	return GatherElements(x, Expand(column, Shape{[]int{n, k, d}, indices.Batch}, indices), 1)
}

// ArgSort returns the order that sorts the last axis, smallest first: int64. Of a
// permutation it is the inverse. Integers are compared as float32, so they stay
// below 2^24.
func ArgSort(x *Node) *Node {
	if x == nil {
		return nil
	}
	if len(x.Dims) == 0 {
		return x.graph.Fail("op: ArgSort: a number has no axis to sort")
	}
	last := len(x.Dims) - 1
	_, order := TopK(Cast(x, Float32), x.Dims[last], last, false)
	return order
}

// PrependToken puts token: [1, 1, D] before the tokens of each image of x:
// [N, L, D]: [N, L+1, D].
func PrependToken(x, token *Node) *Node {
	if x == nil || token == nil {
		return nil
	}
	if len(x.Dims) != 3 || token.Size() != x.Dims[2] {
		return x.graph.Fail("op: PrependToken: want x: [N, L, D] and token: [1, 1, D], got %v and %v", x, token)
	}
	to := Shape{[]int{x.Dims[0], 1, x.Dims[2]}, x.Batch}
	return Concat(1, Expand(Reshape(token, Dims(1, 1, x.Dims[2])), to, x), x)
}
