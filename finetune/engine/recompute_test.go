package engine_test

import (
	"slices"
	"testing"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// deep is a loss of blocks one after the other, each of them x + tanh(tanh(x w) w): its
// gradients by w, and what they are computed from.
func deep(t *testing.T, blocks int, backprop func(loss *op.Node, wrt ...*op.Node) ([]*op.Node, error)) (f engine.Function, in engine.Tensors) {
	t.Helper()
	const rows, width = 6, 4
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Batched(rows, width))
	in = engine.Tensors{"x": engine.NewTensor(ramp(rows*width, 0.7), rows, width)}
	var weights []*op.Node
	h := op.Tanh(x)
	for i := range blocks {
		name := string(rune('a' + i))
		w := g.Input(name, op.Float32, op.Dims(width, width))
		in[name] = engine.NewTensor(ramp(width*width, 0.3+float32(i)), width, width)
		weights = append(weights, w)
		h = g.Block(func() *op.Node {
			inner := op.Tanh(op.MatMul(h, w))
			return op.Add(h, op.Tanh(op.MatMul(inner, w)))
		})
	}
	if g.Blocks() != blocks {
		t.Errorf("%d blocks, want %d", g.Blocks(), blocks)
	}
	loss := op.Mean(op.Mul(h, h), false)
	grads, err := backprop(loss, weights...)
	if err != nil {
		t.Fatal(err)
	}
	f.Outputs = []export.Output{{Name: "loss", Node: loss}}
	for i, d := range grads {
		f.Outputs = append(f.Outputs, export.Output{Name: "d" + weights[i].Name, Node: d})
	}
	return f, in
}

func ramp(n int, by float32) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32((i*7+3)%11)/11 - by/3
	}
	return x
}

func TestCheckpointedGradients(t *testing.T) {
	for _, m := range machines(t) {
		plain, in := deep(t, 5, engine.Backprop)
		checkpointed, _ := deep(t, 5, engine.BackpropCheckpointed)
		want, got := runOnce(t, m, plain, in), runOnce(t, m, checkpointed, in)
		for name, v := range want {
			if !slices.Equal(got[name].Float32s(), v.Float32s()) {
				t.Errorf("%s: %s is %v, want the same bits as without checkpoints: %v", m.Name(), name, got[name], v)
			}
		}
	}
}

// What a block computes is needed for its gradients: either its values are kept through
// the rest of the forward pass, or they are computed again, behind the gradients of the
// blocks that follow.
func TestCheckpointsBoundWhatIsKept(t *testing.T) {
	kept := func(blocks int, backprop func(loss *op.Node, wrt ...*op.Node) ([]*op.Node, error)) (atLoss, most int) {
		f, _ := deep(t, blocks, backprop)
		var roots []*op.Node
		for _, o := range f.Outputs {
			roots = append(roots, o.Node)
		}
		// The order of the Go machine.
		order := op.Reachable(roots...)
		last := map[*op.Node]int{}
		for i, n := range order {
			for _, in := range n.Inputs {
				last[in] = i
			}
		}
		live := 0
		for i, n := range order {
			if n.Kind != op.Computed {
				continue
			}
			live++
			most = max(most, live)
			if n == roots[0] {
				atLoss = live
			}
			for k, in := range n.Inputs {
				if in.Kind == op.Computed && last[in] == i && !slices.Contains(n.Inputs[:k], in) {
					live--
				}
			}
		}
		return atLoss, most
	}
	for _, blocks := range []int{4, 12} {
		plain, _ := kept(blocks, engine.Backprop)
		atLoss, most := kept(blocks, engine.BackpropCheckpointed)
		// Of each block its result, and in the backward pass the values of one more.
		if atLoss > blocks+3 || most > blocks+7 || plain < 3*blocks {
			t.Errorf("%d blocks: %d values are kept at the loss and %d at most, %d without checkpoints", blocks, atLoss, most, plain)
		}
	}
}

// ONNX Runtime orders what it can: a copy must depend on the gradient before it.
func TestCopiesWaitForTheirGradient(t *testing.T) {
	f, _ := deep(t, 3, engine.BackpropCheckpointed)
	copies := 0
	for _, o := range f.Outputs[1:] {
		for _, n := range op.Reachable(o.Node) {
			if n.ID() < f.Outputs[0].Node.ID() || n.Op == nil || n.Op.String() != "Tanh" {
				continue
			}
			copies++
			if !slices.ContainsFunc(op.Reachable(n), func(m *op.Node) bool { return m.Op != nil && m.Op.String() == "After" }) {
				t.Errorf("%v is computed anew and waits for nothing", n)
			}
		}
	}
	if copies == 0 {
		t.Error("nothing is computed anew")
	}
}
