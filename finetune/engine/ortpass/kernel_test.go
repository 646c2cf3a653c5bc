package ortpass_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/engine/ortpass"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// kernelCases are convolutions beside convCases that the kernel alone takes.
var kernelCases = []convCase{
	{n: 2, c: 16, h: 5, w: 6, k: 16, kernel: [2]int{3, 3}, conv: op.Conv{Pad: [4]int{1, 1, 1, 1}}},
	{n: 2, c: 48, h: 3, w: 29, k: 16, kernel: [2]int{3, 3}, conv: op.Conv{Pad: [4]int{1, 1, 1, 1}}},
	{n: 2, c: 16, h: 1, w: 1, k: 32, kernel: [2]int{3, 3}, conv: op.Conv{Pad: [4]int{1, 1, 1, 1}}},
	{n: 3, c: 16, h: 4, w: 7, k: 16, kernel: [2]int{3, 3}},
	{n: 2, c: 32, h: 6, w: 2, k: 16, kernel: [2]int{2, 3}, conv: op.Conv{Stride: [2]int{2, 1}, Pad: [4]int{1, 2, 0, 1}}},
	{n: 2, c: 16, h: 3, w: 1, k: 48, kernel: [2]int{3, 3}, conv: op.Conv{Pad: [4]int{1, 0, 1, 2}}},
	{n: 3, c: 3, h: 9, w: 8, k: 32, kernel: [2]int{3, 3}, conv: op.Conv{Pad: [4]int{1, 1, 1, 1}}},
	{n: 2, c: 3, h: 21, w: 20, k: 48, kernel: [2]int{7, 7}, conv: op.Conv{Stride: [2]int{2, 2}, Pad: [4]int{3, 3, 3, 3}}},
	{n: 5, c: 1, h: 8, w: 8, k: 16, kernel: [2]int{4, 4}, conv: op.Conv{Stride: [2]int{4, 4}}},
	{n: 7, c: 48, h: 8, w: 6, k: 48, kernel: [2]int{3, 3}, conv: op.Conv{Stride: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}}},
	{n: 2, c: 64, h: 40, w: 36, k: 16, kernel: [2]int{1, 1}, conv: op.Conv{Stride: [2]int{2, 2}}},
	{n: 2, c: 32, h: 6, w: 6, k: 32, kernel: [2]int{5, 5}, conv: op.Conv{Stride: [2]int{3, 2}, Dilation: [2]int{1, 2}, Pad: [4]int{4, 1, 0, 3}}},
}

// depthwiseCases are convolutions in which each channel has a kernel of its own.
var depthwiseCases = []convCase{
	{n: 3, c: 32, h: 7, w: 6, k: 32, kernel: [2]int{3, 3}, conv: op.Conv{Groups: 32, Pad: [4]int{1, 1, 1, 1}}},
	{n: 9, c: 48, h: 8, w: 9, k: 48, kernel: [2]int{3, 3}, conv: op.Conv{Groups: 48, Stride: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}}},
	{n: 2, c: 16, h: 11, w: 12, k: 16, kernel: [2]int{5, 3}, conv: op.Conv{Groups: 16, Stride: [2]int{1, 2}, Dilation: [2]int{2, 1}, Pad: [4]int{4, 0, 3, 1}}},
	{n: 2, c: 24, h: 5, w: 5, k: 24, kernel: [2]int{3, 3}, conv: op.Conv{Groups: 24, Pad: [4]int{1, 1, 1, 1}}}, // no whole blocks
}

func TestDepthwiseKernelIsUsed(t *testing.T) {
	for _, c := range depthwiseCases {
		m := lowered(t, c.function(t), ortpass.DepthwiseKernel(16))
		want := 1
		if c.c%16 != 0 {
			want = 0
		}
		for _, opType := range []string{"DepthwiseInputGrad", "DepthwiseWeightGrad"} {
			if got := count(m, opType); got != want {
				t.Errorf("%v: %d nodes %s, want %d", c, got, opType, want)
			}
		}
		if got := blockedConvs(m); got != want {
			t.Errorf("%v: %d blocked convolutions, want %d", c, got, want)
		}
	}
}

