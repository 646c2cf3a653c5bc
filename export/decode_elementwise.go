package export

import (
	"math"

	"github.com/sslrt/sslrt/models/op"
)

// Operators that work on each element by itself.

func unaryRule(f func(x *op.Node) *op.Node) rule {
	return rule{least: 1, most: 1, types: floatOnly, build: unary(f)}
}

func unary(f func(x *op.Node) *op.Node) func(*call) value {
	return func(c *call) value { return just(f(c.arg(0))) }
}

// since1 marks an operator that has not changed since opset 1.
func since1(r rule) rule {
	r.since = 1
	return r
}

// old attributes of opset 6: how b lies on a.
var placed = attrs{"axis": attrInt, "broadcast": attrInt}

func binaryRule(types string, f func(a, b *op.Node) *op.Node) rule {
	return rule{least: 2, most: 2, attrs: placed, types: types, build: func(c *call) value {
		a, b := c.arg(0), c.arg(1)
		return just(f(a, c.placed(a, b)))
	}}
}

// placed gives b axes so that it broadcasts to a, as opset 6 says with an axis.
func (c *call) placed(a, b *op.Node) *op.Node {
	if c.opset >= 7 || c.n.Attr("axis") == nil || a == nil || b == nil {
		return b
	}
	axis := c.axis(a, 0, 0)
	to := op.Shape{Dims: b.Dims, Batch: b.Batch}
	for i := axis + len(b.Dims); i < len(a.Dims); i++ {
		to.Dims = append(to.Dims[:len(to.Dims):len(to.Dims)], 1)
	}
	return op.Reshape(b, to)
}

func variadicRule(types string, f func(a, b *op.Node) *op.Node) rule {
	return rule{least: 1, most: unlimited, types: types, build: func(c *call) value { return just(c.accumulate(f)) }}
}

func (c *call) accumulate(f func(a, b *op.Node) *op.Node) *op.Node {
	in := c.args()
	y := in[0]
	for _, x := range in[1:] {
		y = f(y, x)
	}
	return y
}

var elementwiseRules = map[string]rule{
	"Abs":        unaryRule(op.Abs),
	"Acos":       unaryRule(op.Acos),
	"Acosh":      unaryRule(op.Acosh),
	"Asin":       unaryRule(op.Asin),
	"Asinh":      unaryRule(op.Asinh),
	"Atan":       unaryRule(op.Atan),
	"Atanh":      unaryRule(op.Atanh),
	"Ceil":       unaryRule(op.Ceil),
	"Cos":        unaryRule(op.Cos),
	"Cosh":       unaryRule(op.Cosh),
	"Erf":        unaryRule(op.Erf),
	"Exp":        unaryRule(op.Exp),
	"Floor":      unaryRule(op.Floor),
	"HardSwish":  unaryRule(op.HardSwish),
	"Log":        unaryRule(op.Log),
	"Mish":       unaryRule(op.Mish),
	"Reciprocal": unaryRule(func(x *op.Node) *op.Node { return op.Div(one(x), x) }),
	"Relu":       unaryRule(op.ReLU),
	"Round":      unaryRule(op.Round),
	"Sigmoid":    unaryRule(op.Sigmoid),
	"Sign":       unaryRule(op.Sign),
	"Sin":        unaryRule(op.Sin),
	"Sinh":       unaryRule(op.Sinh),
	"Softplus":   since1(unaryRule(func(x *op.Node) *op.Node { return op.Softplus(x, 1) })),
	"Softsign":   since1(unaryRule(func(x *op.Node) *op.Node { return op.Div(x, op.AddScalar(op.Abs(x), 1)) })),
	"Sqrt":       unaryRule(op.Sqrt),
	"Tan":        unaryRule(op.Tan),
	"Tanh":       unaryRule(op.Tanh),

	"Neg": {least: 1, most: 1, types: numbers, build: func(c *call) value {
		x := c.arg(0)
		if x != nil && x.DType != op.Float32 {
			return just(op.Sub(c.scalar(x, 0), x))
		}
		return just(op.Neg(x))
	}},

	"Celu": {least: 1, most: 1, attrs: attrs{"alpha": attrFloat}, types: floatOnly, build: func(c *call) value {
		x, alpha := c.arg(0), c.float("alpha", 1)
		return just(c.below(x, op.Scale(op.AddScalar(op.Exp(op.Scale(c.negative(x), 1/alpha)), -1), alpha)))
	}},
	"Elu": {least: 1, most: 1, attrs: attrs{"alpha": attrFloat}, types: floatOnly, build: func(c *call) value {
		return just(op.ELU(c.arg(0), c.float("alpha", 1)))
	}},
	"Gelu": {least: 1, most: 1, attrs: attrs{"approximate": attrText}, types: floatOnly, build: decodeGelu},
	"HardSigmoid": {least: 1, most: 1, attrs: attrs{"alpha": attrFloat, "beta": attrFloat}, types: floatOnly, build: func(c *call) value {
		return just(op.Clip(op.AddScalar(op.Scale(c.arg(0), c.float("alpha", 0.2)), c.float("beta", 0.5)), 0, 1))
	}},
	"LeakyRelu": {least: 1, most: 1, attrs: attrs{"alpha": attrFloat}, types: floatOnly, build: func(c *call) value {
		return just(op.LeakyReLU(c.arg(0), c.float("alpha", 0.01)))
	}},
	"PRelu": {least: 2, most: 2, types: floatOnly, build: decodePRelu},
	"Selu": {least: 1, most: 1, attrs: attrs{"alpha": attrFloat, "gamma": attrFloat}, types: floatOnly, build: func(c *call) value {
		x, alpha := c.arg(0), c.float("alpha", 1.67326319217681884765625)
		return just(op.Scale(op.ELU(x, alpha), c.float("gamma", 1.05070102214813232421875)))
	}},
	"Shrink": {least: 1, most: 1, attrs: attrs{"bias": attrFloat, "lambd": attrFloat}, types: floatOnly, build: decodeShrink},
	"ThresholdedRelu": {least: 1, most: 1, attrs: attrs{"alpha": attrFloat}, types: floatOnly, build: func(c *call) value {
		x := c.arg(0)
		return just(op.Where(op.IsGreater(x, c.scalar(x, c.float("alpha", 1))), x, c.scalar(x, 0)))
	}},

	"Add": binaryRule(numbers, op.Add),
	"Sub": binaryRule(numbers, op.Sub),
	"Mul": binaryRule(numbers, op.Mul),
	"Div": binaryRule(numbers, op.Div),
	"Pow": {least: 2, most: 2, attrs: placed, types: numbers, build: decodePow},
	"Mod": {least: 2, most: 2, attrs: attrs{"fmod": attrInt}, types: numbers, build: decodeMod},

	"Max": variadicRule(numbers, op.Maximum),
	"Min": variadicRule(numbers, op.Minimum),
	"Sum": variadicRule(floatOnly, op.Add),
	"Mean": {least: 1, most: unlimited, types: floatOnly, build: func(c *call) value {
		return just(op.Scale(c.accumulate(op.Add), 1/float64(len(c.n.Inputs))))
	}},

	"Clip": {least: 1, most: 3, attrs: attrs{"min": attrFloat, "max": attrFloat}, types: floatOnly, build: decodeClip},
}

