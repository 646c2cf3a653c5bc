package op

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// BatchNormTrain normalises each channel of x: [N, C] or [N, C, ...] by its own
// mean and variance over all other axes (Ioffe and Szegedy, 2015):
//
//	y = (x - mean) / sqrt(var + eps) * weight + bias
//
// weight and bias: [C]. It returns y and the batch's mean and biased variance,
// both [C], which the running statistics follow; those two carry no gradient of
// their own: y's is the whole.
func BatchNormTrain(x, weight, bias *Node, eps float64) (y, mean, variance *Node) {
	mean = Apply(batchMean{eps}, x, weight, bias)
	variance = Apply(batchVar{eps}, x, mean)
	y = Apply(batchNorm{eps}, x, mean, variance, weight, bias)
	return y, mean, variance
}

// BatchNormEval normalises with given statistics: mean, variance, weight and
// bias are [C]. The statistics carry no gradient.
func BatchNormEval(x, mean, variance, weight, bias *Node, eps float64) *Node {
	return Apply(affineNorm{eps}, x, mean, variance, weight, bias)
}

// channels returns N, C and the number of positions of x: [N, C, ...].
func channels(s []int) (n, c, m int) { return s[0], s[1], Dims(s[2:]...).Size() }

// eachChannel calls f with every run of values of one channel.
func eachChannel(s []int, f func(c, lo, hi int)) {
	n, c, m := channels(s)
	parallel(c, n*m, func(from, to int) {
		for ch := from; ch < to; ch++ {
			for i := range n {
				at := (i*c + ch) * m
				f(ch, at, at+m)
			}
		}
	})
}

func perChannel(x Type) (Type, error) {
	if len(x.Dims) < 2 || len(x.Dims) > 6 {
		return Type{}, fmt.Errorf("want x: [N, C, ...] with 2 to 6 axes, got %v", x)
	}
	return x.like(-1, x.Dims[1]), needFloat(x)
}

// lowerBatchNorm writes the one ONNX node that gives y, mean and variance.
// momentum 0 makes its running statistics those of the batch.
//
// ONNX Runtime computes the running statistics in the memory of the ones it is
// given, also where that memory belongs to a value that other nodes share, and
// its optimiser makes values that are alike one. So each node is given statistics
// that differ from all others; with momentum 0 they do not matter.
func lowerBatchNorm(l *Lowering, x, w, b string, eps float64) []string {
	l.Need(14, "BatchNormalization in training")
	return l.Once(fmt.Sprintf("BatchNorm %s %s %s %g", x, w, b, eps), func() []string {
		own := func() string {
			l.scratch++
			return l.Node("Mul", []string{w, l.Float(float32(l.scratch))})
		}
		return l.NodeN("BatchNormalization", []string{x, w, b, own(), own()}, 3,
			onnx.FloatAttr("epsilon", float32(eps)), onnx.FloatAttr("momentum", 0), onnx.IntAttr("training_mode", 1))
	})
}

// batchMean is the mean of each channel: inputs x, weight, bias. The last two
// only name the ONNX node that it shares with batchVar and batchNorm.
type batchMean struct{ eps float64 }

func (o batchMean) String() string { return fmt.Sprintf("BatchMean(eps=%g)", o.eps) }

func (o batchMean) Infer(in []Type) (Type, error) { return perChannel(in[0]) }

func (o batchMean) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	s := in[0].Shape()
	x := f32(in[0])
	sum := make([]float64, s[1])
	eachChannel(s, func(c, lo, hi int) {
		for _, v := range x[lo:hi] {
			sum[c] += float64(v)
		}
	})
	out, y := zeros(s[1])
	for c := range y {
		y[c] = float32(sum[c] / float64(len(x)/s[1]))
	}
	return out, nil
}

func (o batchMean) Grad(in []*Node, y, dy *Node) []*Node { return make([]*Node, 3) }

func (o batchMean) ONNX(l *Lowering, n *Node, in []string) string {
	return lowerBatchNorm(l, in[0], in[1], in[2], o.eps)[1]
}

// batchVar is the biased variance of each channel: inputs x, mean.
type batchVar struct{ eps float64 }

func (o batchVar) String() string { return fmt.Sprintf("BatchVar(eps=%g)", o.eps) }

func (o batchVar) Infer(in []Type) (Type, error) { return perChannel(in[0]) }

func (o batchVar) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	s := in[0].Shape()
	x, mean := f32(in[0]), f32(in[1])
	sum, rest := make([]float64, s[1]), make([]float64, s[1])
	eachChannel(s, func(c, lo, hi int) {
		for _, v := range x[lo:hi] {
			d := float64(v) - float64(mean[c])
			sum[c] += d * d
			rest[c] += d // what rounding the mean left
		}
	})
	out, y := zeros(s[1])
	m := float64(len(x) / s[1])
	for c := range y {
		y[c] = float32((sum[c] - rest[c]*rest[c]/m) / m)
	}
	return out, nil
}

