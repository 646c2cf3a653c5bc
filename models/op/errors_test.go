package op_test

import (
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

func TestShapeRules(t *testing.T) {
	g := op.NewGraph()
	in := func(name string, s op.Shape) *op.Node { return g.Input(name, op.Float32, s) }
	x := in("x", op.Batched(2, 3, 8, 6))
	v := in("v", op.Dims(3))
	for _, c := range []struct {
		name string
		got  *op.Node
		want string
	}{
		{"Add", op.Add(x, in("a", op.Dims(3, 1, 1))), "[N=2, 3, 8, 6]"},
		{"Add makes both larger", op.Add(in("row", op.Dims(1, 4)), in("column", op.Dims(3, 1))), "[3, 4]"},
		{"Sum", op.Sum(x, false, 1, 3), "[N=2, 8]"},
		{"Sum of all", op.Sum(x, false), "[]"},
		{"Max", op.Max(x, true, 0), "[1, 3, 8, 6]"},
		{"Reshape", op.Reshape(x, op.Batched(2, 144)), "[N=2, 144]"},
		{"Flatten", op.Flatten(x), "[N=2, 144]"},
		{"Transpose", op.Transpose(x, 1, 0, 3, 2), "[3, N=2, 6, 8]"},
		{"Concat", op.Concat(-1, x, x), "[N=2, 3, 8, 12]"},
		{"Slice", op.Slice(x, 2, 1, 4), "[N=2, 3, 3, 6]"},
		{"Pad", op.Pad(x, 3, 1, 2), "[N=2, 3, 8, 9]"},
		{"MatMul", op.MatMul(x, in("m", op.Dims(6, 5))), "[N=2, 3, 8, 5]"},
		{"Linear", op.Linear(in("rows", op.Batched(2, 7)), in("w", op.Dims(4, 7)), nil), "[N=2, 4]"},
		{"OneHot", op.OneHot(g.Input("labels", op.Int64, op.Batched(2)), 5), "[N=2, 5]"},
		{"Conv2D", op.Conv2D(x, in("k", op.Dims(4, 3, 3, 3)), nil, op.Conv{Stride: [2]int{2, 3}}), "[N=2, 4, 3, 2]"},
		{"MaxPool2D", op.MaxPool2D(x, op.Pool{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}}), "[N=2, 3, 4, 3]"},
		{"MaxPool2D ceil", op.MaxPool2D(x, op.Pool{Kernel: [2]int{3, 4}, Ceil: true}), "[N=2, 3, 3, 2]"},
		{"GlobalAveragePool", op.GlobalAveragePool(x), "[N=2, 3]"},
		{"BatchNormEval", op.BatchNormEval(x, v, v, v, v, 1e-5), "[N=2, 3, 8, 6]"},
	} {
		if c.got == nil {
			t.Fatalf("%s: %v", c.name, g.Err())
		}
		if got := c.got.Shape.String(); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestWrongCalls(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(g *op.Graph, x *op.Node) *op.Node // x: [N=2, 3, 8, 6]
		want  string
	}{
		{"Add", func(g *op.Graph, x *op.Node) *op.Node { return op.Add(x, g.Input("b", op.Float32, op.Dims(5))) },
			"do not broadcast: axis 3 has sizes 6 and 5"},
		{"integers", func(g *op.Graph, x *op.Node) *op.Node { return op.Exp(g.Input("i", op.Int64, op.Dims(5))) }, "want float32"},
		{"Sum axis", func(g *op.Graph, x *op.Node) *op.Node { return op.Sum(x, false, 4) }, "axis 4 is outside the 4 axes"},
		{"Sum twice", func(g *op.Graph, x *op.Node) *op.Node { return op.Sum(x, false, 1, -3) }, "name an axis twice"},
		{"Reshape", func(g *op.Graph, x *op.Node) *op.Node { return op.Reshape(x, op.Dims(5, 5)) }, "288 elements do not fill [5, 5]"},
		{"Reshape to negative sizes", func(g *op.Graph, x *op.Node) *op.Node { return op.Reshape(x, op.Dims(-2, -144)) }, "do not fill"},
		{"Reshape without its batch", func(g *op.Graph, x *op.Node) *op.Node { return op.Reshape(x, op.Shape{Dims: []int{288}, Batch: 1}) }, "has no axis 1"},
		{"Transpose", func(g *op.Graph, x *op.Node) *op.Node { return op.Transpose(x, 0, 1, 1, 2) }, "does not permute"},
		{"Transpose of nothing", func(g *op.Graph, x *op.Node) *op.Node { return op.Transpose(x) }, "does not permute"},
		{"Concat", func(g *op.Graph, x *op.Node) *op.Node { return op.Concat(1, x, op.Slice(x, 2, 0, 3)) }, "does not join"},
		{"Concat axis", func(g *op.Graph, x *op.Node) *op.Node { return op.Concat(9, x, x) }, "Concat: axis 9"},
		{"Slice", func(g *op.Graph, x *op.Node) *op.Node { return op.Slice(x, 1, 2, 5) }, "2:5 is not a part of axis 1"},
		{"Slice of nothing", func(g *op.Graph, x *op.Node) *op.Node { return op.Slice(x, 1, 2, 2) }, "2:2 is not a part"},
		{"Pad", func(g *op.Graph, x *op.Node) *op.Node { return op.Pad(x, 7, 1, 1) }, "cannot pad axis 7"},
		{"MatMul", func(g *op.Graph, x *op.Node) *op.Node { return op.MatMul(x, g.Input("m", op.Float32, op.Dims(5, 2))) }, "inner sizes differ"},
		{"MatMul of a vector", func(g *op.Graph, x *op.Node) *op.Node { return op.MatMul(x, g.Input("m", op.Float32, op.Dims(6))) }, "want two axes or more"},
		{"Linear", func(g *op.Graph, x *op.Node) *op.Node {
			return op.Linear(op.Flatten(x), g.Input("w", op.Float32, op.Dims(4, 7)), nil)
		}, "inner sizes differ: 144 and 7"},
		{"Linear of images", func(g *op.Graph, x *op.Node) *op.Node {
			return op.Linear(x, g.Input("w", op.Float32, op.Dims(4, 6)), nil)
		}, "want two matrices"},
		{"Conv2D channels", func(g *op.Graph, x *op.Node) *op.Node {
			return op.Conv2D(x, g.Input("w", op.Float32, op.Dims(4, 5, 3, 3)), nil, op.Conv{})
		}, "C/groups"},
		{"Conv2D groups", func(g *op.Graph, x *op.Node) *op.Node {
			return op.Conv2D(x, g.Input("w", op.Float32, op.Dims(4, 1, 3, 3)), nil, op.Conv{Groups: 3})
		}, "3 groups"},
		{"Conv2D kernel", func(g *op.Graph, x *op.Node) *op.Node {
			return op.Conv2D(x, g.Input("w", op.Float32, op.Dims(4, 3, 9, 3)), nil, op.Conv{})
		}, "9x3 kernel is larger"},
		{"Conv2D padding", func(g *op.Graph, x *op.Node) *op.Node {
			return op.Conv2D(x, g.Input("w", op.Float32, op.Dims(4, 3, 3, 3)), nil, op.Conv{Pad: [4]int{-1, 0, 0, 0}})
		}, "negative padding"},
		{"Conv2D of a vector", func(g *op.Graph, x *op.Node) *op.Node { return op.Conv2D(op.Flatten(x), x, nil, op.Conv{}) }, "want x: [N, C, H, W]"},
		{"Conv2D bias", func(g *op.Graph, x *op.Node) *op.Node {
			return op.Conv2D(x, g.Input("w", op.Float32, op.Dims(4, 3, 3, 3)), x, op.Conv{})
		}, "want bias: [4]"},
		{"MaxPool2D", func(g *op.Graph, x *op.Node) *op.Node { return op.MaxPool2D(x, op.Pool{}) }, "a kernel and strides of at least 1"},
		{"MaxPool2D window", func(g *op.Graph, x *op.Node) *op.Node { return op.MaxPool2D(x, op.Pool{Kernel: [2]int{9, 1}}) }, "larger than the padded input"},
		{"MaxPool2D padding", func(g *op.Graph, x *op.Node) *op.Node {
			return op.MaxPool2D(x, op.Pool{Kernel: [2]int{2, 2}, Pad: [4]int{2, 0, 0, 0}})
		}, "padding"},
		{"MaxPool2D dilation", func(g *op.Graph, x *op.Node) *op.Node {
			return op.MaxPool2D(op.Slice(x, 2, 0, 1), op.Pool{Kernel: [2]int{2, 1}, Dilation: [2]int{3, 1}, Stride: [2]int{1, 1}, Pad: [4]int{1, 0, 1, 0}})
		}, "larger than the padded"},
		{"MaxPool2D window in the padding", func(g *op.Graph, x *op.Node) *op.Node {
			return op.MaxPool2D(op.Slice(x, 2, 0, 1), op.Pool{Kernel: [2]int{2, 1}, Dilation: [2]int{2, 1}, Stride: [2]int{1, 1}, Pad: [4]int{1, 0, 1, 0}})
		}, "lies in the padding"},
		{"AvgPool2D", func(g *op.Graph, x *op.Node) *op.Node {
			return op.AvgPool2D(op.Flatten(x), op.Pool{Kernel: [2]int{2, 2}}, true)
		}, "want x: [N, C, H, W]"},
		{"AdaptiveAvgPool2D", func(g *op.Graph, x *op.Node) *op.Node { return op.AdaptiveAvgPool2D(x, 0, 3) }, "at least one bin"},
		{"Resize", func(g *op.Graph, x *op.Node) *op.Node { return op.Resize(x, 4, 0, op.Resampling{}) }, "sizes of at least 1"},
		{"Resize scale", func(g *op.Graph, x *op.Node) *op.Node {
			return op.Resize(x, 4, 4, op.Resampling{Scale: [2]float64{-1, 0}})
		}, "want more than 0"},
		{"Upsample", func(g *op.Graph, x *op.Node) *op.Node { return op.Upsample(x, 0) }, "factor of at least 1"},
		{"ConvTranspose2D channels", func(g *op.Graph, x *op.Node) *op.Node {
			return op.ConvTranspose2D(x, g.Input("w", op.Float32, op.Dims(4, 5, 3, 3)), nil, op.Conv{}, [2]int{})
		}, "C/groups"},
		{"ConvTranspose2D padding", func(g *op.Graph, x *op.Node) *op.Node {
			return op.ConvTranspose2D(x, g.Input("w", op.Float32, op.Dims(3, 5, 3, 3)), nil, op.Conv{Pad: [4]int{9, 0, 9, 0}}, [2]int{})
		}, "leaves nothing"},
		{"ConvTranspose2D output padding", func(g *op.Graph, x *op.Node) *op.Node {
			return op.ConvTranspose2D(x, g.Input("w", op.Float32, op.Dims(3, 5, 3, 3)), nil, op.Conv{}, [2]int{-1, 0})
		}, "want 0 or more"},
		{"PadWith axis", func(g *op.Graph, x *op.Node) *op.Node { return op.PadWith(x, 4, 1, 1, op.PadEdge, 0) }, "Pad: axis 4"},
		{"PadWith reflect", func(g *op.Graph, x *op.Node) *op.Node { return op.PadWith(x, 1, 3, 0, op.PadReflect, 0) }, "too few to pad by 3"},
		{"PadWith the batch", func(g *op.Graph, x *op.Node) *op.Node { return op.PadWith(x, 0, 1, 0, op.PadEdge, 0) }, "cannot pad the batch"},
		{"PixelShuffle", func(g *op.Graph, x *op.Node) *op.Node { return op.PixelShuffle(x, 2) }, "want x: [N, C*2*2, H, W]"},
		{"PixelUnshuffle", func(g *op.Graph, x *op.Node) *op.Node { return op.PixelUnshuffle(x, 4) }, "want x: [N, C, H*4, W*4]"},
		{"Patchify", func(g *op.Graph, x *op.Node) *op.Node { return op.Patchify(x, 4) }, "does not split into patches of 4x4"},
		{"Unpatchify", func(g *op.Graph, x *op.Node) *op.Node { return op.Unpatchify(x, 4, 8, 8) }, "are not patches"},
		{"PatchEmbed", func(g *op.Graph, x *op.Node) *op.Node { return op.PatchEmbed(x, x, nil) }, "want x: [N, C, H, W] and w: [D, C, p, p]"},
		{"TakeRows", func(g *op.Graph, x *op.Node) *op.Node { return op.TakeRows(x, x) }, "want x: [N, L, D]"},
		{"LinearTokens", func(g *op.Graph, x *op.Node) *op.Node { return op.LinearTokens(x, x, nil) }, "want x: [..., K] and w: [L, K]"},
		{"SelfAttention", func(g *op.Graph, x *op.Node) *op.Node {
			y, _ := op.SelfAttention{Heads: 5}.Apply(op.Slice(op.Reshape(x, op.Batched(2, 24, 6)), 1, 0, 2), nil)
			return y
		}, "a multiple of 5 heads"},
		{"PrependToken", func(g *op.Graph, x *op.Node) *op.Node { return op.PrependToken(op.Flatten(x), x) }, "want x: [N, L, D]"},
		{"GlobalAveragePool", func(g *op.Graph, x *op.Node) *op.Node { return op.GlobalAveragePool(op.Flatten(x)) }, "axis 2 is outside"},
		{"BatchNorm", func(g *op.Graph, x *op.Node) *op.Node {
			v := g.Input("v", op.Float32, op.Dims(4))
			return op.BatchNormEval(x, v, v, v, v, 1e-5)
		}, "want statistics, weight and bias [3], got float32[4]"},
		{"BatchNorm of a vector", func(g *op.Graph, x *op.Node) *op.Node {
			v := g.Input("v", op.Float32, op.Dims(4))
			y, _, _ := op.BatchNormTrain(v, v, v, 1e-5)
			return y
		}, "want x: [N, C, ...] with 2 to 6 axes"},
		{"Softmax", func(g *op.Graph, x *op.Node) *op.Node { return op.Softmax(x, -5) }, "Softmax: axis -5"},
		{"L2Normalize", func(g *op.Graph, x *op.Node) *op.Node { return op.L2Normalize(x, 4, 1e-12) }, "L2Normalize: axis 4"},
		{"OneHot", func(g *op.Graph, x *op.Node) *op.Node { return op.OneHot(x, 3) }, "want int64 indices"},
		{"Clip", func(g *op.Graph, x *op.Node) *op.Node { return op.Clip(x, 1, 0) }, "lower bound 1 is above"},
		{"two graphs", func(g *op.Graph, x *op.Node) *op.Node {
			return op.Add(x, op.NewGraph().Input("other", op.Float32, op.Dims()))
		}, "two graphs"},
		{"input name", func(g *op.Graph, x *op.Node) *op.Node { return g.Input("x", op.Float32, op.Dims()) }, `the name "x" is taken`},
		{"no name", func(g *op.Graph, x *op.Node) *op.Node { return g.Input("", op.Float32, op.Dims()) }, "no name"},
		{"size 0", func(g *op.Graph, x *op.Node) *op.Node { return g.Input("empty", op.Float32, op.Dims(0)) }, "sizes must be positive"},
		{"constant", func(g *op.Graph, x *op.Node) *op.Node { return g.Const([]float32{1, 2}, 3) }, "needs 3 values, got 2"},
		{"parameter", func(g *op.Graph, x *op.Node) *op.Node {
			g.Param("p", op.Float32, op.Dims(2))
			return g.Param("p", op.Float32, op.Dims(3))
		}, `"p" is used as float32[2] and as float32[3]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := op.NewGraph()
			x := g.Input("x", op.Float32, op.Batched(2, 3, 8, 6))
			if y := c.build(g, x); y != nil {
				t.Fatalf("got %v, want nil", y)
			}
			if g.Err() == nil || !strings.Contains(g.Err().Error(), c.want) {
				t.Fatalf("got the error %v, want one with %q", g.Err(), c.want)
			}
			first := g.Err()
			if y := op.ReLU(op.Add(x, nil)); y != nil || g.Err() != first {
				t.Errorf("a call after the error gives %v, error %v", y, g.Err())
			}
		})
	}
}

// broken is an operation whose kernel panics, in a goroutine of its own too.
type broken struct{ op.Op }

func (broken) String() string                                      { return "Broken" }
func (broken) Infer(in []op.Type) (op.Type, error)                 { return in[0], nil }
func (broken) Run([]*tensor.Dense) (*tensor.Dense, error)          { panic("out of order") }
func (broken) Grad(in []*op.Node, y, dy *op.Node) []*op.Node       { return []*op.Node{nil} }
func (broken) ONNX(l *op.Lowering, n *op.Node, in []string) string { return in[0] }

func TestPanicBecomesError(t *testing.T) {
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Dims(2))
	f := engine.Function{Outputs: []export.Output{{Name: "y", Node: op.Exp(op.Apply(broken{}, op.Exp(x)))}}}
	for _, m := range []engine.Go{{}, {Tape: true}} {
		p, err := m.Compile(f)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		_, err = p.Run(t.Context(), engine.Tensors{"x": engine.NewTensor([]float32{1, 2}, 2)})
		if err == nil || !strings.Contains(err.Error(), "Broken: panic in the kernel: out of order") {
			t.Errorf("%+v: got the error %v", m, err)
		}
	}
}

// TestPanicInWorker: an index beyond the image panics in one of several
// goroutines.
func TestPanicInWorker(t *testing.T) {
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Dims(64, 8, 16, 16))
	y := op.MaxPool2D(x, op.Pool{Kernel: [2]int{2, 2}})
	wrong := engine.NewTensor(make([]int64, y.Size()), y.Dims...)
	for i := range wrong.Int64s() {
		wrong.Int64s()[i] = 1 << 40
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic reached the caller, who makes it an error")
		}
	}()
	y.Op.Run([]*tensor.Dense{engine.NewTensor(make([]float32, x.Size()), x.Dims...), wrong})
}

// TestNoHashLeft: four hashes are enough for four nodes.
func TestNoHashLeft(t *testing.T) {
	defer op.SetHashBits(2)()
	g := op.NewGraph()
	x := g.Input("x", op.Float32, op.Dims())
	for range 3 {
		if x = op.Exp(x); x == nil {
			t.Fatal(g.Err())
		}
	}
	if op.Exp(x) != nil || !strings.Contains(g.Err().Error(), "no free hash left") {
		t.Errorf("got the error %v", g.Err())
	}
}
