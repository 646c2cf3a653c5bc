package op_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
	"github.com/sslrt/sslrt/runtime/ort"
)

var hashBits = flag.Int("hashbits", 32, "cut the hashes that Apply keeps unique to so many bits")

func TestMain(m *testing.M) {
	flag.Parse()
	op.SetHashBits(*hashBits)
	os.Exit(m.Run())
}

// domain says what values an input takes.
type domain int

const (
	spread   domain = iota // multiples of 0.1 without 0, all different: far from kinks and ties
	positive               // 0.55 and up
	fixed                  // never differentiated: statistics, masks
)

type input struct {
	shape func(n int) op.Shape // for a batch of n images
	domain
}

func batched(sizes ...int) input {
	return input{func(n int) op.Shape { return op.Batched(append([]int{n}, sizes...)...) }, spread}
}

func plain(sizes ...int) input {
	return input{func(int) op.Shape { return op.Dims(sizes...) }, spread}
}

func (i input) as(d domain) input { i.domain = d; return i }

// tableCase is one way to call one operation.
type tableCase struct {
	name   string
	inputs []input
	build  func(x []*op.Node) *op.Node

	// training is set for what only training needs: its ONNX form may hold the
	// size of the batch.
	training bool
}

func one(f func(x *op.Node) *op.Node) func(x []*op.Node) *op.Node {
	return func(x []*op.Node) *op.Node { return f(x[0]) }
}

func two(f func(a, b *op.Node) *op.Node) func(x []*op.Node) *op.Node {
	return func(x []*op.Node) *op.Node { return f(x[0], x[1]) }
}

func convolution(c op.Conv) func(x []*op.Node) *op.Node {
	return func(x []*op.Node) *op.Node {
		if len(x) == 3 {
			return op.Conv2D(x[0], x[1], x[2], c)
		}
		return op.Conv2D(x[0], x[1], nil, c)
	}
}

// gradientOf makes the gradient of sum(y^2) with respect to input i a result of
// its own, so that gradients are differentiated too.
func gradientOf(i int, build func(x []*op.Node) *op.Node) func(x []*op.Node) *op.Node {
	return func(x []*op.Node) *op.Node {
		y := build(x)
		grads, err := engine.Backprop(op.Sum(op.Mul(y, y), false), x[i])
		if err != nil {
			return x[i].Graph().Fail("%w", err)
		}
		return grads[0]
	}
}

func pool(p op.Pool) func(x []*op.Node) *op.Node {
	return one(func(x *op.Node) *op.Node { return op.MaxPool2D(x, p) })
}

func average(p op.Pool, countPad bool) func(x []*op.Node) *op.Node {
	return one(func(x *op.Node) *op.Node { return op.AvgPool2D(x, p, countPad) })
}

func padded(axis, before, after int, mode op.PadMode, value float64) func(x []*op.Node) *op.Node {
	return one(func(x *op.Node) *op.Node { return op.PadWith(x, axis, before, after, mode, value) })
}

func resized(h, w int, r op.Resampling) func(x []*op.Node) *op.Node {
	return one(func(x *op.Node) *op.Node { return op.Resize(x, h, w, r) })
}

func transposed(c op.Conv, outPad [2]int) func(x []*op.Node) *op.Node {
	return func(x []*op.Node) *op.Node {
		return op.ConvTranspose2D(x[0], x[1], append(x, nil)[2], c, outPad)
	}
}

