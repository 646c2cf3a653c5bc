package trace

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime/ort"
)

// Rates are the fastest that this machine reached, in floating-point operations a
// second.
type Rates struct {
	Conv, MatMul float64
}

// kernelRun is a model of one convolution or one matrix product of large, friendly
// sizes.
type kernelRun struct {
	op   string
	x, w []int64
	y    []int64
}

var kernelRuns = []kernelRun{
	{"Conv", []int64{8, 64, 32, 32}, []int64{64, 64, 3, 3}, []int64{8, 64, 32, 32}},
	{"Conv", []int64{8, 128, 28, 28}, []int64{128, 128, 3, 3}, []int64{8, 128, 28, 28}},
	{"Conv", []int64{8, 256, 14, 14}, []int64{256, 256, 3, 3}, []int64{8, 256, 14, 14}},
	{"MatMul", []int64{1024, 1024}, []int64{1024, 1024}, []int64{1024, 1024}},
}

// Measure runs convolutions and a matrix product with constant weights, the case
// that ONNX Runtime is best at, and returns the best rates of several runs.
func Measure(ctx context.Context, opt ort.Options) (Rates, error) {
	var r Rates
	opt.Profile, opt.Optimized, opt.Inputs, opt.Outputs = "", "", nil, nil
	for _, k := range kernelRuns {
		seconds, err := k.best(ctx, opt)
		if err != nil {
			return r, fmt.Errorf("trace: measure %s %v: %w", k.op, k.x, err)
		}
		taps := k.w[0] // of a matrix: the inner size
		if k.op == "Conv" {
			taps = k.w[1] * k.w[2] * k.w[3]
		}
		rate := 2 * float64(count(k.y)) * float64(taps) / seconds
		if k.op == "Conv" {
			r.Conv = max(r.Conv, rate)
		} else {
			r.MatMul = max(r.MatMul, rate)
		}
	}
	return r, nil
}

// Faster returns the larger rates of two measurements.
func (r Rates) Faster(s Rates) Rates {
	return Rates{Conv: max(r.Conv, s.Conv), MatMul: max(r.MatMul, s.MatMul)}
}

func count(dims []int64) int {
	n := 1
	for _, d := range dims {
		n *= int(d)
	}
	return n
}

// best returns the seconds of the fastest run.
func (k kernelRun) best(ctx context.Context, opt ort.Options) (float64, error) {
	b := onnx.NewBuilder(17)
	b.Input(onnx.TensorInfo("x", onnx.Float, fixed(k.x)...))
	b.Output(onnx.TensorInfo("y", onnx.Float, fixed(k.y)...))
	w := b.Const(onnx.FloatTensor("w", k.w, values(count(k.w))))
	var attrs []*onnx.Attr
	if k.op == "Conv" {
		attrs = []*onnx.Attr{onnx.IntsAttr("kernel_shape", k.w[2:]...), onnx.IntsAttr("pads", 1, 1, 1, 1)}
	}
	b.NodeTo(k.op, []string{"x", w}, []string{"y"}, attrs...)
	m, err := b.Model("rate", onnx.Info{})
	if err != nil {
		return 0, err
	}
	data, err := m.Marshal()
	if err != nil {
		return 0, err
	}
	s, err := ort.Open(data, opt)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	x, err := ort.NewTensor(ints(k.x), values(count(k.x)))
	if err != nil {
		return 0, err
	}
	y, err := ort.NewTensor(ints(k.y), make([]float32, count(k.y)))
	if err != nil {
		return 0, err
	}
	const warm, runs = 2, 15
	best := math.Inf(1)
	for i := range warm + runs {
		started := time.Now()
		if err := s.Run(ctx, []*ort.Tensor{x}, []*ort.Tensor{y}); err != nil {
			return 0, err
		}
		if i >= warm {
			best = min(best, time.Since(started).Seconds())
		}
	}
	return best, nil
}

func fixed(sizes []int64) []onnx.Dim {
	var out []onnx.Dim
	for _, d := range sizes {
		out = append(out, onnx.Fixed(d))
	}
	return out
}

func ints(sizes []int64) []int {
	var out []int
	for _, d := range sizes {
		out = append(out, int(d))
	}
	return out
}

// values returns numbers between -0.5 and 0.5 that are neither 0 nor tiny.
func values(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i%13)/13 - 0.49
	}
	return v
}
