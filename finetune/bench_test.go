package finetune

import (
	"context"
	"errors"
	"testing"

	"github.com/sslrt/sslrt/runtime/ort"
)

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
