package op_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// Finite differences: central, of L = sum(y * up) added up in float64 from float32
// results. At this step their own error is below 1 % of the largest gradient.
const (
	step                = 0.02
	differenceTolerance = 0.01
)

func TestGradientsAreSlopes(t *testing.T) {
	everyCase(t, func(t *testing.T, c tableCase) {
		b := c.make(t, batchSize)
		b.differentiate(t)
		got := run(t, engine.Go{Tape: true}, b.function(), b.feeds)
		p, err := engine.Go{}.Compile(engine.Function{Outputs: b.function().Outputs[:1]})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		loss := func() float64 {
			out, err := p.Run(t.Context(), b.feeds)
			if err != nil {
				t.Fatal(err)
			}
			sum := 0.0
			for i, y := range out["y"].Float32s() {
				sum += float64(y) * float64(b.up[i])
			}
			return sum
		}
		for i, in := range c.inputs {
			if in.domain == fixed {
				continue
			}
			x := b.feeds[fmt.Sprintf("x%d", i)].Float32s()
			slopes := make([]float64, len(x))
			for j := range x {
				was := x[j]
				x[j] = was + step
				up, above := loss(), x[j]
				x[j] = was - step
				slopes[j] = (up - loss()) / (float64(above) - float64(x[j]))
				x[j] = was
			}
			grads := make([]float32, len(x)) // nil: nothing depends on the input
			if v := got[fmt.Sprintf("dx%d", i)]; v != nil {
				grads = v.Float32s()
			} else if c.name != "StopGradient" && !strings.HasPrefix(c.name, "BatchNormEval") {
				t.Errorf("no gradient by input %d", i)
			}
			if c.name == "StopGradient" || strings.HasPrefix(c.name, "BatchNormEval") && i == 2 {
				continue // the slope is not what is asked for: TestStopGradient
			}
			largest := 1e-3
			for _, s := range slopes {
				largest = max(largest, math.Abs(s))
			}
			for j, s := range slopes {
				if d := math.Abs(float64(grads[j]) - s); !(d <= differenceTolerance*largest) {
					t.Errorf("input %d, element %d: gradient %g, slope %g (largest %g)", i, j, grads[j], s, largest)
				}
			}
		}
	})
}

func TestMachinesAgree(t *testing.T) {
	second := ortMachine(t)
	everyCase(t, func(t *testing.T, c tableCase) {
		b := c.make(t, batchSize)
		b.differentiate(t)
		want := run(t, engine.Go{}, b.function(), b.feeds)
		for name, v := range run(t, second, b.function(), b.feeds) {
			if d := distance(t, v, want[name]); !(d <= 1e-5) {
				t.Errorf("%s: the machines differ by %.3g of the largest value:\n%v\n%v", name, d, v, want[name])
			}
		}
	})
}