func TestKernelsKeepNumbers(t *testing.T) {
	b := kernels(t)
	for _, c := range slices.Concat(kernelCases, depthwiseCases, convCases) {
		t.Run(c.String(), func(t *testing.T) {
			f := c.function(t)
			in := inputs(f)
			want := run(t, engine.ORT{Passes: []ortpass.Pass{}}, f, in)
			got := run(t, engine.ORT{Passes: ortpass.WithKernels(b)}, f, in)
			for name, v := range want {
				if worst := relative(got[name].Float32s(), v.Float32s()); !(worst <= 1e-5) {
					t.Errorf("%s differs by %g of its largest value", name, worst)
				}
			}
		})
	}
}

func TestWeightGradKernelIsUsed(t *testing.T) {
	for _, c := range append(kernelCases, convCases...) {
		m := lowered(t, c.function(t), ortpass.WeightGradKernel(16))
		want := 1
		if c.k%16 != 0 || c.conv.Groups > 1 {
			want = 0
		}
		if got := count(m, "ConvWeightGrad"); got != want {
			t.Errorf("%v: %d weight gradients by the kernel, want %d", c, got, want)
		}
	}
}

func TestNarrowConvIsUsed(t *testing.T) {
	for _, c := range kernelCases {
		m := lowered(t, c.function(t), ortpass.BlockedConv(16, 16), ortpass.NarrowConv(16))
		same := c.kernel == [2]int{3, 3} && c.conv.Stride == [2]int{} && c.conv.Pad == [4]int{1, 1, 1, 1}
		want := 0 // forward and input gradient
		if same && c.k == 16 && c.c%16 == 0 {
			want++
		}
		if same && c.c == 16 && c.k%16 == 0 {
			want++
		}
		if got := count(m, "Conv3x3"); got != want {
			t.Errorf("%v: %d convolutions by the kernel, want %d", c, got, want)
		}
	}
}

func count(m *onnx.Model, opType string) (n int) {
	for _, node := range m.Graph.Nodes {
		if node.OpType == opType {
			n++
		}
	}
	return n
}

// normCase is a batch normalisation with what may follow it.
type normCase struct {
	n, c, h, w int
	add, relu  bool
	other      bool // the gradient and the results have a second user
}

func (c normCase) String() string {
	return fmt.Sprintf("%dx%dx%dx%d add=%v relu=%v other=%v", c.n, c.c, c.h, c.w, c.add, c.relu, c.other)
}

// function returns the results of the case and all gradients of the sum of their
// products with dy.
func (c normCase) function(t *testing.T) engine.Function {
	t.Helper()
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Batched(c.n, c.c, c.h, c.w))
	weight := g.Input("weight", op.Float32, op.Dims(c.c))
	bias := g.Input("bias", op.Float32, op.Dims(c.c))
	dy := g.Input("dy", op.Float32, op.Batched(c.n, c.c, c.h, c.w))
	leaves := []*op.Node{x, weight, bias}
	x = op.Scale(x, 2) // as a layer before it would, so that its gradient is not the end
	y, mean, variance := op.BatchNormTrain(x, weight, bias, 1e-5)
	if c.add {
		residual := g.Input("residual", op.Float32, op.Batched(c.n, c.c, c.h, c.w))
		leaves = append(leaves, residual)
		y = op.Add(y, residual)
	}
	if c.relu {
		y = op.ReLU(y)
	}
	outputs := []export.Output{{Name: "y", Node: y}, {Name: "mean", Node: mean}, {Name: "variance", Node: variance}}
	loss := op.Sum(op.Mul(y, dy), false)
	if c.other {
		loss = op.Add(loss, op.Sum(op.Mul(op.Mul(y, y), op.Scale(dy, .3)), false))
	}
	grads, err := engine.Backprop(loss, leaves...)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range grads {
		outputs = append(outputs, export.Output{Name: "d" + leaves[i].Name, Node: n})
	}
	return engine.Function{Outputs: outputs}
}

