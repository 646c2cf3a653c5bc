package objective

import (
	"math"

	"github.com/sslrt/sslrt/models/op"
)

// SSIM is the structural similarity of Wang et al., 2004 ("Image quality assessment:
// from error visibility to structural similarity"), of each channel by itself. The
// zero value has the paper's constants for values in 0..1.
type SSIM struct {
	Window  int     // pixels of the sliding window's side, odd; default 11
	Sigma   float64 // of its Gaussian weights; default 1.5
	Uniform bool    // weigh alike instead
	Range   float64 // of the values; default 1
	K1, K2  float64 // default 0.01 and 0.03
	Padded  bool    // a value for every pixel, zeros around the image; else where the window fits
}

func (o SSIM) withDefaults() SSIM {
	set := func(v *float64, usual float64) {
		if *v == 0 {
			*v = usual
		}
	}
	if o.Window == 0 {
		o.Window = 11
	}
	set(&o.Sigma, 1.5)
	set(&o.Range, 1)
	set(&o.K1, 0.01)
	set(&o.K2, 0.03)
	return o
}

// Map returns the similarity at each position, -1 to 1: x, y and the result are
// [N, C, H, W].
func (o SSIM) Map(x, y *op.Node) *op.Node {
	if x == nil || y == nil {
		return nil
	}
	o = o.withDefaults()
	g := x.Graph()
	if len(x.Dims) != 4 || !x.Shape.Equal(y.Shape) {
		return g.Fail("objective: SSIM: want x, y: [N, C, H, W], got %v and %v", x.Type, y.Type)
	}
	if o.Window < 1 || o.Window%2 == 0 || !o.Padded && min(x.Dims[2], x.Dims[3]) < o.Window {
		return g.Fail("objective: SSIM: a window of %d pixels does not fit into %v: it must be odd and no larger", o.Window, x.Type)
	}
	mx, my := o.average(x), o.average(y)
	mxx, myy, mxy := op.Mul(mx, mx), op.Mul(my, my), op.Mul(mx, my)
	vx := op.Sub(o.average(op.Mul(x, x)), mxx)
	vy := op.Sub(o.average(op.Mul(y, y)), myy)
	cov := op.Sub(o.average(op.Mul(x, y)), mxy)
	c1, c2 := math.Pow(o.K1*o.Range, 2), math.Pow(o.K2*o.Range, 2)
	over := op.Mul(op.AddScalar(op.Scale(mxy, 2), c1), op.AddScalar(op.Scale(cov, 2), c2))
	under := op.Mul(op.AddScalar(op.Add(mxx, myy), c1), op.AddScalar(op.Add(vx, vy), c2))
	return op.Div(over, under)
}

// Loss is 1 - the mean of Map.
func (o SSIM) Loss(x, y *op.Node) *op.Node {
	m := op.Mean(o.Map(x, y), false)
	if m == nil {
		return nil
	}
	return op.Sub(m.Graph().Scalar(1), m)
}

// average applies the window, a column of weights and then a row, to each channel.
func (o SSIM) average(x *op.Node) *op.Node {
	if x == nil {
		return nil
	}
	k := o.Window
	weights, sum := make([]float32, k), 0.0
	weight := func(i int) float64 {
		if o.Uniform {
			return 1
		}
		d := float64(i - k/2)
		return math.Exp(-d * d / (2 * o.Sigma * o.Sigma))
	}
	for i := range k {
		sum += weight(i)
	}
	for i := range k {
		weights[i] = float32(weight(i) / sum)
	}
	pad := 0
	if o.Padded {
		pad = k / 2
	}
	g, n, c := x.Graph(), x.Dims[0], x.Dims[1]
	one := op.Reshape(x, op.Shape{Dims: []int{n * c, 1, x.Dims[2], x.Dims[3]}, Batch: x.Batch})
	down := op.Conv2D(one, g.Const(weights, 1, 1, k, 1), nil, op.Conv{Pad: [4]int{pad, 0, pad, 0}})
	both := op.Conv2D(down, g.Const(weights, 1, 1, 1, k), nil, op.Conv{Pad: [4]int{0, pad, 0, pad}})
	if both == nil {
		return nil
	}
	return op.Reshape(both, op.Shape{Dims: []int{n, c, both.Dims[2], both.Dims[3]}, Batch: x.Batch})
}
