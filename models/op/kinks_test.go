package op_test

import (
	"math"
	"slices"
	"testing"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// TestKinks: PyTorch's rules where there is no gradient, on both machines.
func TestKinks(t *testing.T) {
	for _, c := range []struct {
		name string
		x    []float32
		f    func(x *op.Node) *op.Node
		want []float32 // the gradient of the sum
	}{
		{"ReLU at 0", []float32{-1, 0, 1}, op.ReLU, []float32{0, 0, 1}},
		{"Abs at 0", []float32{-1, 0, 1}, op.Abs, []float32{-1, 0, 1}},
		{"Clip on its bounds", []float32{-2, -1, 0, 2, 3}, func(x *op.Node) *op.Node { return op.Clip(x, -1, 2) }, []float32{0, 1, 1, 1, 0}},
		{"Clip without upper bound", []float32{-2, 0, 3}, func(x *op.Node) *op.Node { return op.Clip(x, 0, math.Inf(1)) }, []float32{0, 1, 1}},
		{"LeakyReLU at 0", []float32{-1, 0, 1}, func(x *op.Node) *op.Node { return op.LeakyReLU(x, 0.5) }, []float32{0.5, 0.5, 1}},
		{"ELU at 0", []float32{0, 1, 1000}, func(x *op.Node) *op.Node { return op.ELU(x, 2) }, []float32{2, 1, 1}},
		{"ReLU6 on its bounds", []float32{-1, 0, 1, 6, 7}, op.ReLU6, []float32{0, 0, 1, 0, 0}},
		{"HardSigmoid next to its bounds", []float32{-3, math.Nextafter32(-3, 0), math.Nextafter32(3, 0), 3, math.Nextafter32(3, 4)}, op.HardSigmoid, []float32{0, 1. / 6, 1. / 6, 0, 0}},
		{"Where beside an infinity", []float32{0, 1, 4}, func(x *op.Node) *op.Node {
			return op.Where(op.Greater(x, 0), op.Log(op.Maximum(x, x.Graph().Scalar(0.5))), x)
		}, []float32{1, 1, 0.25}},
		{"Max of equal elements", []float32{3, 1, 3, 3}, func(x *op.Node) *op.Node { return op.Max(x, false) }, []float32{1. / 3, 0, 1. / 3, 1. / 3}},
		{"Maximum of equal elements", []float32{1, 2, 3}, func(x *op.Node) *op.Node {
			return op.Maximum(x, x.Graph().Const([]float32{2, 2, 2}, 3))
		}, []float32{0, 0.5, 1}},
		{"Minimum of equal elements", []float32{1, 2, 3}, func(x *op.Node) *op.Node {
			return op.Minimum(x, x.Graph().Const([]float32{2, 2, 2}, 3))
		}, []float32{1, 0.5, 0}},
		{"MaxPool2D takes the first", []float32{1, 5, 5, 5, 0, 0, 0, 0}, func(x *op.Node) *op.Node {
			return op.MaxPool2D(op.Reshape(x, op.Dims(1, 1, 2, 4)), op.Pool{Kernel: [2]int{2, 2}})
		}, []float32{0, 1, 1, 0, 0, 0, 0, 0}},
		{"MaxPool2D of negative values with padding", []float32{-1, -2, -3, -4}, func(x *op.Node) *op.Node {
			return op.MaxPool2D(op.Reshape(x, op.Dims(1, 1, 2, 2)), op.Pool{Kernel: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}})
		}, []float32{1, 1, 1, 1}},
		{"L2Normalize of zeros", []float32{0, 0, 0}, func(x *op.Node) *op.Node { return op.L2Normalize(x, 0, 0.25) }, []float32{4, 4, 4}},
		{"L2Normalize below eps", []float32{0.3, 0, -0.4}, func(x *op.Node) *op.Node { return op.L2Normalize(x, 0, 1) }, []float32{1, 1, 1}},
	} {
		for _, name := range []string{"go", "ort"} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				var m engine.Machine = engine.Go{}
				if name == "ort" {
					m = ortMachine(t)
				}
				g := op.NewGraph()
				x := g.Input("x", op.Float32, op.Dims(len(c.x)))
				grads, err := engine.Backprop(op.Sum(c.f(x), false), x)
				if err != nil {
					t.Fatal(err)
				}
				out := run(t, m, engine.Function{Outputs: []export.Output{{Name: "dx", Node: grads[0]}}},
					engine.Tensors{"x": engine.NewTensor(c.x, len(c.x))})
				if got := out["dx"].Float32s(); !slices.Equal(got, c.want) {
					t.Errorf("gradient %v, want %v", got, c.want)
				}
			})
		}
	}
}

