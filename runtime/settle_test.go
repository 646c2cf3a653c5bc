package runtime_test

import (
	"context"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
)

// No kernel here adds up differently by batch size or place, so two models stand
// in for one that does: the output depends on the number of images in a run, or
// on the images before. The encoder must still give an image one embedding.
func TestBatchDependentModels(t *testing.T) {
	needLibrary(t)
	const size = 4
	for name, last := range map[string]func(b *onnx.Builder, x, mean string) string{
		"number of images": func(b *onnx.Builder, x, mean string) string {
			n := b.Node("Shape", []string{x}, onnx.IntAttr("end", 1))
			return b.Node("Add", []string{mean, b.Node("Cast", []string{n}, onnx.IntAttr("to", int64(onnx.Float)))})
		},
		"place": func(b *onnx.Builder, _, mean string) string {
			return b.Node("CumSum", []string{mean, b.Int(0)})
		},
	} {
		b := onnx.NewBuilder(17)
		dims := []onnx.Dim{onnx.Symbol("N"), onnx.Fixed(3), onnx.Fixed(size), onnx.Fixed(size)}
		x := b.Input(onnx.TensorInfo("image", onnx.Float, dims...))
		mean := b.Node("Flatten", []string{b.Node("GlobalAveragePool", []string{x})})
		b.NodeTo("Identity", []string{last(b, x, mean)}, []string{"embedding"})
		b.Output(onnx.TensorInfo("embedding", onnx.Float, onnx.Symbol("N"), onnx.Fixed(3)))
		m, err := b.Model("test", encoderInfo(size))
		if err != nil {
			t.Fatal(err)
		}
		model, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		e := load(t, model, runtime.Options{})
		ctx := context.Background()
		pictures := make([]*augment.Image, 19)
		for i := range pictures {
			pictures[i] = picture(uint64(i), size, size)
		}
		all, err := e.EmbedBatch(ctx, pictures)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range pictures {
			one, err := e.EmbedBatch(ctx, []*augment.Image{p})
			if err != nil || !equalBits(one, all[3*i:3*i+3]) {
				t.Errorf("%s: image %d: got %v, %v alone and %v among others", name, i, one, err, all[3*i:3*i+3])
			}
		}
	}
}
