package ortpass_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/engine/ortkernel"
	"github.com/sslrt/sslrt/finetune/engine/ortpass"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
	"github.com/sslrt/sslrt/runtime/ort"
)

// convCase is one convolution with its two gradients.
type convCase struct {
	n, c, h, w, k   int
	kernel          [2]int
	conv            op.Conv
	forward, dx, dw bool // which of the three the passes should rewrite
}

func (c convCase) String() string {
	return fmt.Sprintf("%dx%dx%dx%d to %d by %v %v", c.n, c.c, c.h, c.w, c.k, c.kernel, c.conv)
}

var convCases = []convCase{
	{16, 64, 8, 8, 64, [2]int{3, 3}, op.Conv{Pad: [4]int{1, 1, 1, 1}}, true, true, true},
	{32, 64, 6, 7, 128, [2]int{3, 3}, op.Conv{Pad: [4]int{1, 1, 1, 1}}, true, true, true},
	{16, 128, 7, 5, 64, [2]int{3, 3}, op.Conv{}, true, true, true},
	{16, 64, 9, 8, 80, [2]int{3, 3}, op.Conv{Stride: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}}, true, false, true},
	{16, 64, 8, 8, 64, [2]int{3, 3}, op.Conv{Stride: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}}, true, false, true},
	{16, 64, 11, 10, 64, [2]int{3, 3}, op.Conv{Dilation: [2]int{2, 2}, Pad: [4]int{2, 2, 2, 2}}, true, true, true},
	{16, 64, 9, 9, 64, [2]int{3, 2}, op.Conv{Stride: [2]int{1, 2}, Dilation: [2]int{2, 1}, Pad: [4]int{2, 1, 1, 0}}, true, false, true},
	{16, 64, 7, 8, 64, [2]int{5, 1}, op.Conv{Pad: [4]int{2, 0, 2, 0}}, true, true, true},
	{16, 64, 8, 7, 64, [2]int{1, 4}, op.Conv{Pad: [4]int{0, 1, 0, 2}}, true, true, true},
	{16, 64, 6, 6, 64, [2]int{1, 1}, op.Conv{}, true, true, false},
	{16, 64, 8, 8, 64, [2]int{1, 1}, op.Conv{Stride: [2]int{2, 2}}, true, false, false},
	{16, 64, 8, 8, 64, [2]int{2, 2}, op.Conv{Stride: [2]int{3, 3}}, true, false, true},
	{3, 64, 5, 5, 64, [2]int{3, 3}, op.Conv{Pad: [4]int{1, 1, 1, 1}}, true, true, false},
	{16, 64, 5, 5, 70, [2]int{3, 3}, op.Conv{Pad: [4]int{1, 1, 1, 1}}, false, false, false},
	{16, 32, 5, 5, 64, [2]int{3, 3}, op.Conv{Pad: [4]int{1, 1, 1, 1}}, false, false, false},
	{16, 128, 5, 5, 128, [2]int{3, 3}, op.Conv{Groups: 2, Pad: [4]int{1, 1, 1, 1}}, false, false, false},
}

// function returns y, dx and dw of the case.
func (c convCase) function(t *testing.T) engine.Function {
	t.Helper()
	g := op.NewGraph()
	groups := max(c.conv.Groups, 1)
	x := g.Input("x", op.Float32, op.Batched(c.n, c.c, c.h, c.w))
	w := g.Input("w", op.Float32, op.Dims(c.k, c.c/groups, c.kernel[0], c.kernel[1]))
	y := op.Conv2D(x, w, nil, c.conv)
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	dy := g.Input("dy", op.Float32, op.Batched(y.Dims...))
	grads := y.Op.Grad(y.Inputs, y, dy)
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	return engine.Function{Outputs: []export.Output{{Name: "y", Node: y}, {Name: "dx", Node: grads[0]}, {Name: "dw", Node: grads[1]}}}
}

func inputs(f engine.Function) engine.Tensors {
	r := rand.New(rand.NewPCG(1, 2))
	in := engine.Tensors{}
	for _, o := range f.Outputs {
		for _, n := range op.Reachable(o.Node) {
			if n.Kind == op.Input && in[n.Name] == nil {
				data := make([]float32, n.Size())
				for i := range data {
					data[i] = float32(r.NormFloat64())
				}
				in[n.Name] = engine.NewTensor(data, n.Dims...)
			}
		}
	}
	return in
}