var table = []tableCase{
	{name: "Neg", inputs: []input{batched(5)}, build: one(op.Neg)},
	{name: "Exp", inputs: []input{batched(5)}, build: one(op.Exp)},
	{name: "Log", inputs: []input{batched(5).as(positive)}, build: one(op.Log)},
	{name: "Sqrt", inputs: []input{batched(5).as(positive)}, build: one(op.Sqrt)},
	{name: "Abs", inputs: []input{batched(5)}, build: one(op.Abs)},
	{name: "Sin", inputs: []input{batched(5)}, build: one(op.Sin)},
	{name: "Cos", inputs: []input{batched(5)}, build: one(op.Cos)},
	{name: "Erf", inputs: []input{batched(5)}, build: one(op.Erf)},
	{name: "Tanh", inputs: []input{batched(5)}, build: one(op.Tanh)},
	{name: "ReLU", inputs: []input{batched(3, 4)}, build: one(op.ReLU)},
	{name: "Sigmoid", inputs: []input{batched(5)}, build: one(op.Sigmoid)},
	{name: "SiLU", inputs: []input{batched(5)}, build: one(op.SiLU)},
	{name: "LeakyReLU", inputs: []input{batched(3, 4)}, build: one(func(x *op.Node) *op.Node { return op.LeakyReLU(x, 0.2) })},
	{name: "ELU", inputs: []input{batched(5)}, build: one(func(x *op.Node) *op.Node { return op.ELU(x, 1.5) })},
	{name: "ReLU6", inputs: []input{batched(31)}, build: one(op.ReLU6)},
	{name: "HardSigmoid", inputs: []input{batched(31)}, build: one(op.HardSigmoid)},
	{name: "HardSwish", inputs: []input{batched(31)}, build: one(op.HardSwish)},
	{name: "GELU", inputs: []input{batched(5)}, build: one(op.GELU)},
	{name: "GELUTanh", inputs: []input{batched(5)}, build: one(op.GELUTanh)},
	{name: "Softplus", inputs: []input{batched(5)}, build: one(func(x *op.Node) *op.Node { return op.Softplus(x, 1) })},
	{name: "Softplus with beta", inputs: []input{batched(5)}, build: one(func(x *op.Node) *op.Node { return op.Softplus(x, 2) })},
	{name: "LogSigmoid", inputs: []input{batched(5)}, build: one(op.LogSigmoid)},
	{name: "Mish", inputs: []input{batched(5)}, build: one(op.Mish)},
	{name: "Dropout", inputs: []input{batched(5), batched(5)}, build: two(func(x, mask *op.Node) *op.Node { return op.Dropout(x, mask, 0.2) })},
	{name: "Where", inputs: []input{batched(4).as(fixed), batched(4), batched(4)}, build: func(x []*op.Node) *op.Node { return op.Where(op.Greater(x[0], 0.3), x[1], x[2]) }},
	{name: "Where broadcast", inputs: []input{batched(1, 4).as(fixed), plain(), batched(3, 1)}, build: func(x []*op.Node) *op.Node { return op.Where(op.Greater(x[0], 0.3), x[1], x[2]) }},
	{name: "Clip", inputs: []input{batched(6)}, build: one(func(x *op.Node) *op.Node { return op.Clip(x, -0.3, 0.4) })},
	{name: "Greater", inputs: []input{batched(5).as(fixed)}, build: one(func(x *op.Node) *op.Node { return op.Greater(x, 0.1) })},
	{name: "Sign", inputs: []input{batched(5).as(fixed)}, build: one(op.Sign)},
	{name: "After", inputs: []input{batched(4, 2), batched(3).as(fixed)}, build: two(op.After)},
	{name: "After without the batch", inputs: []input{plain(5), plain().as(fixed)}, build: two(op.After)},
	{name: "StopGradient", inputs: []input{batched(4), batched(4)}, build: two(func(a, b *op.Node) *op.Node {
		return op.Mul(a, op.StopGradient(op.Exp(a)))
	}), training: true},

	{name: "Add", inputs: []input{batched(3, 4), batched(3, 4)}, build: two(op.Add)},
	{name: "Add one number", inputs: []input{batched(3, 4), plain()}, build: two(op.Add)},
	{name: "Add to one number", inputs: []input{plain(), batched(3, 4)}, build: two(op.Add)},
	{name: "Sub rows", inputs: []input{batched(3, 4), plain(4)}, build: two(op.Sub)},
	{name: "Mul columns", inputs: []input{batched(3, 4), plain(3, 1)}, build: two(op.Mul)},
	{name: "Mul both ways", inputs: []input{batched(1, 4), plain(3, 1)}, build: two(op.Mul)},
	{name: "Div", inputs: []input{batched(3, 4), plain(1, 4).as(positive)}, build: two(op.Div)},
	{name: "Div numbers", inputs: []input{plain(), plain().as(positive)}, build: two(op.Div)},
	{name: "Pow", inputs: []input{batched(4).as(positive), plain(4)}, build: two(op.Pow)},
	{name: "Maximum", inputs: []input{batched(6), plain(6)}, build: two(op.Maximum)},
	{name: "Minimum", inputs: []input{batched(6), plain(6)}, build: two(op.Minimum)},
	{name: "Scale and AddScalar", inputs: []input{batched(4)}, build: one(func(x *op.Node) *op.Node { return op.AddScalar(op.Scale(x, -1.5), 2) })},

	{name: "Sum of all", inputs: []input{batched(3, 4)}, build: one(func(x *op.Node) *op.Node { return op.Sum(x, false) })},
	{name: "Sum over the batch", inputs: []input{batched(3, 4)}, build: one(func(x *op.Node) *op.Node { return op.Sum(x, false, 0) })},
	{name: "Sum of rows", inputs: []input{batched(3, 4)}, build: one(func(x *op.Node) *op.Node { return op.Sum(x, true, -1) })},
	{name: "Sum over axes 0, 2 and 3", inputs: []input{batched(3, 2, 4)}, build: one(func(x *op.Node) *op.Node { return op.Sum(x, false, 3, 0, 2) })},
	{name: "Mean of all", inputs: []input{batched(3, 4)}, build: one(func(x *op.Node) *op.Node { return op.Mean(x, true) })},
	{name: "Mean over axis 2", inputs: []input{batched(3, 2, 4)}, build: one(func(x *op.Node) *op.Node { return op.Mean(x, false, 2) })},
	{name: "Max of rows", inputs: []input{batched(3, 4)}, build: one(func(x *op.Node) *op.Node { return op.Max(x, false, 2) })},
	{name: "Max over axes 1 and 3", inputs: []input{batched(3, 2, 4)}, build: one(func(x *op.Node) *op.Node { return op.Max(x, true, 1, 3) })},
	{name: "Sum of a number", inputs: []input{plain()}, build: one(func(x *op.Node) *op.Node { return op.Sum(x, false) })},
	{name: "GlobalAveragePool", inputs: []input{batched(3, 4, 5)}, build: one(op.GlobalAveragePool)},

	{name: "Reshape", inputs: []input{batched(3, 4)}, build: one(func(x *op.Node) *op.Node { return op.Reshape(x, op.Batched(x.Dims[0], 2, 6)) })},
	{name: "Flatten", inputs: []input{batched(3, 4)}, build: one(op.Flatten)},
	{name: "Transpose", inputs: []input{batched(3, 4, 5)}, build: one(func(x *op.Node) *op.Node { return op.Transpose(x, 2, 0, 3, 1) })},
	{name: "Transpose sizes of 1", inputs: []input{batched(1, 4)}, build: one(func(x *op.Node) *op.Node { return op.Transpose(x, 1, 2, 0) })},
	{name: "Concat", inputs: []input{batched(3, 4), batched(2, 4), batched(1, 4)}, build: func(x []*op.Node) *op.Node { return op.Concat(1, x...) }},
	{name: "Concat over the batch", inputs: []input{batched(3), batched(3)}, build: func(x []*op.Node) *op.Node { return op.Concat(0, x...) }},
	{name: "Slice", inputs: []input{batched(5, 3)}, build: one(func(x *op.Node) *op.Node { return op.Slice(x, 1, 1, 4) })},
	{name: "Slice of the last axis", inputs: []input{batched(5)}, build: one(func(x *op.Node) *op.Node { return op.Slice(x, -1, 0, 2) })},
	{name: "Pad", inputs: []input{batched(3, 2)}, build: one(func(x *op.Node) *op.Node { return op.Pad(x, 1, 2, 1) })},

	{name: "MatMul", inputs: []input{batched(4), plain(4, 3)}, build: two(op.MatMul)},
	{name: "MatMul of stacks", inputs: []input{batched(2, 3, 4), plain(2, 4, 5)}, build: two(op.MatMul)},
	{name: "MatMul broadcast", inputs: []input{batched(1, 3, 4), plain(3, 4, 2)}, build: two(op.MatMul)},
	{name: "MatMul with itself", inputs: []input{batched(3)}, build: one(func(x *op.Node) *op.Node { return op.MatMul(op.Transpose(x, 1, 0), x) })},
	{name: "Gemm", inputs: []input{batched(4), plain(4, 3)}, build: two(func(a, b *op.Node) *op.Node { return op.Gemm(a, b, false, false) })},
	{name: "Gemm A^T", inputs: []input{plain(4, 5), plain(4, 3)}, build: two(func(a, b *op.Node) *op.Node { return op.Gemm(a, b, true, false) })},
	{name: "Gemm B^T", inputs: []input{batched(4), plain(3, 4)}, build: two(func(a, b *op.Node) *op.Node { return op.Gemm(a, b, false, true) })},
	{name: "Gemm A^T B^T", inputs: []input{plain(4, 5), plain(3, 4)}, build: two(func(a, b *op.Node) *op.Node { return op.Gemm(a, b, true, true) })},
	{name: "Linear", inputs: []input{batched(4), plain(3, 4), plain(3)}, build: func(x []*op.Node) *op.Node { return op.Linear(x[0], x[1], x[2]) }},

	{name: "Softmax", inputs: []input{batched(5)}, build: one(func(x *op.Node) *op.Node { return op.Softmax(x, -1) })},
	{name: "Softmax over channels", inputs: []input{batched(3, 2, 2)}, build: one(func(x *op.Node) *op.Node { return op.Softmax(x, 1) })},
	{name: "LogSoftmax", inputs: []input{batched(5)}, build: one(func(x *op.Node) *op.Node { return op.LogSoftmax(x, 1) })},
	{name: "L2Normalize", inputs: []input{batched(5)}, build: one(func(x *op.Node) *op.Node { return op.L2Normalize(x, 1, 1e-12) })},
	{name: "L2Normalize below eps", inputs: []input{batched(5)}, build: one(func(x *op.Node) *op.Node { return op.L2Normalize(x, 1, 4) })},
	{name: "L2Normalize over channels", inputs: []input{batched(3, 2, 2)}, build: one(func(x *op.Node) *op.Node { return op.L2Normalize(x, 1, 1e-12) })},

	{name: "LayerNorm", inputs: []input{batched(3, 5), plain(5), plain(5)}, build: func(x []*op.Node) *op.Node { return op.LayerNorm(x[0], x[1], x[2], 1e-2) }},
	{name: "LayerNorm over two axes", inputs: []input{batched(2, 3), plain(2, 3), plain(2, 3)}, build: func(x []*op.Node) *op.Node { return op.LayerNorm(x[0], x[1], x[2], 1e-2) }},
	{name: "GroupNorm", inputs: []input{batched(4, 2, 3), plain(4), plain(4)}, build: func(x []*op.Node) *op.Node { return op.GroupNorm(x[0], x[1], x[2], 2, 1e-2) }},
	{name: "GroupNorm of vectors", inputs: []input{batched(6), plain(6), plain(6)}, build: func(x []*op.Node) *op.Node { return op.GroupNorm(x[0], x[1], x[2], 3, 1e-2) }},

	{name: "MaxPool2D", inputs: []input{batched(2, 6, 5)}, build: pool(op.Pool{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}})},
	{name: "MaxPool2D overlapping", inputs: []input{batched(2, 5, 4)}, build: pool(op.Pool{Kernel: [2]int{3, 2}, Stride: [2]int{1, 1}})},
	{name: "MaxPool2D default stride", inputs: []input{batched(2, 5, 4)}, build: pool(op.Pool{Kernel: [2]int{2, 2}})},
	{name: "MaxPool2D ceil", inputs: []input{batched(1, 7, 5)}, build: pool(op.Pool{Kernel: [2]int{2, 2}, Ceil: true})},

	{name: "Conv2D", inputs: []input{batched(3, 5, 6), plain(4, 3, 3, 3), plain(4)}, build: convolution(op.Conv{Pad: [4]int{1, 1, 1, 1}})},
	{name: "Conv2D 1x1", inputs: []input{batched(3, 4, 4), plain(5, 3, 1, 1)}, build: convolution(op.Conv{})},
	{name: "Conv2D 1x1 stride 2", inputs: []input{batched(3, 5, 4), plain(2, 3, 1, 1)}, build: convolution(op.Conv{Stride: [2]int{2, 2}})},
	{name: "Conv2D stride 2", inputs: []input{batched(2, 6, 7), plain(3, 2, 3, 3)}, build: convolution(op.Conv{Stride: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}})},
	{name: "Conv2D uneven", inputs: []input{batched(2, 6, 7), plain(3, 2, 2, 3)},
		build: convolution(op.Conv{Stride: [2]int{3, 1}, Pad: [4]int{1, 0, 2, 1}, Dilation: [2]int{1, 2}})},
	{name: "Conv2D dilated", inputs: []input{batched(2, 7, 8), plain(3, 2, 3, 3)}, build: convolution(op.Conv{Stride: [2]int{2, 2}, Dilation: [2]int{2, 2}, Pad: [4]int{2, 2, 2, 2}})},
	{name: "Conv2D grouped", inputs: []input{batched(4, 5, 6), plain(6, 2, 3, 3)}, build: convolution(op.Conv{Groups: 2, Stride: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}})},
	{name: "Conv2D depthwise", inputs: []input{batched(3, 5, 5), plain(3, 1, 3, 3)}, build: convolution(op.Conv{Groups: 3, Pad: [4]int{1, 1, 1, 1}})},
	{name: "Conv2D padding above the kernel", inputs: []input{batched(2, 4, 4), plain(2, 2, 2, 2)}, build: convolution(op.Conv{Pad: [4]int{2, 3, 2, 3}})},
	{name: "gradient of Conv2D by x", inputs: []input{batched(2, 4, 5), plain(3, 2, 3, 3)}, training: true,
		build: gradientOf(0, convolution(op.Conv{Stride: [2]int{2, 1}, Pad: [4]int{1, 1, 1, 1}}))},
	{name: "gradient of Conv2D by w", inputs: []input{batched(4, 4, 4), plain(4, 2, 3, 3)}, training: true,
		build: gradientOf(1, convolution(op.Conv{Groups: 2, Pad: [4]int{1, 1, 1, 1}}))},
	{name: "gradient of Linear", inputs: []input{batched(4), plain(3, 4)}, training: true,
		build: gradientOf(1, two(func(x, w *op.Node) *op.Node { return op.Sigmoid(op.Linear(x, w, nil)) }))},

	{name: "MaxPool2D dilated", inputs: []input{batched(2, 7, 6)}, build: pool(op.Pool{Kernel: [2]int{2, 3}, Stride: [2]int{2, 1}, Dilation: [2]int{3, 2}, Pad: [4]int{1, 2, 0, 1}})},

	{name: "AvgPool2D", inputs: []input{batched(2, 6, 4)}, build: average(op.Pool{Kernel: [2]int{2, 2}}, true)},
	{name: "AvgPool2D padded", inputs: []input{batched(2, 6, 5)}, build: average(op.Pool{Kernel: [2]int{3, 3}, Stride: [2]int{2, 1}, Pad: [4]int{1, 0, 2, 1}}, true)},
	{name: "AvgPool2D without padding", inputs: []input{batched(2, 6, 5)}, build: average(op.Pool{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}}, false)},
	{name: "AvgPool2D ceil", inputs: []input{batched(1, 6, 5)}, build: average(op.Pool{Kernel: [2]int{3, 2}, Stride: [2]int{2, 2}, Ceil: true}, true)},
	{name: "AvgPool2D ceil and padded", inputs: []input{batched(1, 6, 6)}, build: average(op.Pool{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Pad: [4]int{0, 1, 0, 1}, Ceil: true}, true)},
	{name: "AvgPool2D ceil drops a window", inputs: []input{batched(1, 5, 6)}, build: average(op.Pool{Kernel: [2]int{2, 2}, Stride: [2]int{2, 3}, Pad: [4]int{1, 1, 1, 1}, Ceil: true}, true)},
	{name: "MaxPool2D ceil drops a window", inputs: []input{batched(1, 5, 6)}, build: pool(op.Pool{Kernel: [2]int{2, 3}, Stride: [2]int{2, 4}, Pad: [4]int{1, 0, 1, 0}, Ceil: true})},
	{name: "AdaptiveAvgPool2D", inputs: []input{batched(2, 6, 4)}, build: one(func(x *op.Node) *op.Node { return op.AdaptiveAvgPool2D(x, 2, 4) })},
	{name: "AdaptiveAvgPool2D uneven", inputs: []input{batched(2, 7, 3)}, build: one(func(x *op.Node) *op.Node { return op.AdaptiveAvgPool2D(x, 3, 5) })},

	{name: "Upsample", inputs: []input{batched(2, 2, 3)}, build: one(func(x *op.Node) *op.Node { return op.Upsample(x, 2) })},
	{name: "Resize nearest", inputs: []input{batched(2, 3, 4)}, build: resized(5, 7, op.Resampling{})},
	{name: "Resize nearest down", inputs: []input{batched(2, 6, 7)}, build: resized(4, 3, op.Resampling{Coordinates: op.HalfPixel, Rounding: op.RoundPreferDown})},
	{name: "Resize nearest rounded up", inputs: []input{batched(2, 4, 3)}, build: resized(6, 5, op.Resampling{Coordinates: op.AlignCorners, Rounding: op.RoundUp})},
	{name: "Resize nearest to the larger", inputs: []input{batched(2, 4, 3)}, build: resized(2, 6, op.Resampling{Coordinates: op.HalfPixel, Rounding: op.RoundPreferUp})},
	{name: "Resize bilinear", inputs: []input{batched(2, 3, 4)}, build: resized(5, 8, op.Resampling{Interpolation: op.Bilinear})},
	{name: "Resize bilinear aligned", inputs: []input{batched(2, 3, 4)}, build: resized(5, 8, op.Resampling{Interpolation: op.Bilinear, Coordinates: op.AlignCorners})},
	{name: "Resize bilinear down", inputs: []input{batched(1, 8, 7)}, build: resized(3, 4, op.Resampling{Interpolation: op.Bilinear, Coordinates: op.PyTorchHalfPixel})},
	{name: "Resize bilinear by a scale", inputs: []input{batched(1, 4, 4)}, build: resized(2, 2, op.Resampling{Interpolation: op.Bilinear, Scale: [2]float64{0.6, 0.625}})},
	{name: "Resize bicubic", inputs: []input{batched(1, 4, 5)}, build: resized(7, 10, op.Resampling{Interpolation: op.Bicubic})},
	{name: "Resize bicubic aligned", inputs: []input{batched(1, 4, 5)}, build: resized(6, 3, op.Resampling{Interpolation: op.Bicubic, Coordinates: op.AlignCorners, CubicA: -0.5})},

	{name: "ConvTranspose2D", inputs: []input{batched(3, 4, 3), plain(3, 2, 3, 3), plain(2)}, build: transposed(op.Conv{Stride: [2]int{2, 2}, Pad: [4]int{1, 1, 1, 1}}, [2]int{1, 1})},
	{name: "ConvTranspose2D stride 1", inputs: []input{batched(2, 4, 3), plain(2, 3, 3, 3)}, build: transposed(op.Conv{Pad: [4]int{1, 1, 1, 1}}, [2]int{})},
	{name: "ConvTranspose2D uneven", inputs: []input{batched(2, 3, 4), plain(2, 3, 3, 2)},
		build: transposed(op.Conv{Stride: [2]int{3, 2}, Pad: [4]int{1, 0, 0, 1}, Dilation: [2]int{2, 1}}, [2]int{0, 1})},
	{name: "ConvTranspose2D grouped", inputs: []input{batched(4, 3, 3), plain(4, 2, 2, 2), plain(4)}, build: transposed(op.Conv{Stride: [2]int{2, 2}, Groups: 2}, [2]int{})},
	{name: "ConvTranspose2D output padding of a stride", inputs: []input{batched(2, 3, 3), plain(2, 2, 2, 2)},
		build: transposed(op.Conv{Dilation: [2]int{2, 3}, Pad: [4]int{1, 0, 1, 0}}, [2]int{1, 2})},

	{name: "PadWith a value", inputs: []input{batched(3, 2)}, build: padded(1, 2, 1, op.PadConstant, 0.5)},
	{name: "PadWith reflect", inputs: []input{batched(2, 4)}, build: padded(2, 3, 1, op.PadReflect, 0)},
	{name: "PadWith reflect after", inputs: []input{batched(4, 2)}, build: padded(1, 0, 2, op.PadReflect, 0)},
	{name: "PadWith edge", inputs: []input{batched(2, 3)}, build: padded(-1, 2, 3, op.PadEdge, 0)},
	{name: "PadWith wrap", inputs: []input{batched(3, 2)}, build: padded(1, 2, 3, op.PadWrap, 0)},
	{name: "PadWith negative numbers", inputs: []input{batched(5, 2)}, build: padded(1, -2, 1, op.PadEdge, 0)},
	{name: "PixelShuffle", inputs: []input{batched(8, 2, 3)}, build: one(func(x *op.Node) *op.Node { return op.PixelShuffle(x, 2) })},
	{name: "PixelUnshuffle", inputs: []input{batched(2, 4, 6)}, build: one(func(x *op.Node) *op.Node { return op.PixelUnshuffle(x, 2) })},
	{name: "Patchify", inputs: []input{batched(2, 4, 6)}, build: one(func(x *op.Node) *op.Node { return op.Patchify(x, 2) })},
	{name: "Unpatchify", inputs: []input{batched(6, 8)}, build: one(func(x *op.Node) *op.Node { return op.Unpatchify(x, 2, 4, 6) })},
	{name: "PatchEmbed", inputs: []input{batched(2, 4, 6), plain(3, 2, 2, 2), plain(3)}, build: func(x []*op.Node) *op.Node { return op.PatchEmbed(x[0], x[1], x[2]) }},
	{name: "PrependToken", inputs: []input{batched(3, 4), plain(1, 1, 4)}, build: two(op.PrependToken)},
	{name: "TakeRows", inputs: []input{batched(5, 3), batched(2).as(fixed)}, build: two(func(x, order *op.Node) *op.Node {
		return op.TakeRows(x, op.ArgSort(order))
	})},
	{name: "LinearTokens", inputs: []input{batched(3, 4), plain(2, 4), plain(2)}, build: func(x []*op.Node) *op.Node { return op.LinearTokens(x[0], x[1], x[2]) }},
	{name: "Attention", inputs: []input{batched(3, 2), batched(4, 2), batched(4, 3), plain(3, 4)}, build: func(x []*op.Node) *op.Node {
		y, _ := op.Attention(x[0], x[1], x[2], x[3])
		return y
	}},
	{name: "SelfAttention", inputs: []input{batched(3, 4), plain(12, 4), plain(12), plain(4, 4), plain(4)}, build: func(x []*op.Node) *op.Node {
		y, _ := op.SelfAttention{InWeight: op.Scale(x[1], 0.1), InBias: x[2], OutWeight: x[3], OutBias: x[4], Heads: 2}.
			Apply(x[0], op.CausalMask(x[0].Graph(), 3))
		return y
	}},

	{name: "BatchNormTrain", inputs: []input{batched(3, 2, 4), plain(3), plain(3)}, training: true,
		build: func(x []*op.Node) *op.Node { y, _, _ := op.BatchNormTrain(x[0], x[1], x[2], 1e-2); return y }},
	{name: "BatchNormTrain of vectors", inputs: []input{batched(4), plain(4), plain(4)}, training: true,
		build: func(x []*op.Node) *op.Node { y, _, _ := op.BatchNormTrain(x[0], x[1], x[2], 1e-2); return y }},
	{name: "BatchNormEval", inputs: []input{batched(3, 2, 4), plain(3).as(fixed), plain(3).as(positive), plain(3), plain(3)},
		build: func(x []*op.Node) *op.Node {
			return op.BatchNormEval(x[0], op.StopGradient(x[1]), op.StopGradient(x[2]), x[3], x[4], 1e-5)
		}},
	{name: "BatchNormEval of vectors", inputs: []input{batched(3), plain(3).as(fixed), plain(3).as(positive), plain(3), plain(3)},
		build: func(x []*op.Node) *op.Node {
			return op.BatchNormEval(x[0], op.StopGradient(x[1]), op.StopGradient(x[2]), x[3], x[4], 1e-5)
		}},
	{name: "Tan", inputs: []input{batched(5)}, build: small(op.Tan)},
	{name: "Asin", inputs: []input{batched(5)}, build: small(op.Asin)},
	{name: "Acos", inputs: []input{batched(5)}, build: small(op.Acos)},
	{name: "Atan", inputs: []input{batched(5)}, build: one(op.Atan)},
	{name: "Sinh", inputs: []input{batched(5)}, build: one(op.Sinh)},
	{name: "Cosh", inputs: []input{batched(5)}, build: one(op.Cosh)},
	{name: "Asinh", inputs: []input{batched(5)}, build: one(op.Asinh)},
	{name: "Acosh", inputs: []input{batched(5).as(positive)}, build: one(func(x *op.Node) *op.Node { return op.Acosh(op.AddScalar(x, 1)) })},
	{name: "Atanh", inputs: []input{batched(5)}, build: small(op.Atanh)},
	{name: "Floor", inputs: []input{batched(5).as(fixed)}, build: one(op.Floor)},
	{name: "Ceil", inputs: []input{batched(5).as(fixed)}, build: one(op.Ceil)},
	{name: "Round", inputs: []input{batched(5).as(fixed)}, build: one(op.Round)},
	{name: "Remainder", inputs: []input{batched(5).as(fixed), plain(5).as(positive)}, build: two(op.Remainder)},

	{name: "comparisons", inputs: []input{batched(5).as(fixed), plain(5).as(fixed)}, build: two(func(a, b *op.Node) *op.Node {
		equal := op.Xor(op.IsEqual(a, b), op.IsLess(a, b))
		return op.Cast(op.Or(op.And(equal, op.Not(op.IsGreater(a, b))), op.Xor(op.IsAtMost(a, b), op.IsAtLeast(a, b))), op.Float32)
	})},
	{name: "IsNaN and IsInf", inputs: []input{batched(5).as(fixed)}, build: one(func(x *op.Node) *op.Node {
		y := op.Log(x) // NaN below 0
		return op.Cast(op.Or(op.IsNaN(y), op.IsInf(op.Exp(op.Scale(x, 200)), true, true)), op.Float32)
	})},
	{name: "Where of a comparison", inputs: []input{batched(3, 4), plain(4), plain(3, 1)}, build: func(x []*op.Node) *op.Node {
		return op.Where(op.IsGreater(x[0], x[0].Graph().Scalar(0)), x[1], op.Mul(x[2], x[0]))
	}},
	{name: "integers", inputs: []input{batched(4).as(fixed)}, build: one(func(x *op.Node) *op.Node {
		n := op.Cast(op.Scale(x, 100), op.Int64)
		two, seven := op.Cast(x.Graph().Scalar(2), op.Int64), op.Cast(x.Graph().Scalar(-7), op.Int64)
		y := op.Sub(op.Mul(op.Add(n, seven), two), op.Maximum(op.Minimum(n, two), op.Mod(n, seven)))
		return op.Cast(op.Add(op.Div(y, seven), op.Remainder(n, seven)), op.Float32)
	})},
	{name: "IntegerPow", inputs: []input{batched(4).as(fixed)}, build: one(func(x *op.Node) *op.Node {
		n, three := op.Cast(op.Scale(x, 10), op.Int32), op.Cast(x.Graph().Scalar(3), op.Int32)
		return op.Cast(op.Add(op.IntegerPow(n, three), op.IntegerPow(n, op.Cast(three, op.Float32))), op.Float32)
	})},

	{name: "ArgMax", inputs: []input{batched(3, 4).as(fixed)}, build: one(func(x *op.Node) *op.Node { return op.Cast(op.ArgMax(x, 1, false), op.Float32) })},
	{name: "ArgMin of ties", inputs: []input{batched(6).as(fixed)}, build: one(func(x *op.Node) *op.Node { return op.Cast(op.ArgMin(op.Round(x), -1, true), op.Float32) })},
	{name: "TopK", inputs: []input{batched(5, 2)}, build: one(func(x *op.Node) *op.Node { v, _ := op.TopK(x, 3, 1, true); return v })},
	{name: "TopK indices", inputs: []input{batched(5).as(fixed)}, build: one(func(x *op.Node) *op.Node { _, i := op.TopK(x, 2, 1, false); return op.Cast(i, op.Float32) })},
	{name: "CumSum", inputs: []input{batched(4, 2)}, build: one(func(x *op.Node) *op.Node { return op.CumSum(x, 1, false, false) })},
	{name: "CumSum exclusive and reverse", inputs: []input{batched(4)}, build: one(func(x *op.Node) *op.Node { return op.CumSum(x, 1, true, true) })},

	{name: "Gather", inputs: []input{batched(4, 2)}, build: one(func(x *op.Node) *op.Node { return op.Gather(x, places(x, 0, -1, 2, 2, 1), 1) })},
	{name: "Gather of rows", inputs: []input{plain(4, 3), batched(4).as(fixed)}, build: two(func(w, x *op.Node) *op.Node { return op.Gather(w, op.ArgMax(x, 1, false), 0) })},
	{name: "GatherElements", inputs: []input{batched(4, 2)}, build: one(func(x *op.Node) *op.Node { return op.GatherElements(x, op.ArgMax(x, 1, false), 1) })},
	{name: "ScatterElements", inputs: []input{batched(4), batched(1)}, build: two(func(x, v *op.Node) *op.Node {
		return op.ScatterElements(x, op.ArgMax(x, 1, false), v, 1, "none")
	})},
	{name: "ScatterElements adding", inputs: []input{plain(5), plain(3)}, build: two(func(x, v *op.Node) *op.Node {
		return op.ScatterElements(x, places(x, 1, -1, 1), v, 0, "add")
	})},

	{name: "SliceStep", inputs: []input{batched(7, 3)}, build: one(func(x *op.Node) *op.Node { return op.SliceStep(x, 1, 1, 6, 2) })},
	{name: "SliceStep to the end", inputs: []input{batched(2, 7)}, build: one(func(x *op.Node) *op.Node { return op.SliceStep(x, 2, 1, 7, 3) })},
	{name: "Flip", inputs: []input{batched(4, 3)}, build: one(func(x *op.Node) *op.Node { return op.Flip(x, 1) })},
	{name: "Expand", inputs: []input{plain(1, 2, 1), batched(5).as(fixed)}, build: two(func(w, x *op.Node) *op.Node {
		return op.Expand(w, op.Batched(x.Dims[0], 2, 3), x)
	})},
	{name: "Expand with its batch", inputs: []input{batched(1, 2)}, build: one(func(x *op.Node) *op.Node { return op.Expand(x, op.Batched(x.Dims[0], 3, 2), nil) })},
}