func TestNormKernel(t *testing.T) {
	b := kernels(t)
	r := rand.New(rand.NewPCG(5, 6))
	for _, add := range []bool{false, true} {
		for _, relu := range []bool{false, true} {
			for _, other := range []bool{false, true} {
				for _, size := range [][4]int{{4, b, 5, 3}, {3, 3 * b, 1, 1}, {2, 2 * b, 8, 8}} {
					c := normCase{size[0], size[1], size[2], size[3], add, relu, other}
					t.Run(c.String(), func(t *testing.T) {
						f := c.function(t)
						in := inputs(f)
						x := in["x"].Float32s()
						for i := range x { // a mean far from 0, whose square must not drown the variance
							x[i] = x[i]*.1 + 30 + r.Float32()*.01
						}
						want := run(t, engine.Go{}, f, in)
						got := run(t, engine.ORT{Passes: []ortpass.Pass{ortpass.NormKernel(b)}}, f, in)
						for name, v := range want {
							if worst := relative(got[name].Float32s(), v.Float32s()); !(worst <= 2e-5) {
								t.Errorf("%s differs by %g of its largest value", name, worst)
							}
						}
					})
				}
			}
		}
	}
}

// TestKernelsKeepTheStep runs a step of a network with every kind of block on both.
func TestKernelsKeepTheStep(t *testing.T) {
	b := kernels(t)
	enc := models.ResNet{Blocks: []int{2, 2}, Widths: []int{b, 2 * b}, Stem: models.StemCIFAR, Activation: models.ReLU}
	step := buildStep(t, enc, 8, 16)
	want := runStep(t, engine.ORT{Passes: []ortpass.Pass{}}, step)
	got := runStep(t, engine.ORT{Passes: ortpass.WithKernels(b)}, step)
	for name, v := range want {
		// Rounding may put a value on the other side of ReLU, so not each gradient but
		// their direction and length must agree.
		var dot, a2, b2 float64
		for i, x := range v.Float32s() {
			y := float64(got[name].Float32s()[i])
			dot, a2, b2 = dot+float64(x)*y, a2+float64(x)*float64(x), b2+y*y
		}
		if distance := math.Sqrt(math.Max(a2+b2-2*dot, 0) / math.Max(a2, 1e-20)); !(distance <= 2e-3) {
			t.Errorf("%s differs by %g of its length", name, distance)
		}
	}
}

// TestKernelsKnowTheStep guards the patterns: nothing of a ResNet's stages may stay in
// the plain form.
func TestKernelsKnowTheStep(t *testing.T) {
	enc, err := models.NewResNet("resnet18", models.StemCIFAR, 1)
	if err != nil {
		t.Fatal(err)
	}
	m := lowered(t, buildStep(t, enc, 8, 32).Function, ortpass.WithKernels(16)...)
	for opType, want := range map[string]int{
		"ConvWeightGrad": 20, "BatchNorm": 12, "BatchNormAdd": 8, "BatchNormGrad": 12, "BatchNormAddGrad": 8,
		"ConvTranspose": 0, "BatchNormalization": 2, // of the projector
	} {
		if got := count(m, opType); got != want {
			t.Errorf("%d nodes %s, want %d", got, opType, want)
		}
	}
	for _, n := range m.Graph.Nodes {
		if n.OpType == "Conv" && n.Domain == "" {
			t.Errorf("%s stayed in the plain layout", n.Name)
		}
	}
}

// TestElementwiseKeepsBits runs chains with and without the kernel: each step rounds as
// the operator does by itself.
func TestElementwiseKeepsBits(t *testing.T) {
	kernels(t)
	for _, size := range []int{2, 255, 256, 257, 16384, 50001} {
		g := op.NewGraph()
		in := func(name string, n int) *op.Node { return g.Input(name, op.Float32, op.Dims(n)) }
		w, grad, buf, rate := in("w", size), in("grad", size), in("buf", size), in("rate", 1)
		d := op.Add(grad, op.Scale(w, 5e-4))
		next := op.Add(op.Scale(buf, .9), d)
		root := op.Sqrt(op.Add(op.Mul(d, d), op.Mul(buf, buf)))
		chain := op.Div(op.Sub(w, op.Mul(next, rate)), op.AddScalar(root, 1e-3))
		relu := op.ReLU(op.Neg(chain))
		back, err := engine.Backprop(op.Sum(op.Mul(relu, relu), false), w)
		if err != nil {
			t.Fatal(err)
		}
		f := engine.Function{Outputs: []export.Output{{Name: "next", Node: next}, {Name: "relu", Node: relu}, {Name: "dw", Node: back[0]}}}
		given := inputs(f)
		want := run(t, engine.ORT{Passes: []ortpass.Pass{}}, f, given)
		got := run(t, engine.ORT{Passes: []ortpass.Pass{ortpass.Elementwise()}}, f, given)
		for name, v := range want {
			for i, x := range v.Float32s() {
				if y := got[name].Float32s()[i]; math.Float32bits(x) != math.Float32bits(y) {
					t.Fatalf("%d values: %s[%d] is %g, want %g", size, name, i, y, x)
				}
			}
		}
	}
}