func run(t *testing.T, m engine.Machine, f engine.Function, in engine.Tensors) engine.Tensors {
	t.Helper()
	p, err := m.Compile(f)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out, err := p.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func needORT(t *testing.T) {
	t.Helper()
	if _, err := ort.Init(ort.FindOptions{}); errors.Is(err, ort.ErrNoLibrary) {
		t.Skip("no ONNX Runtime: run sslrt setup")
	}
}

// block returns how many channels a block has here.
func block(t *testing.T) int {
	t.Helper()
	needORT(t)
	b := engine.BlockedChannels()
	if b == 0 {
		t.Skip("ONNX Runtime has no blocked layout on this processor")
	}
	return b
}

// kernels returns the same where the library of kernels could be built.
func kernels(t *testing.T) int {
	t.Helper()
	b := block(t)
	if _, err := ortkernel.Build(context.Background(), b); errors.Is(err, ortkernel.ErrNoCompiler) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPassesKeepNumbers(t *testing.T) {
	b := block(t)
	for _, c := range convCases {
		t.Run(c.String(), func(t *testing.T) {
			f := c.function(t)
			in := inputs(f)
			want := run(t, engine.ORT{Passes: []ortpass.Pass{}}, f, in)
			for _, passes := range [][]ortpass.Pass{
				{ortpass.BlockedConv(b, 64)}, {ortpass.WeightGrad(b)}, {ortpass.StridedInputGrad(b)}, ortpass.Default(b),
			} {
				got := run(t, engine.ORT{Passes: passes}, f, in)
				for name, v := range want {
					if worst := relative(got[name].Float32s(), v.Float32s()); !(worst <= 1e-5) {
						t.Errorf("%s differs by %g of its largest value after %v", name, worst, passes[0].Name)
					}
				}
			}
		})
	}
}

// relative is the largest difference by the largest value.
func relative(got, want []float32) float64 {
	var worst, largest float64
	for i, v := range want {
		worst = max(worst, math.Abs(float64(got[i]-v)))
		largest = max(largest, math.Abs(float64(v)))
	}
	return worst / largest
}

// lowered returns the model of f after passes.
func lowered(t *testing.T, f engine.Function, passes ...ortpass.Pass) *onnx.Model {
	t.Helper()
	m, err := engine.ORT{}.Lower(f, export.Options{Shapes: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := ortpass.Apply(m, passes...); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPassesRewriteWhatTheyShould(t *testing.T) {
	for _, c := range convCases {
		f := c.function(t)
		convs := 0
		for _, rewritten := range []bool{c.forward, c.dx} {
			if rewritten {
				convs++
			}
		}
		if got := blockedConvs(lowered(t, f, ortpass.BlockedConv(8, 64))); got != convs {
			t.Errorf("%v: %d blocked convolutions, want %d", c, got, convs)
		}
		grads := 0
		if c.dw {
			grads = 1
		}
		if got := blockedConvs(lowered(t, f, ortpass.WeightGrad(8))); got != grads {
			t.Errorf("%v: %d blocked weight gradients, want %d", c, got, grads)
		}
	}
}

func blockedConvs(m *onnx.Model) int {
	count := 0
	for _, n := range m.Graph.Nodes {
		if n.OpType == "Conv" && n.Domain == "com.microsoft.nchwc" {
			count++
		}
	}
	return count
}

// buildStep builds a SimCLR step with its gradients.
func buildStep(t *testing.T, enc models.ResNet, images, size int) *train.Program {
	t.Helper()
	step, err := train.Build(train.Config{
		Objective: objective.SimCLR{Encoder: enc, Projector: models.NewProjector(enc.Size(), 128), Temperature: .5},
		Optimizer: optim.SGD{Momentum: .9, Decay: optim.Decay{Rate: 5e-4}},
		Rate:      func(train.Step) float64 { return .06 },
		BatchSize: images, Image: []int{3, size, size}, Gradients: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return step
}

// TestPassesKeepTheStep compares loss, gradients and new weights of a step. The
// network is smooth: with ReLU, rounding may put a value on the other side.
func TestPassesKeepTheStep(t *testing.T) {
	b := block(t)
	enc := models.ResNet{Blocks: []int{1, 1}, Widths: []int{64, 128}, Stem: models.StemCIFAR, Activation: models.SiLU}
	step := buildStep(t, enc, 8, 16)
	plain := runStep(t, engine.ORT{Passes: []ortpass.Pass{}}, step)
	for _, passes := range [][]ortpass.Pass{ortpass.Default(b), ortpass.WithKernels(kernels(t))} {
		got := runStep(t, engine.ORT{Passes: passes}, step)
		for name, v := range plain {
			if worst := relative(got[name].Float32s(), v.Float32s()); !(worst <= 1e-4) {
				t.Errorf("%s differs by %g of its largest value after %v", name, worst, engine.PassNames(passes))
			}
		}
	}
}

// runStep returns the results of a step, its gradients and the new parameters.
func runStep(t *testing.T, m engine.Machine, step *train.Program) engine.Tensors {
	t.Helper()
	p, err := m.Compile(step.Function)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Load(engine.Tensors(step.Params.Init(1))); err != nil {
		t.Fatal(err)
	}
	in := step.Inputs(train.Step{Total: 10})
	r := rand.New(rand.NewPCG(3, 4))
	views := make([]float32, 16*3*16*16)
	for i := range views {
		views[i] = float32(r.NormFloat64())
	}
	in[train.InputViews] = engine.NewTensor(views, 16, 3, 16, 16)
	out, err := p.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range p.State() {
		out[name] = v
	}
	return out
}

// TestPassesKnowTheStep guards the patterns: when the lowering writes a gradient
// another way, the passes must learn it.
func TestPassesKnowTheStep(t *testing.T) {
	enc, err := models.NewResNet("resnet18", models.StemCIFAR, 1)
	if err != nil {
		t.Fatal(err)
	}
	f := buildStep(t, enc, 8, 32).Function
	// All 20 convolutions are rewritten; of their input gradients the 13 with stride 1,
	// and those with stride 2, which become four, or one where the kernel is 1x1; of
	// their weight gradients those of 3x3 behind the stem.
	const want = 20 + 13 + 3*4 + 3*1 + 16
	if got := blockedConvs(lowered(t, f, ortpass.Default(16)...)); got != want {
		t.Errorf("got %d blocked convolutions, want %d", got, want)
	}
}