// small calls f on a tenth of its input.
func small(f func(x *op.Node) *op.Node) func(x []*op.Node) *op.Node {
	return one(func(x *op.Node) *op.Node { return f(op.Scale(x, 0.1)) })
}

// places is a constant list of int64.
func places(x *op.Node, v ...int64) *op.Node { return x.Graph().ConstOf(engine.NewTensor(v, len(v))) }

// built is a case made into a graph: y, and its gradients by every input that has
// one, under L = sum(y * up).
type built struct {
	tableCase
	g     *op.Graph
	in    []*op.Node
	y     *op.Node
	grads []*op.Node
	feeds engine.Tensors
	up    []float32
}

// batchSize is that of tests which need no other.
const batchSize = 4

func (c tableCase) make(t *testing.T, n int) *built {
	t.Helper()
	b := &built{tableCase: c, g: op.NewGraph(), feeds: engine.Tensors{}}
	r := rand.New(rand.NewPCG(7, uint64(len(c.name))))
	for i, in := range c.inputs {
		name := fmt.Sprintf("x%d", i)
		s := in.shape(n)
		b.in = append(b.in, b.g.Input(name, op.Float32, s))
		b.feeds[name] = engine.NewTensor(values(r, s.Size(), in.domain), s.Dims...)
	}
	b.y = c.build(b.in)
	if err := b.g.Err(); err != nil {
		t.Fatal(err)
	}
	return b
}