// TestExtremes: results stay finite where the formula, written naively, does not.
func TestExtremes(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		name    string
		x, want []float32
		f       func(x *op.Node) *op.Node
	}{
		{"Softmax", []float32{1000, 0, -1000}, []float32{1, 0, 0}, func(x *op.Node) *op.Node { return op.Softmax(x, 0) }},
		{"LogSoftmax", []float32{1000, 0, -1000}, []float32{0, -1000, -2000}, func(x *op.Node) *op.Node { return op.LogSoftmax(x, 0) }},
		{"Sigmoid", []float32{-1000, 0, 1000}, []float32{0, 0.5, 1}, op.Sigmoid},
		{"SiLU", []float32{-1000, 0, 1000}, []float32{0, 0, 1000}, op.SiLU},
		{"Softplus", []float32{-1000, 0, 1000}, []float32{0, math.Ln2, 1000}, func(x *op.Node) *op.Node { return op.Softplus(x, 1) }},
		{"LogSigmoid", []float32{-1000, 0, 1000}, []float32{-1000, -math.Ln2, 0}, op.LogSigmoid},
		{"Mish", []float32{-1000, 0, 1000}, []float32{0, 0, 1000}, op.Mish},
		{"ELU", []float32{-1000, 0, 1000}, []float32{-1, 0, 1000}, func(x *op.Node) *op.Node { return op.ELU(x, 1) }},
		{"GELU", []float32{-1000, 0, 1000}, []float32{0, 0, 1000}, op.GELU},
		{"Exp", []float32{-1000, 0, 1000}, []float32{0, 1, inf}, op.Exp},
		{"L2Normalize", []float32{3e18, 4e18, 0}, []float32{0.6, 0.8, 0}, func(x *op.Node) *op.Node { return op.L2Normalize(x, 0, 1e-12) }},
	} {
		for _, name := range []string{"go", "ort"} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				var m engine.Machine = engine.Go{}
				if name == "ort" {
					m = ortMachine(t)
				}
				g := op.NewGraph()
				x := g.Input("x", op.Float32, op.Dims(len(c.x)))
				out := run(t, m, engine.Function{Outputs: []export.Output{{Name: "y", Node: c.f(x)}}},
					engine.Tensors{"x": engine.NewTensor(c.x, len(c.x))})
				for i, y := range out["y"].Float32s() {
					if d := math.Abs(float64(y) - float64(c.want[i])); y != c.want[i] && !(d < 1e-6) {
						t.Errorf("got %v, want %v", out["y"].Float32s(), c.want)
						break
					}
				}
			})
		}
	}
}

// TestNotANumber: a NaN is passed on, not hidden.
func TestNotANumber(t *testing.T) {
	nan := float32(math.NaN())
	for name, f := range map[string]func(x *op.Node) *op.Node{
		"ReLU": op.ReLU, "Sum": func(x *op.Node) *op.Node { return op.Sum(x, false) },
		"Max":     func(x *op.Node) *op.Node { return op.Max(x, false) },
		"Maximum": func(x *op.Node) *op.Node { return op.Maximum(x, x.Graph().Scalar(0)) },
		"Clip":    func(x *op.Node) *op.Node { return op.Clip(x, 0, 1) },
		"Softmax": func(x *op.Node) *op.Node { return op.Softmax(x, 0) },
		"MaxPool2D": func(x *op.Node) *op.Node {
			return op.MaxPool2D(op.Reshape(x, op.Dims(1, 1, 1, 3)), op.Pool{Kernel: [2]int{1, 3}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := op.NewGraph()
			x := g.Input("x", op.Float32, op.Dims(3))
			out := run(t, engine.Go{}, engine.Function{Outputs: []export.Output{{Name: "y", Node: f(x)}}},
				engine.Tensors{"x": engine.NewTensor([]float32{1, nan, 2}, 3)})
			if !slices.ContainsFunc(out["y"].Float32s(), func(v float32) bool { return v != v }) {
				t.Errorf("got %v, want a NaN in it", out["y"].Float32s())
			}
		})
	}
}
