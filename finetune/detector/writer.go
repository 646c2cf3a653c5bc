package detector

import (
	"fmt"
	"math"

	"github.com/sslrt/sslrt/models/onnx"
)

// minOpset is the oldest version of ONNX's operators that has all that a detector
// is written in.
const minOpset = 11

// writer adds nodes to a model in the form that its opset wants.
type writer struct {
	*onnx.Builder
	opset int64
}

func newWriter(m *onnx.Model) (writer, error) {
	w := writer{onnx.Extend(m), m.Opset("")}
	if w.opset < minOpset {
		return w, fmt.Errorf("it is of opset %d: export it again with opset %d or later", w.opset, minOpset)
	}
	return w, nil
}

// reduce adds a reduction over axes. Their place moved from the attributes to the
// inputs, for ReduceSum in opset 13 and for the others in 18.
func (w writer) reduce(op, x string, keep bool, axes ...int64) string {
	keepdims := onnx.IntAttr("keepdims", 0)
	if keep {
		keepdims = onnx.IntAttr("keepdims", 1)
	}
	if w.opset >= 18 || op == "ReduceSum" && w.opset >= 13 {
		return w.Node(op, []string{x, w.Ints(axes...)}, keepdims)
	}
	return w.Node(op, []string{x}, onnx.IntsAttr("axes", axes...), keepdims)
}

func (w writer) reshape(x string, sizes ...int64) string {
	return w.Node("Reshape", []string{x, w.Ints(sizes...)})
}

func (w writer) transpose(x string, perm ...int64) string {
	return w.Node("Transpose", []string{x}, onnx.IntsAttr("perm", perm...))
}

// slice cuts [lo, hi) out of an axis.
func (w writer) slice(x string, axis, lo, hi int64) string {
	return w.Node("Slice", []string{x, w.Ints(lo), w.Ints(hi), w.Ints(axis)})
}

// squareSum is the sum of squares over an axis, which is dropped.
func (w writer) squareSum(x string, axis int64) string {
	return w.reduce("ReduceSum", w.Node("Mul", []string{x, x}), false, axis)
}

// root is the square root of x, of 0 where rounding made x negative.
func (w writer) root(x string) string {
	return w.Node("Sqrt", []string{w.Node("Max", []string{x, w.Float(0)})})
}

// resize brings x: [N, C, ...] to h x w pixels: "nearest", or "linear" with the
// centres of pixels as PyTorch has them (align_corners=False).
func (w writer) resize(x string, height, width int64, mode string) string {
	// The size of the batch is not known here: it is read from x.
	batch := w.slice(w.Node("Shape", []string{x}), 0, 0, 2)
	sizes := w.Node("Concat", []string{batch, w.Ints(height, width)}, onnx.IntAttr("axis", 0))
	roi, scales := "", ""
	if w.opset < 13 { // not optional there, but may be empty
		roi = w.Const(onnx.FloatTensor("", []int64{0}, nil))
		scales = roi
	}
	attrs := []*onnx.Attr{onnx.StringAttr("mode", mode)}
	if mode == "nearest" {
		attrs = append(attrs, onnx.StringAttr("coordinate_transformation_mode", "asymmetric"), onnx.StringAttr("nearest_mode", "floor"))
	} else {
		attrs = append(attrs, onnx.StringAttr("coordinate_transformation_mode", "half_pixel"))
	}
	return w.Node("Resize", []string{x, roi, scales, sizes}, attrs...)
}

// blur smooths maps x: [N, 1, h, w] by a Gaussian of standard deviation sigma, in
// pixels, cut at four sigma; beyond the border x is mirrored.
func (w writer) blur(x string, height, width int, sigma float64) string {
	radius := min(int(4*sigma+0.5), height-1, width-1)
	if radius < 1 {
		return x
	}
	kernel, sum := make([]float32, 2*radius+1), 0.0
	for i := range kernel {
		sum += math.Exp(-sq(float64(i-radius)/sigma) / 2)
	}
	for i := range kernel {
		kernel[i] = float32(math.Exp(-sq(float64(i-radius)/sigma)/2) / sum)
	}
	r, k := int64(radius), int64(len(kernel))
	x = w.Node("Pad", []string{x, w.Ints(0, 0, r, r, 0, 0, r, r)}, onnx.StringAttr("mode", "reflect"))
	x = w.Node("Conv", []string{x, w.Const(onnx.FloatTensor("blur", []int64{1, 1, 1, k}, kernel))})
	return w.Node("Conv", []string{x, w.Const(onnx.FloatTensor("blur", []int64{1, 1, k, 1}, kernel))})
}

func sq(x float64) float64 { return x * x }

// matrix adds a float32 initialiser under a name of its own.
func (w writer) matrix(name string, data []float32, dims ...int64) string {
	return w.Initializer(name, onnx.FloatTensor("", dims, data))
}
