package export

import (
	"math"
	"slices"

	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

var resizeAttrs = attrs{"antialias": attrInt, "axes": attrInts, "coordinate_transformation_mode": attrText, "cubic_coeff_a": attrFloat,
	"exclude_outside": attrInt, "extrapolation_value": attrFloat, "keep_aspect_ratio_policy": attrText, "mode": attrText, "nearest_mode": attrText}

// resizing says how one axis is resized: ONNX's attributes.
type resizing struct {
	mode, nearest, coordinates string
	cubicA, outside            float64
	antialias, exclude         bool

	in, out  int
	scale    float64
	from, to float64 // the part of the axis that tf_crop_and_resize reads
}

func decodeResize(c *call) value {
	x := c.arg(0)
	if x == nil {
		return value{}
	}
	how := resizing{mode: c.text("mode", "nearest"), nearest: c.text("nearest_mode", "round_prefer_floor"),
		coordinates: c.text("coordinate_transformation_mode", "half_pixel"), cubicA: c.float("cubic_coeff_a", -0.75),
		antialias: c.integer("antialias", 0) != 0, exclude: c.integer("exclude_outside", 0) != 0, outside: c.float("extrapolation_value", 0)}
	list, ok := c.list("axes", -1)
	if !ok {
		for i := range x.Dims {
			list = append(list, int64(i))
		}
	}
	axes := c.axesOf(list, len(x.Dims))
	roi, scales, sizes, shadow := -1, 1, -1, []int64(nil)
	if c.opset >= 11 {
		roi, scales, sizes = 1, 2, 3
	} else {
		how.coordinates, how.nearest = "asymmetric", "floor"
	}
	var factors []float64
	var outs []int64
	switch {
	case sizes > 0 && !c.empty(sizes):
		outs, shadow = c.intsPair(sizes)
	case !c.empty(scales):
		for _, s := range c.floats(scales) {
			factors = append(factors, float64(s))
		}
	default:
		return c.fail("neither scales nor sizes are given")
	}
	if c.err == nil && len(factors)+len(outs) != len(axes) {
		c.fail("%d scales or sizes for %d axes", len(factors)+len(outs), len(axes))
	}
	var parts []float32
	if how.coordinates == "tf_crop_and_resize" && !c.empty(roi) {
		if parts = c.floats(roi); len(parts) != 2*len(axes) {
			c.fail("%d numbers of roi for %d axes", len(parts), len(axes))
		}
	}
	if c.err != nil {
		return value{}
	}
	if outs != nil {
		outs, factors = c.aspect(x, axes, outs, shadow)
	}
	return just(c.resized(x, axes, factors, outs, parts, how))
}

// aspect returns the sizes that keep_aspect_ratio_policy makes of those asked for,
// and the scales.
func (c *call) aspect(x *op.Node, axes []int, outs, shadow []int64) ([]int64, []float64) {
	factors := make([]float64, len(axes))
	others := c.shadowDims(x)
	for i, a := range axes {
		if outs[i] < 1 || outs[i] > maxInt {
			c.fail("%d is no size", outs[i])
		}
		factors[i] = float64(outs[i]) / float64(x.Dims[a])
		if outs[i] != shadow[i] && (outs[i] != int64(x.Dims[a]) || shadow[i] != int64(others[a])) {
			c.fail("%w", errBatch)
		}
	}
	policy := c.text("keep_aspect_ratio_policy", "stretch")
	if policy == "stretch" || c.err != nil {
		return outs, factors
	}
	factor := slices.Min(factors)
	switch policy {
	case "not_larger":
	case "not_smaller":
		factor = slices.Max(factors)
	default:
		c.fail("keep_aspect_ratio_policy %q is not known", policy)
	}
	outs = slices.Clone(outs)
	for i, a := range axes {
		factors[i] = factor
		outs[i] = int64(math.Floor(factor*float64(x.Dims[a]) + 0.5))
	}
	return outs, factors
}

// resized resizes the axes one after the other.
func (c *call) resized(x *op.Node, axes []int, factors []float64, outs []int64, parts []float32, how resizing) *op.Node {
	for i, a := range axes {
		if c.err != nil || x == nil {
			return nil
		}
		how.in, how.scale, how.from, how.to = x.Dims[a], factors[i], 0, 1
		size := math.Floor(factors[i] * float64(x.Dims[a]))
		if outs != nil {
			size = float64(outs[i])
		}
		if !(factors[i] > 0 && size >= 1 && size <= maxInt) {
			c.fail("axis %d of %v cannot be resized by %g", a, x.Shape, factors[i])
			return nil
		}
		how.out = int(size)
		if parts != nil {
			how.from, how.to = float64(parts[i]), float64(parts[i+len(axes)])
		}
		if how.scale == 1 && how.out == how.in && parts == nil {
			continue
		}
		if a == x.Batch {
			c.fail("resizes the batch axis of %v", x.Shape)
			return nil
		}
		if float64(how.in)*size > float64(foldBudget) || !c.affords(how.in*how.out) {
			c.fail("axis %d of %v is too large to be resized to %d", a, x.Shape, how.out)
			return nil
		}
		x = c.resizedAxis(x, a, how)
	}
	return x
}

// resizedAxis multiplies an axis with the matrix [in, out] of the resizing. What lies
// outside of the part that is read gets a constant.
func (c *call) resizedAxis(x *op.Node, a int, how resizing) *op.Node {
	matrix, beyond := make([]float32, how.in*how.out), make([]bool, how.out)
	for i := range how.out {
		at := how.position(i)
		if how.coordinates == "tf_crop_and_resize" && (at < 0 || at > float64(how.in-1)) {
			beyond[i] = true
			continue
		}
		weights, first, ok := how.weights(at)
		if !ok {
			c.fail("mode %q with nearest_mode %q and coordinates %q is not known", how.mode, how.nearest, how.coordinates)
			return nil
		}
		for k, w := range weights {
			at := min(max(first+k, 0), how.in-1)
			matrix[at*how.out+i] += float32(w)
		}
	}
	last := len(x.Dims) - 1
	perm := make([]int, last+1)
	for i := range perm {
		perm[i] = i
	}
	perm[a], perm[last] = last, a
	y := x
	if a != last {
		y = op.Transpose(x, perm...)
	}
	if last == 0 {
		y = c.remove(op.MatMul(c.insert(y, 0), c.graph.Const(matrix, how.in, how.out)), 0)
	} else {
		y = op.MatMul(y, c.graph.Const(matrix, how.in, how.out))
	}
	if slices.Contains(beyond, true) {
		y = op.Where(c.graph.ConstOf(bools(beyond, []int{how.out})), c.graph.Scalar(how.outside), y)
	}
	if a != last {
		y = op.Transpose(y, perm...)
	}
	return y
}

// position is where element i of the result lies in the original.
func (r resizing) position(i int) float64 {
	x, in := float64(i), float64(r.in)
	width := r.scale * in
	switch r.coordinates {
	case "align_corners":
		if width == 1 {
			return 0
		}
		return x * (in - 1) / (width - 1)
	case "asymmetric":
		return x / r.scale
	case "tf_crop_and_resize":
		if width == 1 {
			return (r.from + r.to) * (in - 1) / 2
		}
		return r.from*(in-1) + x*(r.to-r.from)*(in-1)/(width-1)
	case "pytorch_half_pixel":
		if width == 1 {
			return -0.5
		}
	case "half_pixel_symmetric":
		return in/2*(1-float64(r.out)/width) + (x+0.5)/r.scale - 0.5
	}
	return (x+0.5)/r.scale - 0.5
}

// weights are those of the elements from first on for the position x.
func (r resizing) weights(x float64) (w []float64, first int, ok bool) {
	base := math.Ceil(x) - 1
	ratio := x - base // in (0, 1]
	reach, shrink := 1, 1.0
	kernel := func(d float64) float64 { return max(1-math.Abs(d), 0) }
	switch r.mode {
	case "nearest":
		right := map[string]bool{"round_prefer_floor": ratio > 0.5, "round_prefer_ceil": ratio >= 0.5, "floor": ratio == 1, "ceil": true}
		up, ok := right[r.nearest]
		return []float64{1}, int(base) + btoi(up), ok
	case "linear":
	case "cubic":
		reach, kernel = 2, r.cubic
	default:
		return nil, 0, false
	}
	if r.antialias {
		shrink = min(r.scale, 1)
	}
	start := int(math.Floor(-float64(reach)/shrink)) + 1
	sum := 0.0
	for i := start; i <= 1-start; i++ {
		v := kernel((float64(i) - ratio) * shrink)
		if k := int(base) + i; r.exclude && (k < 0 || k >= r.in) {
			v = 0
		}
		w = append(w, v)
		sum += v
	}
	for i := range w {
		w[i] /= sum
	}
	return w, int(base) + start, true
}

// cubic is Keys' kernel (1981) with the coefficient a.
func (r resizing) cubic(d float64) float64 {
	a := r.cubicA
	d = math.Abs(d)
	switch {
	case d <= 1:
		return ((a+2)*d-(a+3))*d*d + 1
	case d < 2:
		return ((a*d-5*a)*d+8*a)*d - 4*a
	}
	return 0
}

func decodeUpsample(c *call) value {
	x := c.arg(0)
	if x == nil {
		return value{}
	}
	var scales []float32
	if a := c.n.Attr("scales"); a != nil && a.Type == onnx.AttrFloats {
		scales = a.Floats
	} else {
		scales = c.floats(1)
	}
	if c.err == nil && len(scales) != len(x.Dims) {
		c.fail("%d scales for %v", len(scales), x.Shape)
	}
	var axes []int
	var factors []float64
	for i, s := range scales {
		axes, factors = append(axes, i), append(factors, float64(s))
	}
	if c.err != nil {
		return value{}
	}
	return just(c.resized(x, axes, factors, nil, nil, resizing{mode: c.text("mode", "nearest"), nearest: "floor", coordinates: "asymmetric"}))
}