// TestBatchStaysOpen: what is lowered at two sizes of the batch is one file.
func TestBatchStaysOpen(t *testing.T) {
	everyCase(t, func(t *testing.T, c tableCase) {
		if c.training {
			t.Skip("only training needs it")
		}
		files := map[int][]byte{}
		for _, n := range []int{2, 3} {
			b := c.make(t, n)
			m, err := export.Lower(b.function().Outputs, export.Options{DynamicBatch: true})
			if err != nil {
				t.Fatal(err)
			}
			if files[n], err = m.Marshal(); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(files[2], files[3]) {
			t.Error("the files for 2 and 3 images differ")
		}
	})
}

// TestKernels runs every node of forward and backward pass by itself: results are
// as the shape rule says, repeatable, memory of their own, and inputs stay what
// they were. The machines, gorgonia's tape above all, give the same bits.
func TestKernels(t *testing.T) {
	everyCase(t, func(t *testing.T, c tableCase) {
		b := c.make(t, batchSize)
		b.differentiate(t)
		roots := []*op.Node{b.y}
		for _, g := range b.grads {
			if g != nil {
				roots = append(roots, g)
			}
		}
		value := map[*op.Node]*tensor.Dense{}
		for _, n := range op.Reachable(roots...) {
			switch n.Kind {
			case op.Const:
				value[n] = n.Value()
			case op.Input:
				value[n] = b.feeds[n.Name]
			case op.Computed:
				value[n] = runKernel(t, n, value)
			}
		}
		for _, m := range []engine.Go{{}, {Tape: true}} {
			got := run(t, m, b.function(), b.feeds)
			for _, o := range b.function().Outputs {
				if !sameBits(got[o.Name], value[o.Node]) {
					t.Errorf("%s: %+v has another value", o.Name, m)
				}
			}
		}
	})
}

func runKernel(t *testing.T, n *op.Node, value map[*op.Node]*tensor.Dense) *tensor.Dense {
	t.Helper()
	var in, before []*tensor.Dense
	for _, x := range n.Inputs {
		in = append(in, value[x])
		before = append(before, value[x].Clone().(*tensor.Dense))
	}
	out, err := n.Op.Run(in)
	if err != nil {
		t.Fatalf("%v: %v", n, err)
	}
	if !slices.Equal([]int(out.Shape()), n.Dims) || out.Dtype() != n.DType.Tensor() {
		t.Errorf("%v: got %v%v", n, out.Dtype(), out.Shape())
	}
	for i := range in {
		if !sameBits(in[i], before[i]) {
			t.Errorf("%v writes to its input %d", n, i)
		}
		if overlap(out, in[i]) {
			t.Errorf("%v returns memory of its input %d", n, i)
		}
	}
	again, err := n.Op.Run(in)
	if err != nil || !sameBits(again, out) || overlap(again, out) {
		t.Errorf("%v: a second run gives something else (%v)", n, err)
	}
	return out
}

func sameBits(a, b *tensor.Dense) bool {
	switch a.Dtype() {
	case tensor.Int64:
		return slices.Equal(a.Int64s(), b.Int64s())
	case tensor.Int32:
		return slices.Equal(a.Int32s(), b.Int32s())
	case tensor.Bool:
		return slices.Equal(a.Bools(), b.Bools())
	}
	return slices.EqualFunc(a.Float32s(), b.Float32s(), func(x, y float32) bool {
		return math.Float32bits(x) == math.Float32bits(y)
	})
}

// overlap reports whether two tensors share memory.
func overlap(a, b *tensor.Dense) bool {
	span := func(t *tensor.Dense) (lo, hi uintptr) {
		lo = t.Uintptr()
		return lo, lo + t.MemSize()
	}
	alo, ahi := span(a)
	blo, bhi := span(b)
	return alo < bhi && blo < ahi
}

// What must be there before may be NaN or infinite.
func TestAfterTakesNothingFromWhatCameBefore(t *testing.T) {
	machines := []engine.Machine{engine.Go{}, ortMachine(t)}
	for _, m := range machines {
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat32} {
			g := op.NewGraph()
			x, y := g.Input("x", op.Float32, op.Batched(2, 3)), g.Input("y", op.Float32, op.Batched(2, 2))
			out := run(t, m, engine.Function{Outputs: []export.Output{{Name: "z", Node: op.Neg(op.After(x, y))}}}, engine.Tensors{
				"x": engine.NewTensor([]float32{1, 2, 3, 4, 5, 6}, 2, 3),
				"y": engine.NewTensor([]float32{float32(bad), 0, 0, float32(bad)}, 2, 2)})
			for i, v := range out["z"].Float32s() {
				if v != -float32(i+1) {
					t.Errorf("%s after %g: [%d] is %g", m.Name(), bad, i, v)
				}
			}
		}
	}
}

func TestStopGradient(t *testing.T) {
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Dims(3))
	y := op.Mul(x, op.StopGradient(op.Exp(x)))
	grads, err := engine.Backprop(op.Sum(y, false), x)
	if err != nil {
		t.Fatal(err)
	}
	v := []float32{-1, 0.5, 2}
	out := run(t, engine.Go{}, engine.Function{Outputs: []export.Output{{Name: "dx", Node: grads[0]}}},
		engine.Tensors{"x": engine.NewTensor(v, 3)})
	for i, d := range out["dx"].Float32s() {
		if want := math.Exp(float64(v[i])); math.Abs(float64(d)-want) > 1e-6*want {
			t.Errorf("gradient at %g: got %g, want exp(x) = %g", v[i], d, want)
		}
	}
}