// TestElementwiseKeepsOrder guards the memory of a step, which grows when updates of
// weights change places.
func TestElementwiseKeepsOrder(t *testing.T) {
	g := op.NewGraph()
	var f engine.Function
	for i := range 4 {
		w, d := g.Input(fmt.Sprint("w", i), op.Float32, op.Dims(8)), g.Input(fmt.Sprint("d", i), op.Float32, op.Dims(8))
		f.Outputs = append(f.Outputs, export.Output{Name: fmt.Sprint("next", i), Node: op.Sub(w, op.Scale(d, .1))})
	}
	m := lowered(t, f, ortpass.Elementwise())
	for i, n := range m.Graph.Nodes {
		if n.OpType != "Elementwise" || n.Outputs[0] != f.Outputs[i].Name {
			t.Errorf("node %d is %s %v, want the chain of %s", i, n.OpType, n.Outputs, f.Outputs[i].Name)
		}
	}
}

// TestElementwiseFunctions holds the kernel's e^x and erf to Go's, at the ends of what
// float32 can hold too.
func TestElementwiseFunctions(t *testing.T) {
	kernels(t)
	var x []float32
	for v := -106.; v < 90; v += .0137 {
		x = append(x, float32(v), float32(v/20))
	}
	x = append(x, 0, 1e-30, -1e-30, 88.722, 88.723, 1e30, -1e30, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()))
	g := op.NewGraph()
	in := g.Input("x", op.Float32, op.Dims(len(x)))
	f := engine.Function{Outputs: []export.Output{{Name: "exp", Node: op.Neg(op.Exp(in))}, {Name: "erf", Node: op.Neg(op.Erf(in))}}}
	pass := []ortpass.Pass{ortpass.Elementwise()}
	if m := lowered(t, f, pass...); count(m, "Elementwise") != 2 || len(m.Graph.Nodes) != 2 {
		t.Fatalf("the kernel is not used: %d nodes", len(m.Graph.Nodes))
	}
	got := run(t, engine.ORT{Passes: pass}, f, engine.Tensors{"x": engine.NewTensor(x, len(x))})
	for i, v := range x {
		for name, want := range map[string]float64{"exp": -math.Exp(float64(v)), "erf": -math.Erf(float64(v))} {
			y := got[name].Float32s()[i]
			if w := float32(want); y == w || y != y && w != w {
				continue
			}
			if worst := math.Abs(float64(y) - want); !(worst <= 1.5e-7*math.Abs(want)+1e-38) {
				t.Errorf("-%s(%g) is %g, want %g", name, v, y, want)
			}
		}
	}
}