func (o batchVar) Grad(in []*Node, y, dy *Node) []*Node { return make([]*Node, 2) }

func (o batchVar) ONNX(l *Lowering, n *Node, in []string) string {
	mean := n.Inputs[1] // batchMean: its inputs name the shared node
	x, w, b := l.NameOf(mean.Inputs[0]), l.NameOf(mean.Inputs[1]), l.NameOf(mean.Inputs[2])
	return lowerBatchNorm(l, x, w, b, o.eps)[2]
}

// batchNorm is y: inputs x, mean, variance, weight, bias.
type batchNorm struct{ eps float64 }

func (o batchNorm) String() string { return fmt.Sprintf("BatchNorm(eps=%g)", o.eps) }

func (o batchNorm) Infer(in []Type) (Type, error) { return inferNorm(in) }

func inferNorm(in []Type) (Type, error) {
	c, err := perChannel(in[0])
	for _, t := range in[1:] {
		if err == nil && !t.Shape.Equal(c.Shape) {
			err = fmt.Errorf("want statistics, weight and bias %v, got %v", c.Shape, t)
		}
	}
	return in[0], err
}

func (o batchNorm) Run(in []*tensor.Dense) (*tensor.Dense, error) { return normalise(in, o.eps) }

func normalise(in []*tensor.Dense, eps float64) (*tensor.Dense, error) {
	s := in[0].Shape()
	x, mean, variance, w, b := f32(in[0]), f32(in[1]), f32(in[2]), f32(in[3]), f32(in[4])
	out, y := zeros(s...)
	eachChannel(s, func(c, lo, hi int) {
		scale := float64(w[c]) / math.Sqrt(float64(variance[c])+eps)
		for i := lo; i < hi; i++ {
			y[i] = float32((float64(x[i])-float64(mean[c]))*scale + float64(b[c]))
		}
	})
	return out, nil
}

func (o batchNorm) Grad(in []*Node, y, dy *Node) []*Node {
	x, mean, variance, w := in[0], in[1], in[2], in[3]
	db := channelSum(dy)
	dw := Apply(normWeightGrad(o), x, mean, variance, dy)
	dx := Apply(normInputGrad(o), x, mean, variance, w, dy, dw, db)
	return []*Node{dx, nil, nil, dw, db}
}

// channelSum adds up all axes but the second.
func channelSum(x *Node) *Node {
	if x == nil {
		return nil
	}
	axes := []int{0}
	for i := 2; i < len(x.Dims); i++ {
		axes = append(axes, i)
	}
	return Sum(x, false, axes...)
}

func (o batchNorm) ONNX(l *Lowering, n *Node, in []string) string {
	return lowerBatchNorm(l, in[0], in[3], in[4], o.eps)[0]
}

// normWeightGrad is sum(dy * xhat) of each channel: inputs x, mean, variance, dy.
type normWeightGrad struct{ eps float64 }

func (o normWeightGrad) String() string { return fmt.Sprintf("BatchNormWeightGrad(eps=%g)", o.eps) }

func (o normWeightGrad) Infer(in []Type) (Type, error) { return perChannel(in[0]) }

func (o normWeightGrad) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	s := in[0].Shape()
	x, mean, variance, dy := f32(in[0]), f32(in[1]), f32(in[2]), f32(in[3])
	sum := make([]float64, s[1])
	eachChannel(s, func(c, lo, hi int) {
		for i := lo; i < hi; i++ {
			sum[c] += (float64(x[i]) - float64(mean[c])) * float64(dy[i])
		}
	})
	out, y := zeros(s[1])
	for c := range y {
		y[c] = float32(sum[c] / math.Sqrt(float64(variance[c])+o.eps))
	}
	return out, nil
}

func (o normWeightGrad) Grad(in []*Node, y, dy *Node) []*Node { return notTwice(y, "BatchNorm", 4) }

func (o normWeightGrad) ONNX(l *Lowering, n *Node, in []string) string {
	rank := len(n.Inputs[0].Dims)
	product := l.Node("Mul", []string{centred(l, in[0], in[1], rank), in[3]})
	axes := []int{0, 2, 3, 4, 5}[:rank-1]
	return l.Node("Div", []string{l.ReduceSum(product, false, axes...), deviation(l, in[2], o.eps)})
}

// centred is x - mean, shared by the gradients of one BatchNorm.
func centred(l *Lowering, x, mean string, rank int) string {
	return l.Once("centred "+x+" "+mean, func() []string {
		return []string{l.Node("Sub", []string{x, alongChannels(l, mean, rank)})}
	})[0]
}

// deviation is sqrt(variance + eps).
func deviation(l *Lowering, variance string, eps float64) string {
	return l.Once(fmt.Sprintf("deviation %s %g", variance, eps), func() []string {
		return []string{l.Node("Sqrt", []string{l.Node("Add", []string{variance, l.Float(float32(eps))})})}
	})[0]
}

