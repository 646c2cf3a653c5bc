package op

import "math"

// LinearTokens is Linear for x: [..., K], of any number of axes.
func LinearTokens(x, w, bias *Node) *Node {
	if x == nil || w == nil {
		return nil
	}
	last := len(x.Dims) - 1
	if last < 0 || len(w.Dims) != 2 || x.Batch == last {
		return x.graph.Fail("op: LinearTokens: want x: [..., K] and w: [L, K], got %v and %v", x, w)
	}
	k := x.Dims[last]
	rows := Shape{[]int{x.Size() / k, k}, min(x.Batch, 0)}
	to := Shape{append(append([]int(nil), x.Dims[:last]...), w.Dims[0]), x.Batch}
	return Reshape(Linear(Reshape(x, rows), w, bias), to)
}

// Attention is scaled dot-product attention (Vaswani et al., 2017) of q: [..., L, D]
// to k: [..., S, D] with values v: [..., S, E]:
//
//	weights = softmax(q k^T / sqrt(D) + mask)    [..., L, S]
//	y       = weights v                          [..., L, E]
//
// mask is added to the scores: [L, S] or what broadcasts to them; nil is none.
func Attention(q, k, v, mask *Node) (y, weights *Node) {
	if q == nil || k == nil {
		return nil, nil
	}
	if len(q.Dims) < 2 || len(k.Dims) < 2 {
		return q.graph.Fail("op: Attention: want q: [..., L, D] and k: [..., S, D], got %v and %v", q, k), nil
	}
	scale := 1 / math.Sqrt(float64(q.Dims[len(q.Dims)-1]))
	scores := MatMul(Scale(q, scale), swapLast(k))
	if mask != nil {
		scores = Add(scores, mask)
	}
	weights = Softmax(scores, -1)
	return MatMul(weights, v), weights
}

// SelfAttention are the weights of PyTorch's nn.MultiheadAttention for tokens of
// size D.
type SelfAttention struct {
	InWeight, InBias   *Node // [3*D, D], the rows of q, k and v after one another, and [3*D]; the bias may be nil
	OutWeight, OutBias *Node // [D, D] and [D]
	Heads              int
}

// Apply attends from each token of x: [N, L, D] to all of them, with mask as in
// Attention. weights: [N, heads, L, L].
func (a SelfAttention) Apply(x, mask *Node) (y, weights *Node) {
	if x == nil {
		return nil, nil
	}
	if len(x.Dims) != 3 || a.Heads < 1 || x.Dims[2]%a.Heads != 0 {
		return x.graph.Fail("op: SelfAttention: want x: [N, L, D] with D a multiple of %d heads, got %v", a.Heads, x), nil
	}
	n, l, d := x.Dims[0], x.Dims[1], x.Dims[2]
	all := LinearTokens(x, a.InWeight, a.InBias)
	part := func(i int) *Node { // [N, heads, L, D/heads]
		p := Reshape(Slice(all, 2, i*d, (i+1)*d), Shape{[]int{n, l, a.Heads, d / a.Heads}, x.Batch})
		return Transpose(p, 0, 2, 1, 3)
	}
	y, weights = Attention(part(0), part(1), part(2), mask)
	y = Reshape(Transpose(y, 0, 2, 1, 3), Shape{[]int{n, l, d}, x.Batch})
	return LinearTokens(y, a.OutWeight, a.OutBias), weights
}

// CausalMask hides from each of n tokens those behind it: [n, n], to be added to
// the scores.
func CausalMask(g *Graph, n int) *Node {
	mask := make([]float32, n*n)
	for i := range n {
		for j := i + 1; j < n; j++ {
			mask[i*n+j] = float32(math.Inf(-1))
		}
	}
	return g.Const(mask, n, n)
}
