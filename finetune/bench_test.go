package finetune

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/sslrt/sslrt/runtime/ort"
)

func TestParseTrace(t *testing.T) {
	ops, err := parseTrace([]byte(`[
		{"cat":"Session","name":"model_run","dur":9000,"args":{}},
		{"cat":"Node","name":"a_fence_before","dur":1,"args":{"op_name":"Conv"}},
		{"cat":"Node","name":"a_kernel_time","dur":3000,"args":{"op_name":"Conv"}},
		{"cat":"Node","name":"a_kernel_time","dur":2000,"args":{"op_name":"Conv"}},
		{"cat":"Node","name":"b_kernel_time","dur":500,"args":{"op_name":"Conv"}},
		{"cat":"Node","name":"c_kernel_time","dur":4000,"args":{"op_name":"Gemm"}},
		{"cat":"Node","name":"c_kernel_time","dur":4500,"args":{"op_name":"Gemm"}}]`))
	if err != nil {
		t.Fatal(err)
	}
	want := []OpTime{{"Gemm", 0.004, 1}, {"Conv", 0.0025, 2}}
	if !slices.Equal(ops, want) {
		t.Errorf("got %v, want %v", ops, want)
	}
	for _, bad := range []string{"", "[", "[]", `{"cat":"Node"}`, `[{"cat":"Node","name":"a_kernel_time","dur":"long"}]`} {
		if _, err := parseTrace([]byte(bad)); err == nil {
			t.Errorf("%q is read without an error", bad)
		}
	}
}

func FuzzParseTrace(f *testing.F) {
	f.Add([]byte(`[{"cat":"Node","name":"a_kernel_time","dur":3000,"args":{"op_name":"Conv"}}]`))
	f.Add([]byte(`[{"cat":"Session"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		ops, err := parseTrace(data)
		if err == nil && len(ops) == 0 {
			t.Error("no times and no error")
		}
	})
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		x    []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{5, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(c.x); got != c.want {
			t.Errorf("median(%v) = %g, want %g", c.x, got, c.want)
		}
	}
}

func benchmarkStep(b *testing.B, c Config) {
	if c.Engine == "ort" {
		if _, err := ort.Init(ort.FindOptions{}); errors.Is(err, ort.ErrNoLibrary) {
			b.Skip("no ONNX Runtime: run sslrt setup")
		}
	}
	for range b.N {
		r, err := BenchStep(context.Background(), c, 5, false)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(r.Median, "s/step")
	}
}

// BenchmarkStepORT is the step that is compared with PyTorch's: ResNet-18, 32
// images of 32 pixels, two views of each.
func BenchmarkStepORT(b *testing.B) {
	c := DefaultConfig()
	c.Engine, c.BatchSize, c.ImageSize = "ort", 32, 32
	benchmarkStep(b, c)
}

// BenchmarkStepGo is a step of a quarter of the width on the machine in Go.
func BenchmarkStepGo(b *testing.B) {
	c := DefaultConfig()
	c.Engine, c.Width, c.BatchSize, c.ImageSize = "go", 0.25, 16, 32
	benchmarkStep(b, c)
}
