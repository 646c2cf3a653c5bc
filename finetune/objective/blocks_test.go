package objective

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// Blocks of rows change neither the losses nor their gradients, whether they divide the
// batch or not.
func TestBlocksOfRows(t *testing.T) {
	const rows, dim = 14, 5
	z := make([]float32, rows*dim)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range z {
		z[i] = float32(r.NormFloat64())
	}
	defer func(size int) { blockSize = size }(blockSize)
	halves := func(f func(z1, z2 *op.Node) *op.Node) func(z *op.Node) *op.Node {
		return func(z *op.Node) *op.Node {
			return f(op.Slice(z, 0, 0, rows/2), op.Slice(z, 0, rows/2, rows))
		}
	}
	for name, f := range map[string]func(z *op.Node) *op.Node{
		"NTXentRows":  func(z *op.Node) *op.Node { return NTXentRows(z, 0.2) },
		"InfoNCERows": halves(func(a, b *op.Node) *op.Node { return InfoNCERows(a, b, 0.2) }),
		"Uniformity":  Uniformity,
	} {
		evaluate := func() [][]float32 {
			g := op.NewGraph()
			x := g.Input("z", op.Float32, op.Batched(rows, dim))
			y := f(x)
			if y == nil {
				t.Fatal(g.Err())
			}
			grads, err := engine.Backprop(op.Mean(y, false), x)
			if err != nil {
				t.Fatal(err)
			}
			p, err := engine.Go{}.Compile(engine.Function{Outputs: []export.Output{{Name: "y", Node: y}, {Name: "dz", Node: grads[0]}}})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			out, err := p.Run(context.Background(), engine.Tensors{"z": engine.NewTensor(slices.Clone(z), rows, dim)})
			if err != nil {
				t.Fatal(err)
			}
			return [][]float32{out["y"].Float32s(), out["dz"].Float32s()}
		}
		blockSize = rows * rows
		want := evaluate()
		for _, size := range []int{7 * rows, 5 * rows, rows, 1} {
			blockSize = size
			if n := len(blocks(rows, rows)); n < 2 {
				t.Fatalf("%d blocks of at most %d similarities", n, size)
			}
			for k, got := range evaluate() {
				if len(got) != len(want[k]) {
					t.Fatalf("%s: %d values, want %d", name, len(got), len(want[k]))
				}
				for i, v := range got {
					if math.Abs(float64(v-want[k][i])) > 1e-6 {
						t.Errorf("%s, blocks of %d similarities, output %d: [%d] is %g, want %g", name, size, k, i, v, want[k][i])
					}
				}
			}
		}
	}
}
