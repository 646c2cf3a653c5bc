package main

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/models/op"
)

// Kinds whose cases say in one word or formula what they compute.

func variantOf(b *build) (string, error) {
	var p struct{ Variant string }
	err := b.params(&p)
	return p.Variant, err
}

// reducePattern reads variants such as "mean_dim023_keepdim", "var_unbiased_dim1",
// "sum_all", "amin_last", "amax_dim1 with ties" and "max(dim=1).values with ties".
var reducePattern = regexp.MustCompile(`^(mean|sum|amax|amin|max|var|std|logsumexp|norm1|norm2)(?:_(unbiased|biased))?(?:_(all|last)|_dim(\d+)|\(dim=(\d)\)\.values)(_keepdim)?(?: with ties)?$`)

func buildReduce(b *build) (outputs, error) {
	variant, err := variantOf(b)
	if err != nil {
		return nil, err
	}
	m := reducePattern.FindStringSubmatch(variant)
	if m == nil {
		return nil, uncovered("no variant %q", variant)
	}
	x, err := b.x("x")
	if err != nil {
		return nil, err
	}
	var axes []int // none: all
	if m[3] == "last" {
		axes = []int{len(x.Dims) - 1}
	}
	for _, digit := range m[4] + m[5] {
		axes = append(axes, int(digit-'0'))
	}
	keep := m[6] != ""
	if m[1] == "max" {
		return firstMaximum(x, axes[0]), nil
	}
	return outputs{"y": reduction(x, m[1], m[2] == "unbiased", keep, axes)}, nil
}

func reduction(x *op.Node, name string, unbiased, keep bool, axes []int) *op.Node {
	switch name {
	case "mean":
		return op.Mean(x, keep, axes...)
	case "sum":
		return op.Sum(x, keep, axes...)
	case "amax":
		return op.Max(x, keep, axes...)
	case "amin":
		return op.Neg(op.Max(op.Neg(x), keep, axes...))
	case "norm1":
		return op.Sum(op.Abs(x), keep, axes...)
	case "norm2":
		return op.Sqrt(op.Sum(op.Mul(x, x), keep, axes...))
	case "logsumexp":
		largest := op.StopGradient(op.Max(x, true, axes...))
		sum := op.Log(op.Sum(op.Exp(op.Sub(x, largest)), keep, axes...))
		return op.Add(sum, op.Reshape(largest, sum.Shape))
	}
	d := op.Sub(x, op.Mean(x, true, axes...)) // var or std
	squares := op.Sum(op.Mul(d, d), keep, axes...)
	n := float64(x.Size() / squares.Size())
	if unbiased {
		n--
	}
	variance := op.Scale(squares, 1/n)
	if name == "std" {
		return op.Sqrt(variance)
	}
	return variance
}

// firstMaximum is max(dim), whose gradient goes to the first maximum: that of a
// max-pool whose window is the whole axis, moved to the end.
func firstMaximum(x *op.Node, axis int) outputs {
	var perm, kept []int
	for i, d := range x.Dims {
		if i != axis {
			perm, kept = append(perm, i), append(kept, d)
		}
	}
	n := x.Dims[axis]
	rows := op.Reshape(op.Transpose(x, append(perm, axis)...), op.Dims(x.Size()/n, 1, 1, n))
	pool := op.Pool{Kernel: [2]int{1, n}}
	return outputs{
		"y":       op.Reshape(op.MaxPool2D(rows, pool), op.Dims(kept...)),
		"indices": op.Reshape(op.MaxPool2DIndices(rows, pool), op.Dims(kept...)),
	}
}

// elementwiseOne are the variants of one input, elementwiseTwo those of two.
var elementwiseOne = map[string]func(x *op.Node) *op.Node{
	"exp": op.Exp, "log": op.Log, "sqrt": op.Sqrt, "abs": op.Abs, "neg": op.Neg,
	"sin": op.Sin, "cos": op.Cos, "erf": op.Erf, "tanh": op.Tanh, "sigmoid": op.Sigmoid,
	"square":     func(x *op.Node) *op.Node { return op.Mul(x, x) },
	"reciprocal": func(x *op.Node) *op.Node { return op.Div(x.Graph().Scalar(1), x) },
	"rsqrt":      func(x *op.Node) *op.Node { return op.Div(x.Graph().Scalar(1), op.Sqrt(x)) },
	"log1p":      func(x *op.Node) *op.Node { return op.Log(op.AddScalar(x, 1)) },
	"expm1":      func(x *op.Node) *op.Node { return op.AddScalar(op.Exp(x), -1) },
}

var elementwiseTwo = map[string]func(a, b *op.Node) *op.Node{
	"add": op.Add, "sub": op.Sub, "mul": op.Mul, "div": op.Div, "a/b": op.Div,
	"maximum": op.Maximum, "minimum": op.Minimum, "pow": op.Pow, "pow(a,b)": op.Pow,
}

var (
	powPattern  = regexp.MustCompile(`^pow(-?[\d.]+)$`)
	clipPattern = regexp.MustCompile(`^clip[_(](min|max)?(-?[\d.]+)(?:[_,](-?[\d.]+))?\)?$`)
)

func buildElementwise(b *build) (outputs, error) {
	variant, err := variantOf(b)
	if err != nil {
		return nil, err
	}
	// What follows a space or a comma and a space is a remark: "abs at 0".
	word := strings.TrimSuffix(strings.Fields(variant + " ")[0], ",")
	if f := elementwiseTwo[word]; f != nil {
		in, err := b.all("a", "b")
		if err != nil {
			return nil, err
		}
		return outputs{"y": f(in[0], in[1])}, nil
	}
	x, err := b.x("x")
	if err != nil {
		return nil, err
	}
	if f := elementwiseOne[word]; f != nil {
		return outputs{"y": f(x)}, nil
	}
	if m := powPattern.FindStringSubmatch(word); m != nil {
		return outputs{"y": op.Pow(x, b.g.Scalar(number(m[1])))}, nil
	}
	if m := clipPattern.FindStringSubmatch(word); m != nil {
		lo, hi := number(m[2]), math.Inf(1)
		switch {
		case m[1] == "max":
			lo, hi = math.Inf(-1), lo
		case m[3] != "":
			hi = number(m[3])
		}
		return outputs{"y": op.Clip(x, lo, hi)}, nil
	}
	return nil, uncovered("no variant %q", variant)
}

// number parses what a pattern has matched.
func number(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic(err)
	}
	return v
}
