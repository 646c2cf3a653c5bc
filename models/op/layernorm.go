package op

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// LayerNorm normalises x over its last axes, those that weight and bias have (Ba et
// al., 2016), with the biased variance:
//
//	y = (x - mean) / sqrt(var + eps) * weight + bias
func LayerNorm(x, weight, bias *Node, eps float64) *Node {
	if x == nil || weight == nil || bias == nil {
		return nil
	}
	o := layerStats{axis: len(x.Dims) - len(weight.Dims), eps: eps}
	if o.axis < 0 || len(weight.Dims) == 0 {
		return x.graph.Fail("op: LayerNorm: a weight of %v does not name the last axes of %v", weight.Type, x.Type)
	}
	mean := Apply(layerMean{o}, x, weight, bias)
	inverse := Apply(layerInverse{o}, x, mean)
	return Apply(layerNorm{o}, x, mean, inverse, weight, bias)
}

// GroupNorm normalises x: [N, C, ...] over groups of consecutive channels and all
// positions (Wu and He, 2018); weight and bias: [C]. One group is a layer norm, a
// group for each channel an instance norm.
func GroupNorm(x, weight, bias *Node, groups int, eps float64) *Node {
	if x == nil {
		return nil
	}
	if len(x.Dims) < 2 || groups < 1 || x.Dims[1]%groups != 0 {
		return x.graph.Fail("op: GroupNorm: %v does not split into %d groups of channels", x.Type, groups)
	}
	n, c := x.Dims[0], x.Dims[1]
	rows := Reshape(x, Shape{[]int{n, groups, x.Size() / n / groups}, x.Batch})
	d := Sub(rows, Mean(rows, true, 2))
	unit := Reshape(Div(d, Sqrt(AddScalar(Mean(Mul(d, d), true, 2), eps))), x.Shape)
	along := []int{c}
	for range x.Dims[2:] {
		along = append(along, 1)
	}
	return Add(Mul(unit, Reshape(weight, Dims(along...))), Reshape(bias, Dims(along...)))
}

// layerStats are the attributes that the three nodes of one layer norm share: the
// first axis to normalise over.
type layerStats struct {
	axis int
	eps  float64
}

func (o layerStats) infer(x Type) (Type, error) {
	batch := x.Batch
	if batch >= o.axis {
		batch = -1
	}
	return x.like(batch, o.kept(x.Dims)...), needFloat(x)
}

// kept is the shape of the statistics: the normalised axes have size 1.
func (o layerStats) kept(sizes []int) []int {
	out := append([]int(nil), sizes...)
	for i := o.axis; i < len(out); i++ {
		out[i] = 1
	}
	return out
}

// lower writes the one ONNX node that gives y, mean and inverse deviation of x, of
// so many axes; opsets before 17 get its parts.
func (o layerStats) lower(l *Lowering, rank int, x, w, b string) []string {
	return l.Once(fmt.Sprintf("LayerNorm %s %s %s %d %g", x, w, b, o.axis, o.eps), func() []string {
		if l.Opset < 17 {
			var axes []int
			for i := o.axis; i < rank; i++ {
				axes = append(axes, i)
			}
			mean := l.ReduceMean(x, true, axes...)
			d := l.Node("Sub", []string{x, mean})
			variance := l.ReduceMean(l.Node("Mul", []string{d, d}), true, axes...)
			inverse := l.Node("Reciprocal", []string{deviation(l, variance, o.eps)})
			unit := l.Node("Mul", []string{d, inverse})
			return []string{l.Node("Add", []string{l.Node("Mul", []string{unit, w}), b}), mean, inverse}
		}
		return l.NodeN("LayerNormalization", []string{x, w, b}, 3,
			onnx.IntAttr("axis", int64(o.axis)), onnx.FloatAttr("epsilon", float32(o.eps)))
	})
}

// layerMean is the mean over the normalised axes: inputs x, weight, bias. The last
// two only name the ONNX node that it shares with layerInverse and layerNorm.
type layerMean struct{ layerStats }

func (o layerMean) String() string { return fmt.Sprintf("LayerMean(axis=%d eps=%g)", o.axis, o.eps) }

func (o layerMean) Infer(in []Type) (Type, error) { return o.infer(in[0]) }

func (o layerMean) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	out, y := zeros(o.kept(in[0].Shape())...)
	x, n := f32(in[0]), in[0].Shape().TotalSize()/len(y)
	parallel(len(y), n, func(lo, hi int) {
		for row := lo; row < hi; row++ {
			sum := 0.0
			for _, v := range x[row*n : (row+1)*n] {
				sum += float64(v)
			}
			y[row] = float32(sum / float64(n))
		}
	})
	return out, nil
}