// differentiate adds the gradients.
func (b *built) differentiate(t *testing.T) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 5))
	b.up = values(r, b.y.Size(), spread)
	up := b.g.Const(b.up, b.y.Dims...)
	var err error
	if b.grads, err = engine.Backprop(op.Sum(op.Mul(b.y, up), false), b.in...); err != nil {
		t.Fatal(err)
	}
}

func values(r *rand.Rand, n int, d domain) []float32 {
	out := make([]float32, n)
	for i, p := range r.Perm(n) {
		out[i] = float32(p-n/3)*0.1 + 0.05 // sums do not cancel
		if d == positive {
			out[i] = 0.55 + 0.1*float32(p)
		}
	}
	return out
}

func (b *built) function() engine.Function {
	f := engine.Function{Outputs: []export.Output{{Name: "y", Node: b.y}}}
	for i, g := range b.grads {
		if g != nil {
			f.Outputs = append(f.Outputs, export.Output{Name: fmt.Sprintf("dx%d", i), Node: g})
		}
	}
	return f
}

func run(t *testing.T, m engine.Machine, f engine.Function, in engine.Tensors) engine.Tensors {
	t.Helper()
	p, err := m.Compile(f)
	if err != nil {
		t.Fatalf("%s: %v", m.Name(), err)
	}
	defer p.Close()
	if err := p.Load(nil); err != nil {
		t.Fatal(err)
	}
	out, err := p.Run(context.Background(), in)
	if err != nil {
		t.Fatalf("%s: %v", m.Name(), err)
	}
	return out
}

