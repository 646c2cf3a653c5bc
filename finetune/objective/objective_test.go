package objective_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/models/op"
)

// evaluate runs a loss of z: [rows, dim] on the machine in Go.
func evaluate(t testing.TB, z []float32, rows int, loss func(z *op.Node) *op.Node) float64 {
	t.Helper()
	g := op.NewGraph()
	dim := len(z) / rows
	out := loss(g.Input("z", op.Float32, op.Batched(rows, dim)))
	p, err := engine.Go{}.Compile(engine.Function{Outputs: []export.Output{{Name: "loss", Node: out}}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	values, err := p.Run(context.Background(), engine.Tensors{"z": engine.NewTensor(z, rows, dim)})
	if err != nil {
		t.Fatal(err)
	}
	return float64(values["loss"].Float32s()[0])
}

func ntxent(temperature float64) func(z *op.Node) *op.Node {
	return func(z *op.Node) *op.Node { return objective.NTXent(z, temperature) }
}

// axes returns unit vectors: row i of the first views is axis i, scaled, and so is
// its partner.
func axes(n, dim int) []float32 {
	z := make([]float32, 2*n*dim)
	for i := range n {
		z[i*dim+i], z[(n+i)*dim+i] = 3, 0.5
	}
	return z
}

func TestNTXentClosedForms(t *testing.T) {
	const n, T = 4, 0.5
	same := make([]float32, 2*n*3)
	for i := range same {
		same[i] = 1
	}
	for name, c := range map[string]struct {
		z    []float32
		want float64
	}{
		"collapsed":  {same, math.Log(2*n - 1)},
		"orthogonal": {axes(n, 6), math.Log(math.Exp(1/T)+2*n-2) - 1/T},
	} {
		if got := evaluate(t, c.z, 2*n, ntxent(T)); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%s: got %.9g, want %.9g", name, got, c.want)
		}
	}
}

func TestInfoNCEClosedForm(t *testing.T) {
	const n, T = 5, 0.1
	got := evaluate(t, axes(n, n), 2*n, func(z *op.Node) *op.Node {
		return objective.InfoNCE(op.Slice(z, 0, 0, n), op.Slice(z, 0, n, 2*n), T)
	})
	if want := math.Log(math.Exp(1/T)+n-1) - 1/T; math.Abs(got-want) > 1e-6 {
		t.Errorf("got %.9g, want %.9g", got, want)
	}
}

func TestAlignmentAndUniformity(t *testing.T) {
	z := []float32{1, 0, 0, 1, 0, 2, 3, 0} // each view is orthogonal to its partner
	if got := evaluate(t, z, 4, objective.Alignment); math.Abs(got-2) > 1e-6 {
		t.Errorf("alignment %g, want 2", got)
	}
	// Of the 12 ordered pairs 4 are equal and 8 orthogonal (d^2 = 2).
	if got, want := evaluate(t, z, 4, objective.Uniformity), math.Log((4+8*math.Exp(-4))/12); math.Abs(got-want) > 1e-6 {
		t.Errorf("uniformity %g, want %g", got, want)
	}
}

func TestCrossEntropyClosedForm(t *testing.T) {
	g := op.NewGraph()
	logits := g.Input("logits", op.Float32, op.Batched(2, 3))
	labels := g.Input("labels", op.Int64, op.Batched(2))
	p, err := engine.Go{}.Compile(engine.Function{Outputs: []export.Output{{Name: "loss", Node: objective.CrossEntropy(logits, labels)}}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out, err := p.Run(context.Background(), engine.Tensors{
		"logits": engine.NewTensor([]float32{0, 0, 0, float32(math.Log(2)), 0, 0}, 2, 3),
		"labels": engine.NewTensor([]int64{2, 0}, 2),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := (math.Log(3) + math.Log(2)) / 2 // -log(1/3), -log(2/4)
	if got := float64(out["loss"].Float32s()[0]); math.Abs(got-want) > 1e-6 {
		t.Errorf("got %g, want %g", got, want)
	}
}

func TestLossErrors(t *testing.T) {
	for want, build := range map[string]func(g *op.Graph) *op.Node{
		"[2N, D]":     func(g *op.Graph) *op.Node { return objective.NTXent(g.Input("z", op.Float32, op.Batched(3, 2)), 1) },
		"more than 0": func(g *op.Graph) *op.Node { return objective.NTXent(g.Input("z", op.Float32, op.Batched(4, 2)), 0) },
		"z1, z2: [N, D]": func(g *op.Graph) *op.Node {
			return objective.InfoNCE(g.Input("a", op.Float32, op.Batched(4, 2)), g.Input("b", op.Float32, op.Batched(3, 2)), 1)
		},
		"two rows": func(g *op.Graph) *op.Node { return objective.Uniformity(g.Input("z", op.Float32, op.Batched(1, 2))) },
	} {
		g := op.NewGraph()
		build(g)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

// Four images whose two views agree, in a space where all four are orthogonal.
func ExampleNTXent() {
	g := op.NewGraph()
	z := g.Const(axes(4, 4), 8, 4)
	x := g.Input("scale", op.Float32, op.Dims())
	p, err := engine.Go{}.Compile(engine.Function{Outputs: []export.Output{
		{Name: "loss", Node: objective.NTXent(op.Mul(z, x), 0.5)}}})
	if err != nil {
		panic(err)
	}
	defer p.Close()
	out, err := p.Run(context.Background(), engine.Tensors{"scale": engine.NewTensor([]float32{2})})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%.4f\n", out["loss"].Float32s()[0])
	// Output: 0.5944
}