// Grad gives nothing: layerNorm carries the whole gradient of the three.
func (o layerMean) Grad(in []*Node, y, dy *Node) []*Node { return make([]*Node, 3) }

func (o layerMean) ONNX(l *Lowering, n *Node, in []string) string {
	return o.lower(l, len(n.Inputs[0].Dims), in[0], in[1], in[2])[1]
}

// layerInverse is 1 / sqrt(var + eps) over the normalised axes: inputs x, mean.
type layerInverse struct{ layerStats }

func (o layerInverse) String() string {
	return fmt.Sprintf("LayerInverse(axis=%d eps=%g)", o.axis, o.eps)
}

func (o layerInverse) Infer(in []Type) (Type, error) { return o.infer(in[0]) }

func (o layerInverse) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	out, y := zeros(o.kept(in[0].Shape())...)
	x, mean, n := f32(in[0]), f32(in[1]), in[0].Shape().TotalSize()/len(y)
	parallel(len(y), n, func(lo, hi int) {
		for row := lo; row < hi; row++ {
			sum, rest := 0.0, 0.0
			for _, v := range x[row*n : (row+1)*n] {
				d := float64(v) - float64(mean[row])
				sum += d * d
				rest += d // what rounding the mean left
			}
			m := float64(n)
			y[row] = float32(1 / math.Sqrt((sum-rest*rest/m)/m+o.eps))
		}
	})
	return out, nil
}

func (o layerInverse) Grad(in []*Node, y, dy *Node) []*Node { return make([]*Node, 2) }

func (o layerInverse) ONNX(l *Lowering, n *Node, in []string) string {
	mean := n.Inputs[1] // layerMean: its inputs name the shared node
	x, w, b := l.NameOf(mean.Inputs[0]), l.NameOf(mean.Inputs[1]), l.NameOf(mean.Inputs[2])
	return o.lower(l, len(n.Inputs[0].Dims), x, w, b)[2]
}

// layerNorm is y: inputs x, mean, inverse, weight, bias.
type layerNorm struct{ layerStats }

func (o layerNorm) String() string { return fmt.Sprintf("LayerNorm(axis=%d eps=%g)", o.axis, o.eps) }

func (o layerNorm) Infer(in []Type) (Type, error) {
	for _, t := range in[3:] {
		if want := Dims(in[0].Dims[o.axis:]...); !t.Shape.Equal(want) {
			return Type{}, fmt.Errorf("want weight and bias %v, got %v", want, t)
		}
	}
	return in[0], needFloat(in...)
}

func (o layerNorm) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	out, y := zeros(in[0].Shape()...)
	x, mean, inverse, w, b := f32(in[0]), f32(in[1]), f32(in[2]), f32(in[3]), f32(in[4])
	n := len(w)
	parallel(len(mean), n, func(lo, hi int) {
		for row := lo; row < hi; row++ {
			m, s := float64(mean[row]), float64(inverse[row])
			for i := range n {
				y[row*n+i] = float32((float64(x[row*n+i])-m)*s*float64(w[i]) + float64(b[i]))
			}
		}
	})
	return out, nil
}

// Grad is, with u = (x - mean) * inverse and g = dy * weight,
//
//	dx = inverse * (g - mean(g) - u * mean(g*u))
//
// and the sums of dy*u and of dy for weight and bias.
func (o layerNorm) Grad(in []*Node, y, dy *Node) []*Node {
	x, mean, inverse, w := in[0], in[1], in[2], in[3]
	var inner, outer []int
	for i := range x.Dims {
		if i >= o.axis {
			inner = append(inner, i)
		} else {
			outer = append(outer, i)
		}
	}
	u := Mul(Sub(x, mean), inverse)
	g := Mul(dy, w)
	dx := Mul(inverse, Sub(Sub(g, Mean(g, true, inner...)), Mul(u, Mean(Mul(g, u), true, inner...))))
	dw, db := Mul(dy, u), dy
	if len(outer) > 0 {
		dw, db = Sum(dw, false, outer...), Sum(db, false, outer...)
	}
	return []*Node{dx, nil, nil, dw, db}
}

func (o layerNorm) ONNX(l *Lowering, n *Node, in []string) string {
	return o.lower(l, len(n.Inputs[0].Dims), in[0], in[3], in[4])[0]
}
