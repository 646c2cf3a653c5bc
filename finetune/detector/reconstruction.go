package detector

import (
	"fmt"
	"math"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
)

// reconstructionNodes writes how far an image and its reconstruction differ at each
// pixel, both in 0 to 1, as a map [N, 1, H, W]: the mean over the channels of the
// squared difference, or 1 less the structural similarity (Bergmann et al., 2019,
// "Improving unsupervised defect segmentation by applying structural similarity to
// autoencoders").
func reconstructionNodes(w writer, image *onnx.ValueInfo, reconstruction string, pre augment.Preprocess, how string) (string, error) {
	c := int64(pre.Channels)
	x, y := image.Name, reconstruction // which is in 0 to 1 in every file of this kind
	if image.Type == onnx.Uint8 {
		x = w.transpose(w.Node("Cast", []string{x}, onnx.IntAttr("to", int64(onnx.Float))), 0, 3, 1, 2)
		x = w.Node("Div", []string{x, w.Float(255)})
	} else {
		x = w.Node("Mul", []string{x, w.Const(onnx.FloatTensor("std", []int64{1, c, 1, 1}, pre.Std[:c]))})
		x = w.Node("Add", []string{x, w.Const(onnx.FloatTensor("mean", []int64{1, c, 1, 1}, pre.Mean[:c]))})
	}
	switch how {
	case ErrorMSE:
		d := w.Node("Sub", []string{x, y})
		return w.reduce("ReduceMean", w.Node("Mul", []string{d, d}), true, 1), nil
	case ErrorSSIM:
		return dissimilarity(w, x, y, pre), nil
	}
	return "", fmt.Errorf("unknown error %q: choose %s or %s", how, ErrorMSE, ErrorSSIM)
}

// dissimilarity is (1 - SSIM) / 2 at each pixel, the mean over the channels, with
// the usual window, a Gaussian of 11 x 11 pixels and sigma 1.5 (Wang et al., 2004).
func dissimilarity(w writer, x, y string, pre augment.Preprocess) string {
	radius := int64(min(5, pre.Height-1, pre.Width-1))
	side, c := 2*radius+1, int64(pre.Channels)
	kernel, sum := make([]float64, side), 0.0
	for i := range kernel {
		kernel[i] = math.Exp(-sq(float64(int64(i)-radius)/1.5) / 2)
		sum += kernel[i]
	}
	window := make([]float32, 0, c*side*side)
	for range c {
		for _, a := range kernel {
			for _, b := range kernel {
				window = append(window, float32(a*b/sum/sum))
			}
		}
	}
	weights := w.Const(onnx.FloatTensor("window", []int64{c, 1, side, side}, window))
	blur := func(v string) string {
		v = w.Node("Pad", []string{v, w.Ints(0, 0, radius, radius, 0, 0, radius, radius)}, onnx.StringAttr("mode", "reflect"))
		return w.Node("Conv", []string{v, weights}, onnx.IntAttr("group", c))
	}
	op := func(name, a, b string) string { return w.Node(name, []string{a, b}) }
	mx, my := blur(x), blur(y)
	xx, yy, xy := op("Mul", mx, mx), op("Mul", my, my), op("Mul", mx, my)
	vx := op("Sub", blur(op("Mul", x, x)), xx)
	vy := op("Sub", blur(op("Mul", y, y)), yy)
	cov := op("Sub", blur(op("Mul", x, y)), xy)
	c1, c2, two := w.Float(1e-4), w.Float(9e-4), w.Float(2) // (0.01)^2, (0.03)^2
	above := op("Mul", op("Add", op("Mul", two, xy), c1), op("Add", op("Mul", two, cov), c2))
	below := op("Mul", op("Add", op("Add", xx, yy), c1), op("Add", op("Add", vx, vy), c2))
	similar := w.reduce("ReduceMean", op("Div", above, below), true, 1)
	return op("Mul", op("Sub", w.Float(1), similar), w.Float(0.5))
}