func one(x *op.Node) *op.Node {
	if x == nil {
		return nil
	}
	return x.Graph().Scalar(1)
}

// below gives y where x < 0 and x elsewhere.
func (c *call) below(x, y *op.Node) *op.Node {
	return op.Where(op.IsLess(x, c.scalar(x, 0)), y, x)
}

// negative is min(x, 0), so that what is not chosen stays finite.
func (c *call) negative(x *op.Node) *op.Node { return op.Minimum(x, c.scalar(x, 0)) }

func decodeGelu(c *call) value {
	switch how := c.text("approximate", "none"); how {
	case "none":
		return just(op.GELU(c.arg(0)))
	case "tanh":
		return just(op.GELUTanh(c.arg(0)))
	default:
		return c.fail("approximate %q: want none or tanh", how)
	}
}

// decodePRelu: in opset 6 a list of slopes is one for each channel.
func decodePRelu(c *call) value {
	x, slope := c.arg(0), c.arg(1)
	if x == nil || slope == nil {
		return value{}
	}
	if c.opset < 7 && len(slope.Dims) == 1 && len(x.Dims) > 1 && slope.Dims[0] > 1 {
		to := op.Dims(slope.Dims[0])
		for range x.Dims[2:] {
			to.Dims = append(to.Dims, 1)
		}
		slope = op.Reshape(slope, to)
	}
	return just(c.below(x, op.Mul(slope, x)))
}

func decodeShrink(c *call) value {
	x := c.arg(0)
	bias, limit := c.float("bias", 0), c.float("lambd", 0.5)
	y := op.Where(op.IsGreater(x, c.scalar(x, limit)), op.AddScalar(x, -bias), c.scalar(x, 0))
	return just(op.Where(op.IsLess(x, c.scalar(x, -limit)), op.AddScalar(x, bias), y))
}

func decodePow(c *call) value {
	a, b := c.arg(0), c.arg(1)
	if a == nil || b == nil {
		return value{}
	}
	b = c.placed(a, b)
	if a.DType == op.Float32 && b.DType != op.Float32 && b.DType != op.Bool {
		b = op.Cast(b, op.Float32)
	}
	if a.DType != op.Float32 {
		return just(op.IntegerPow(a, b))
	}
	if k := c.values[c.n.Inputs[1]].constant; k != nil && k.dense != nil && k.dense.Shape().TotalSize() == 1 && len(k.dims) <= len(a.Dims) {
		switch v := c.number(1); v { // of any base, which the logarithm in Pow's gradient is not
		case 0.5:
			return just(op.Sqrt(a))
		case 2:
			return just(op.Mul(a, a))
		case 3:
			return just(op.Mul(op.Mul(a, a), a))
		}
	}
	return just(op.Pow(a, b))
}

func decodeMod(c *call) value {
	a, b := c.arg(0), c.arg(1)
	if c.integer("fmod", 0) != 0 {
		return just(op.Remainder(a, b))
	}
	return just(op.Mod(a, b))
}

// decodeClip: the bounds are attributes before opset 11. A lower bound above the
// upper one gives the upper one.
func decodeClip(c *call) value {
	x := c.arg(0)
	lo, hi := c.float("min", float32(math.Inf(-1))), c.float("max", float32(math.Inf(1)))
	for i, bound := range []*float64{&lo, &hi} {
		if !c.has(i + 1) {
			continue
		}
		if c.values[c.n.Inputs[i+1]].node != nil { // computed while the model runs
			return just(c.clipBy(x))
		}
		if *bound = c.number(i + 1); math.IsNaN(*bound) {
			return c.fail("a bound is NaN")
		}
	}
	return just(op.Clip(x, min(lo, hi), hi))
}

func (c *call) clipBy(x *op.Node) *op.Node {
	if lo := c.arg(1); lo != nil {
		x = op.Maximum(x, lo)
	}
	if hi := c.arg(2); hi != nil {
		x = op.Minimum(x, hi)
	}
	return x
}