// ortMachine skips the test where there is no ONNX Runtime.
func ortMachine(t *testing.T) engine.Machine {
	t.Helper()
	if _, err := ort.Init(ort.FindOptions{}); errors.Is(err, ort.ErrNoLibrary) {
		t.Skip("no ONNX Runtime (run sslrt setup)")
	} else if err != nil {
		t.Fatal(err)
	}
	return engine.ORT{}
}

// everyCase runs test on the table, as it is and with hashes cut to 8 bits.
func everyCase(t *testing.T, test func(t *testing.T, c tableCase)) {
	for _, bits := range []int{*hashBits, 8} {
		t.Run(fmt.Sprintf("hash%d", bits), func(t *testing.T) {
			defer op.SetHashBits(bits)()
			for _, c := range table {
				t.Run(c.name, func(t *testing.T) { test(t, c) })
			}
		})
	}
}

// distance is the largest difference over the largest value.
func distance(t *testing.T, got, want *tensor.Dense) float64 {
	t.Helper()
	if !slices.Equal([]int(got.Shape()), []int(want.Shape())) {
		t.Fatalf("shapes %v and %v", got.Shape(), want.Shape())
	}
	worst, largest := 0.0, 0.0
	w := want.Float32s()
	for i, v := range got.Float32s() {
		worst = max(worst, math.Abs(float64(v)-float64(w[i])))
		largest = max(largest, math.Abs(float64(w[i])))
	}
	if worst == 0 {
		return 0
	}
	return worst / largest
}