// TestBiasKernel has a bias and ReLU behind a convolution, with and without a second user
// of the result.
func TestBiasKernel(t *testing.T) {
	b := kernels(t)
	for _, size := range [][4]int{{3, b, 4, 5}, {2, 3 * b, 1, 2}, {5, 2 * b, 8, 8}} {
		for _, other := range []bool{false, true} {
			g := op.NewGraph()
			x := g.Input("x", op.Float32, op.Batched(size[0], 3, size[2], size[3]))
			w := g.Input("w", op.Float32, op.Dims(size[1], 3, 3, 3))
			bias := g.Input("bias", op.Float32, op.Dims(size[1]))
			y := op.ReLU(op.Conv2D(x, w, bias, op.Conv{Pad: [4]int{1, 1, 1, 1}}))
			dy := g.Input("dy", op.Float32, op.Batched(y.Dims...))
			loss := op.Sum(op.Mul(y, dy), false)
			if other {
				loss = op.Add(loss, op.Sum(op.Mul(op.Mul(y, y), dy), false))
			}
			back, err := engine.Backprop(loss, w, bias)
			if err != nil {
				t.Fatal(err)
			}
			f := engine.Function{Outputs: []export.Output{{Name: "y", Node: y}, {Name: "dw", Node: back[0]}, {Name: "dbias", Node: back[1]}}}
			m := lowered(t, f, ortpass.BiasKernel(b))
			if count(m, "BiasRelu") != 1 || count(m, "BiasReluGrad") != 1 || count(m, "Relu") != 0 || count(m, "Where") != 0 {
				t.Errorf("%v: the kernel is not used", size)
			}
			given := inputs(f)
			want := run(t, engine.Go{}, f, given)
			got := run(t, engine.ORT{Passes: []ortpass.Pass{ortpass.BiasKernel(b)}}, f, given)
			for name, v := range want {
				if worst := relative(got[name].Float32s(), v.Float32s()); !(worst <= 2e-5) {
					t.Errorf("%v: %s differs by %g of its largest value", size, name, worst)
				}
			}
		}
	}
}

// TestBiasKernelLeavesOthers has what looks like the gradient of ReLU but is none: it is 1,
// not 0, where y is not above 0.
func TestBiasKernelLeavesOthers(t *testing.T) {
	b := kernels(t)
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Batched(2, b, 3, 3))
	bias := g.Input("bias", op.Float32, op.Dims(b))
	v := g.Input("v", op.Float32, op.Batched(2, b, 3, 3))
	y := op.ReLU(op.Add(x, op.Reshape(bias, op.Dims(b, 1, 1))))
	sums := op.Reshape(op.Sum(op.Where(y, v, g.Scalar(1)), false, 0, 2, 3), op.Dims(b, 1))
	f := engine.Function{Outputs: []export.Output{{Name: "sums", Node: sums}}}
	given := inputs(f)
	want := run(t, engine.Go{}, f, given)["sums"].Float32s()
	got := run(t, engine.ORT{Passes: []ortpass.Pass{ortpass.BiasKernel(b)}}, f, given)["sums"].Float32s()
	if worst := relative(got, want); !(worst <= 2e-5) {
		t.Errorf("the sums differ by %g of the largest", worst)
	}
}

// TestMaxPoolKernel includes windows that reach over the edge, overlap and have ties.
func TestMaxPoolKernel(t *testing.T) {
	b := kernels(t)
	for _, p := range []op.Pool{
		{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}},
		{Kernel: [2]int{2, 2}, Stride: [2]int{2, 2}},
		{Kernel: [2]int{3, 2}, Stride: [2]int{1, 2}, Pad: [4]int{1, 0, 0, 1}},
	} {
		g := op.NewGraph()
		x := g.Input("x", op.Float32, op.Batched(3, 2*b, 7, 10))
		y := op.MaxPool2D(x, p)
		dy := g.Input("dy", op.Float32, op.Batched(y.Dims...))
		back, err := engine.Backprop(op.Sum(op.Mul(y, dy), false), x)
		if err != nil {
			t.Fatal(err)
		}
		f := engine.Function{Outputs: []export.Output{{Name: "y", Node: y}, {Name: "dx", Node: back[0]}}}
		given := inputs(f)
		for i, v := range given["x"].Float32s() {
			given["x"].Float32s()[i] = float32(math.Round(float64(v))) // ties
		}
		want := run(t, engine.ORT{Passes: []ortpass.Pass{}}, f, given)
		got := run(t, engine.ORT{Passes: []ortpass.Pass{ortpass.MaxPoolKernel(b)}}, f, given)
		for name, v := range want {
			if worst := relative(got[name].Float32s(), v.Float32s()); worst > 1e-6 {
				t.Errorf("%v: %s differs by %g of its largest value", p, name, worst)
			}
		}
		m := lowered(t, f, ortpass.MaxPoolKernel(b))
		if count(m, "MaxPoolGrad") != 1 || count(m, "ScatterElements") != 0 {
			t.Errorf("%v: the kernel is not used", p)
		}
	}
}
