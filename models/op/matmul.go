package op

import (
	"fmt"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// MatMul multiplies the last two axes of a: [..., M, K] and b: [..., K, L]. The
// axes before them broadcast.
func MatMul(a, b *Node) *Node { return Apply(matmul{}, a, b) }

// Linear returns x w^T + bias for x: [N, K], w: [L, K] and bias: [L], which may
// be nil: PyTorch's nn.Linear.
func Linear(x, w, bias *Node) *Node {
	return addBias(Apply(gemm{transB: true}, x, w), bias)
}

// Gemm multiplies two matrices, each of them transposed first if its flag is set.
func Gemm(a, b *Node, transA, transB bool) *Node { return Apply(gemm{transA, transB}, a, b) }

func addBias(y, bias *Node) *Node {
	if bias == nil {
		return y
	}
	return Add(y, bias)
}

var impl gonum.Implementation

// multiply computes c = op(a) op(b), c: [m, n], with k terms each, on the caller's
// goroutine when small and in parallel when large.
func multiply(ta, tb blas.Transpose, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int) {
	impl.Sgemm(ta, tb, m, n, k, 1, a, lda, b, ldb, 0, c, ldc)
}

func transposeFlag(t bool) blas.Transpose {
	if t {
		return blas.Trans
	}
	return blas.NoTrans
}

// gemm multiplies two matrices, each of them transposed first if its flag is set.
type gemm struct{ transA, transB bool }

func (o gemm) String() string { return fmt.Sprintf("Gemm(transA=%t transB=%t)", o.transA, o.transB) }

func (o gemm) Infer(in []Type) (Type, error) {
	a, b := in[0], in[1]
	if len(a.Dims) != 2 || len(b.Dims) != 2 {
		return Type{}, fmt.Errorf("want two matrices, got %v and %v", a, b)
	}
	i, j := 0, 1 // rows of op(a), columns of op(b)
	if o.transA {
		i = 1
	}
	if o.transB {
		j = 0
	}
	if a.Dims[1-i] != b.Dims[1-j] {
		return Type{}, fmt.Errorf("inner sizes differ: %d and %d", a.Dims[1-i], b.Dims[1-j])
	}
	out := a.like(-1, a.Dims[i], b.Dims[j])
	switch {
	case a.Batch == i:
		out.Batch = 0
	case b.Batch == j:
		out.Batch = 1
	}
	return out, needFloat(in...)
}

func (o gemm) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	as, bs := in[0].Shape(), in[1].Shape()
	m, k, n := as[0], as[1], bs[1]
	if o.transA {
		m, k = k, m
	}
	if o.transB {
		n = bs[0]
	}
	out, y := zeros(m, n)
	multiply(transposeFlag(o.transA), transposeFlag(o.transB), m, n, k, f32(in[0]), as[1], f32(in[1]), bs[1], y, n)
	return out, nil
}

func (o gemm) Grad(in []*Node, y, dy *Node) []*Node {
	a, b := in[0], in[1]
	var da, db *Node
	if o.transA {
		da = Apply(gemm{o.transB, true}, b, dy)
	} else {
		da = Apply(gemm{false, !o.transB}, dy, b)
	}
	if o.transB {
		db = Apply(gemm{true, o.transA}, dy, a)
	} else {
		db = Apply(gemm{!o.transA, false}, a, dy)
	}
	return []*Node{da, db}
}

func (o gemm) ONNX(l *Lowering, n *Node, in []string) string {
	var attrs []*onnx.Attr
	if o.transA {
		attrs = append(attrs, onnx.IntAttr("transA", 1))
	}
	if o.transB {
		attrs = append(attrs, onnx.IntAttr("transB", 1))
	}
	return l.Node("Gemm", in, attrs...)
}

// matmul multiplies stacks of matrices.
type matmul struct{}

func (matmul) String() string { return "MatMul" }

func (matmul) Infer(in []Type) (Type, error) {
	a, b := in[0], in[1]
	ra, rb := len(a.Dims), len(b.Dims)
	if ra < 2 || rb < 2 {
		return Type{}, fmt.Errorf("want two axes or more, got %v and %v", a, b)
	}
	if a.Dims[ra-1] != b.Dims[rb-2] {
		return Type{}, fmt.Errorf("inner sizes differ: %v and %v", a, b)
	}
	s, err := broadcast(stack(a.Shape), stack(b.Shape))
	if err != nil {
		return Type{}, err
	}
	out := a.like(s.Batch, append(s.Dims, a.Dims[ra-2], b.Dims[rb-1])...)
	switch {
	case a.Batch == ra-2:
		out.Batch = len(out.Dims) - 2
	case b.Batch == rb-1:
		out.Batch = len(out.Dims) - 1
	}
	return out, needFloat(in...)
}

// stack returns s without its last two axes.
func stack(s Shape) Shape {
	out := Shape{slices.Clone(s.Dims[:len(s.Dims)-2]), s.Batch}
	if out.Batch >= len(out.Dims) {
		out.Batch = -1
	}
	return out
}

func (matmul) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	as, bs := in[0].Shape(), in[1].Shape()
	m, k, n := as[len(as)-2], as[len(as)-1], bs[len(bs)-1]
	sa, sb := []int(as[:len(as)-2]), []int(bs[:len(bs)-2])
	s, err := broadcast(Dims(sa...), Dims(sb...))
	if err != nil {
		return nil, err
	}
	out, y := zeros(append(slices.Clone(s.Dims), m, n)...)
	a, b := f32(in[0]), f32(in[1])
	ta, tb := broadcastStrides(sa, s.Dims), broadcastStrides(sb, s.Dims)
	for i := range s.Size() {
		ia, ib := offset(i, s.Dims, ta)*m*k, offset(i, s.Dims, tb)*k*n
		multiply(blas.NoTrans, blas.NoTrans, m, n, k, a[ia:ia+m*k], k, b[ib:ib+k*n], n, y[i*m*n:(i+1)*m*n], n)
	}
	return out, nil
}

func (matmul) Grad(in []*Node, y, dy *Node) []*Node {
	a, b := in[0], in[1]
	return []*Node{sumLike(MatMul(dy, swapLast(b)), a), sumLike(MatMul(swapLast(a), dy), b)}
}

func (matmul) ONNX(l *Lowering, n *Node, in []string) string { return l.Node("MatMul", in) }

// swapLast transposes the last two axes.
func swapLast(x *Node) *Node {
	perm := make([]int, len(x.Dims))
	for i := range perm {
		perm[i] = i
	}
	n := len(perm)
	perm[n-2], perm[n-1] = n-1, n-2
	return Transpose(x, perm...)
}