// alongChannels reshapes v: [C] so that it broadcasts against [N, C, ...].
func alongChannels(l *Lowering, v string, rank int) string {
	if rank == 2 {
		return v
	}
	sizes := []int64{1, -1, 1, 1, 1, 1}[:rank]
	return l.Node("Reshape", []string{v, l.Ints(sizes...)})
}

// normInputGrad is the gradient with respect to x, through the statistics too:
//
//	dx = weight/deviation * (dy - db/M - (x - mean)/deviation * dw/M)
//
// with M values per channel: inputs x, mean, variance, weight, dy, dw, db.
type normInputGrad struct{ eps float64 }

func (o normInputGrad) String() string { return fmt.Sprintf("BatchNormInputGrad(eps=%g)", o.eps) }

func (o normInputGrad) Infer(in []Type) (Type, error) { return in[0], needFloat(in...) }

func (o normInputGrad) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	s := in[0].Shape()
	x, mean, variance, w, dy, dw, db := f32(in[0]), f32(in[1]), f32(in[2]), f32(in[3]), f32(in[4]), f32(in[5]), f32(in[6])
	m := float64(len(x) / s[1])
	out, dx := zeros(s...)
	eachChannel(s, func(c, lo, hi int) {
		inv := 1 / math.Sqrt(float64(variance[c])+o.eps)
		scale, shift, slope := float64(w[c])*inv, float64(db[c])/m, inv*float64(dw[c])/m
		for i := lo; i < hi; i++ {
			dx[i] = float32(scale * (float64(dy[i]) - shift - (float64(x[i])-float64(mean[c]))*slope))
		}
	})
	return out, nil
}

func (o normInputGrad) Grad(in []*Node, y, dy *Node) []*Node { return notTwice(y, "BatchNorm", 7) }

func (o normInputGrad) ONNX(l *Lowering, n *Node, in []string) string {
	x := n.Inputs[0]
	rank := len(x.Dims)
	dev := deviation(l, in[2], o.eps)
	count := l.Float(float32(x.Size() / x.Dims[1]))
	slope := l.Node("Div", []string{in[5], l.Node("Mul", []string{dev, count})})
	shift := l.Node("Div", []string{in[6], count})
	scale := l.Node("Div", []string{in[3], dev})
	along := l.Node("Mul", []string{centred(l, in[0], in[1], rank), alongChannels(l, slope, rank)})
	rest := l.Node("Sub", []string{l.Node("Sub", []string{in[4], alongChannels(l, shift, rank)}), along})
	return l.Node("Mul", []string{rest, alongChannels(l, scale, rank)})
}

// affineNorm normalises with given statistics: inputs x, mean, variance, weight,
// bias.
type affineNorm struct{ eps float64 }

func (o affineNorm) String() string { return fmt.Sprintf("BatchNormEval(eps=%g)", o.eps) }

func (o affineNorm) Infer(in []Type) (Type, error) { return inferNorm(in) }

func (o affineNorm) Run(in []*tensor.Dense) (*tensor.Dense, error) { return normalise(in, o.eps) }

func (o affineNorm) Grad(in []*Node, y, dy *Node) []*Node {
	x, mean, variance, w := in[0], in[1], in[2], in[3]
	dx := Apply(channelScale(o), dy, w, variance)
	return []*Node{dx, nil, nil, Apply(normWeightGrad(o), x, mean, variance, dy), channelSum(dy)}
}

func (o affineNorm) ONNX(l *Lowering, n *Node, in []string) string {
	return l.Node("BatchNormalization", []string{in[0], in[3], in[4], in[1], in[2]}, onnx.FloatAttr("epsilon", float32(o.eps)))
}

// channelScale is v * weight / sqrt(variance + eps): inputs v, weight, variance.
type channelScale struct{ eps float64 }

func (o channelScale) String() string { return fmt.Sprintf("ChannelScale(eps=%g)", o.eps) }

func (o channelScale) Infer(in []Type) (Type, error) { return in[0], needFloat(in...) }

func (o channelScale) Run(in []*tensor.Dense) (*tensor.Dense, error) {
	v, w, variance := f32(in[0]), f32(in[1]), f32(in[2])
	out, y := zeros(in[0].Shape()...)
	eachChannel(in[0].Shape(), func(c, lo, hi int) {
		scale := float64(w[c]) / math.Sqrt(float64(variance[c])+o.eps)
		for i := lo; i < hi; i++ {
			y[i] = float32(float64(v[i]) * scale)
		}
	})
	return out, nil
}

func (o channelScale) Grad(in []*Node, y, dy *Node) []*Node { return notTwice(y, "BatchNormEval", 3) }

func (o channelScale) ONNX(l *Lowering, n *Node, in []string) string {
	scale := l.Node("Div", []string{in[1], deviation(l, in[2], o.eps)})
	return l.Node("Mul", []string{in[0], alongChannels(l, scale, len(n.Dims))})
}

// notTwice reports an operation whose gradient has no gradient.
func notTwice(n *Node, name string, inputs int) []*Node {
	n.graph.Fail("op: %s is not differentiable twice", name)
	return make([]*Node, inputs)
}
