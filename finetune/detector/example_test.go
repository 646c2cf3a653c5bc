package detector_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/detector"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
)

// An encoder, normal images, a file; then the file finds what is not normal. The
// encoder here averages over quarters of the image.
func Example() {
	dir, err := os.MkdirTemp("", "detector-*")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	for i := range 10 { // grey pictures, of about one brightness
		m := flat(uint8(100 + 2*i))
		if err := m.WritePNG(filepath.Join(dir, fmt.Sprintf("%d.png", i))); err != nil {
			panic(err)
		}
	}
	good, err := augment.Open([]string{dir}, augment.SourceOptions{})
	if err != nil {
		panic(err)
	}
	defer good.Close()

	ctx := context.Background()
	model, report, err := detector.Fit(ctx, quarters(), good, detector.Options{Method: detector.MethodMahalanobis, HoldOut: 0.3})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s, learned from %d images, %d held back\n", report.Method, report.Images, report.Held)

	file := filepath.Join(dir, "detector.onnx")
	if err := onnx.WriteFile(file, model); err != nil {
		panic(err)
	}
	d, err := runtime.LoadDetector(file, runtime.Options{})
	if err != nil {
		panic(err)
	}
	defer d.Close()
	for _, grey := range []uint8{108, 240} {
		found, err := d.Detect(ctx, flat(grey))
		if err != nil {
			panic(err)
		}
		fmt.Printf("brightness %d is anomalous: %v\n", grey, found.Anomalous)
	}
	// Output:
	// mahalanobis, learned from 7 images, 3 held back
	// brightness 108 is anomalous: false
	// brightness 240 is anomalous: true
}

// flat is an image of one grey.
func flat(grey uint8) *augment.Image {
	m := augment.NewImage(8, 8)
	for i := range m.Pix {
		m.Pix[i] = grey
	}
	return m
}

// quarters is an encoder of 8x8 images: the means of the four quarters of each
// channel.
func quarters() *onnx.Model {
	b := onnx.NewBuilder(17)
	n := onnx.Symbol("N")
	x := b.Input(onnx.TensorInfo("image", onnx.Float, n, onnx.Fixed(3), onnx.Fixed(8), onnx.Fixed(8)))
	x = b.Node("AveragePool", []string{x}, onnx.IntsAttr("kernel_shape", 4, 4), onnx.IntsAttr("strides", 4, 4))
	b.NodeTo("Flatten", []string{x}, []string{"embedding"})
	b.Output(onnx.TensorInfo("embedding", onnx.Float, n, onnx.Fixed(12)))
	m, err := b.Model("quarters", onnx.Info{Kind: onnx.KindEncoder, EmbeddingSize: 12, Preprocess: augment.EvalPreprocess(8).Metadata()})
	if err != nil {
		panic(err)
	}
	return m
}
