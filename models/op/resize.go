package op

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// Interpolation says what a resized image takes from the original.
type Interpolation int

const (
	Nearest  Interpolation = iota // one pixel
	Bilinear                      // the 2 x 2 around the position
	Bicubic                       // the 4 x 4 around it (Keys, 1981)
)

// Coordinates says to which position of the original one of the result belongs.
// in and out are the sizes, scale is out/in unless it is given.
type Coordinates int

const (
	// DefaultCoordinates are PyTorch's: Asymmetric for Nearest, else HalfPixel.
	DefaultCoordinates Coordinates = iota
	HalfPixel                      // (i+0.5)/scale - 0.5: edges of the images coincide
	AlignCorners                   // i*(in-1)/(out-1): centres of the corner pixels coincide
	Asymmetric                     // i/scale
	PyTorchHalfPixel               // HalfPixel, but 0 where out is 1
)

// Rounding says which pixel Nearest takes at a position.
type Rounding int

const (
	RoundDown       Rounding = iota // PyTorch's
	RoundUp                         //
	RoundPreferDown                 // the nearest; of two the smaller: ONNX's default
	RoundPreferUp                   // the nearest; of two the larger
)

// Resampling says how Resize reads the original.
type Resampling struct {
	Interpolation Interpolation
	Coordinates   Coordinates
	Rounding      Rounding   // of Nearest
	Scale         [2]float64 // down, right; 0 is the quotient of the sizes
	CubicA        float64    // the cubic's coefficient; 0 is -0.75, PyTorch's
}

// Resize makes x: [N, C, H, W] images of h x w: [N, C, h, w]. Beyond its borders
// the original goes on with its outermost pixels.
func Resize(x *Node, h, w int, r Resampling) *Node {
	if x == nil {
		return nil
	}
	if len(x.Dims) != 4 || h < 1 || w < 1 {
		return x.graph.Fail("op: Resize: want x: [N, C, H, W] and sizes of at least 1, got %v and %dx%d", x, h, w)
	}
	if r.Coordinates == DefaultCoordinates {
		r.Coordinates = HalfPixel
		if r.Interpolation == Nearest {
			r.Coordinates = Asymmetric
		}
	}
	if r.CubicA == 0 {
		r.CubicA = -0.75
	}
	for i, out := range []int{h, w} {
		if r.Scale[i] < 0 || math.IsNaN(r.Scale[i]) || math.IsInf(r.Scale[i], 0) {
			return x.graph.Fail("op: Resize: scale %v, want more than 0", r.Scale)
		}
		if r.Scale[i] == float64(out)/float64(x.Dims[2+i]) {
			r.Scale[i] = 0
		}
	}
	return Apply(resize{r, h, w}, x)
}

// Upsample repeats each pixel of x: [N, C, H, W] factor times down and right.
func Upsample(x *Node, factor int) *Node {
	if x == nil {
		return nil
	}
	if len(x.Dims) != 4 || factor < 1 {
		return x.graph.Fail("op: Upsample: want x: [N, C, H, W] and a factor of at least 1, got %v and %d", x, factor)
	}
	return Resize(x, x.Dims[2]*factor, x.Dims[3]*factor, Resampling{})
}

type resize struct {
	Resampling
	h, w int
}

func (o resize) String() string { return fmt.Sprintf("Resize(%+v h=%d w=%d)", o.Resampling, o.h, o.w) }

func (o resize) Infer(in []Type) (Type, error) {
	x := in[0]
	return x.like(x.Batch, x.Dims[0], x.Dims[1], o.h, o.w), needFloat(in...)
}

// Run goes over the rows first, then over the columns.
func (o resize) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	s := in[0].Shape()
	h, w := s[2], s[3]
	down, right := o.taps(0, h, o.h), o.taps(1, w, o.w)
	out, y := zeros(s[0], s[1], o.h, o.w)
	x := f32(in[0])
	parallel(s[0]*s[1], o.w*(h+o.h)*4, func(lo, hi int) {
		rows := make([]float64, h*o.w)
		for plane := lo; plane < hi; plane++ {
			for i := range h {
				for j, taps := range right {
					sum := 0.0
					for _, t := range taps {
						sum += t.weight * float64(x[(plane*h+i)*w+t.at])
					}
					rows[i*o.w+j] = sum
				}
			}
			for i, taps := range down {
				for j := range o.w {
					sum := 0.0
					for _, t := range taps {
						sum += t.weight * rows[t.at*o.w+j]
					}
					y[(plane*o.h+i)*o.w+j] = float32(sum)
				}
			}
		}
	})
	return out, nil
}

// Grad goes back by the transposed map; where each pixel was repeated it sums up
// the copies.
func (o resize) Grad(in []*Node, y, dy *Node) []*Node {
	x := in[0]
	h, w := x.Dims[2], x.Dims[3]
	if kh, kw := o.h/h, o.w/w; o.repeats(h, w) {
		sum := AvgPool2D(dy, Pool{Kernel: [2]int{kh, kw}}, true)
		return []*Node{Scale(sum, float64(kh*kw))}
	}
	return []*Node{mapPlane(dy, transposeTaps(o.taps(0, h, o.h), h), transposeTaps(o.taps(1, w, o.w), w))}
}

// repeats reports whether the result is the original with each pixel repeated.
func (o resize) repeats(h, w int) bool {
	return o.Interpolation == Nearest && o.Coordinates == Asymmetric && o.Rounding == RoundDown &&
		o.Scale == [2]float64{} && o.h%h == 0 && o.w%w == 0
}

func (o resize) ONNX(l *Lowering, n *Node, in []string) string {
	x := n.Inputs[0]
	attrs := []*onnx.Attr{
		onnx.StringAttr("mode", [...]string{"nearest", "linear", "cubic"}[o.Interpolation]),
		onnx.StringAttr("coordinate_transformation_mode",
			[...]string{"", "half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"}[o.Coordinates]),
	}
	switch o.Interpolation {
	case Nearest:
		attrs = append(attrs, onnx.StringAttr("nearest_mode",
			[...]string{"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"}[o.Rounding]))
	case Bicubic:
		attrs = append(attrs, onnx.FloatAttr("cubic_coeff_a", float32(o.CubicA)))
	}
	scales := []float32{1, 1, o.scale(0, x.Dims[2], o.h), o.scale(1, x.Dims[3], o.w)}
	if exact(scales[2], x.Dims[2], o.h, o.Scale[0]) && exact(scales[3], x.Dims[3], o.w, o.Scale[1]) {
		return l.Node("Resize", []string{in[0], "", l.Floats(scales...)}, attrs...)
	}
	outer := l.Node("Slice", []string{l.Node("Shape", in), l.Ints(0), l.Ints(2), l.Ints(0)})
	sizes := l.Node("Concat", []string{outer, l.Ints(int64(o.h), int64(o.w))}, onnx.IntAttr("axis", 0))
	return l.Node("Resize", []string{in[0], "", "", sizes}, attrs...)
}

func (o resize) scale(i, in, out int) float32 {
	if o.Scale[i] != 0 {
		return float32(o.Scale[i])
	}
	return float32(out) / float32(in)
}

// exact reports whether a scale stands for the very size wanted: a scale that was
// given, or a whole number or its inverse with few digits.
func exact(scale float32, in, out int, given float64) bool {
	return given != 0 || float64(scale)*float64(in) == float64(out)
}
