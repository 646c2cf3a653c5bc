package main

import (
	"math"
	"slices"

	"github.com/sslrt/sslrt/models/op"
)

// functions of one tensor, called as f(x) or x.f().
var functions = map[string]func(x *op.Node) *op.Node{
	"relu": op.ReLU, "sigmoid": op.Sigmoid, "silu": op.SiLU, "tanh": op.Tanh,
	"exp": op.Exp, "log": op.Log, "abs": op.Abs, "neg": op.Neg, "sqrt": op.Sqrt,
	"sin": op.Sin, "cos": op.Cos, "detach": op.StopGradient, "gelu": op.GELU,
}

// call runs name(...); the opening parenthesis has been read.
func (e *evaluator) call(name string) any {
	a := e.arguments()
	if len(a.list) == 0 {
		stop("%s without arguments in %q", name, e.source)
	}
	switch name {
	case "cat", "concat", "stack":
		list, ok := a.list[0].([]any)
		if !ok || len(list) == 0 {
			stop("%s wants a list in %q", name, e.source)
		}
		axis := e.option(a, 1, "dim", 0)
		nodes := make([]*op.Node, len(list))
		for i, v := range list {
			nodes[i] = e.node(v)
			if name == "stack" {
				nodes[i] = unsqueeze(nodes[i], axis)
			}
		}
		return op.Concat(axis, nodes...)
	case "conv2d":
		return e.conv2d(a)
	case "where":
		if len(a.list) != 3 {
			stop("where wants three arguments in %q", e.source)
		}
		return op.Where(e.node(a.list[0]), e.node(a.list[1]), e.node(a.list[2]))
	case "maximum", "minimum", "matmul":
		if len(a.list) != 2 {
			stop("%s wants two arguments in %q", name, e.source)
		}
		f := map[string]func(a, b *op.Node) *op.Node{"maximum": op.Maximum, "minimum": op.Minimum, "matmul": op.MatMul}[name]
		return f(e.node(a.list[0]), e.node(a.list[1]))
	case "sqrt":
		if v, ok := a.list[0].(float64); ok {
			return math.Sqrt(v)
		}
	}
	x := e.node(a.list[0])
	a.list = a.list[1:]
	return e.apply(x, name, a)
}

// method runs v.name(...).
func (e *evaluator) method(v any, name string) any {
	x := e.node(v)
	if name == "T" {
		return transposed(x, 0, 1)
	}
	e.expect("(")
	return e.apply(x, name, e.arguments())
}

// apply runs a function or method of a tensor.
func (e *evaluator) apply(x *op.Node, name string, a arguments) any {
	if f := functions[name]; f != nil {
		return f(x)
	}
	switch name {
	case "softmax":
		return op.Softmax(x, e.option(a, 0, "dim", -1))
	case "log_softmax":
		return op.LogSoftmax(x, e.option(a, 0, "dim", -1))
	case "permute":
		return op.Transpose(x, e.ints(a.list)...)
	case "t":
		return transposed(x, 0, 1)
	case "transpose":
		axes := e.ints(a.list)
		if len(axes) != 2 {
			stop("transpose wants two axes in %q", e.source)
		}
		return transposed(x, axes[0], axes[1])
	case "reshape", "view":
		return reshape(x, e.ints(a.list))
	case "flatten":
		start := along(x, e.option(a, 0, "start_dim", 0))
		return reshape(x, append(slices.Clone(x.Dims[:start]), -1))
	case "unsqueeze":
		return unsqueeze(x, e.option(a, 0, "dim", 0))
	case "squeeze":
		axis := along(x, e.option(a, 0, "dim", 0))
		return reshape(x, slices.Delete(slices.Clone(x.Dims), axis, axis+1))
	case "expand":
		sizes := e.ints(a.list)
		for i, s := range sizes {
			if s == -1 && len(sizes) == len(x.Dims) {
				sizes[i] = x.Dims[i]
			} else if s < 1 || s > 1<<20 {
				stop("cannot expand to %v in %q", sizes, e.source)
			}
		}
		ones := make([]float32, op.Dims(sizes...).Size())
		for i := range ones {
			ones[i] = 1
		}
		return op.Mul(x, x.Graph().Const(ones, sizes...))
	case "sum", "mean", "amax":
		return e.reduce(x, name, a)
	case "chunk":
		return chunks(x, e.option(a, 0, "chunks", 1), along(x, e.option(a, 1, "dim", 0)))
	case "flip":
		for _, axis := range e.ints(a.list) {
			x = pick(x, along(x, axis), x.Dims[along(x, axis)]-1, -1, -1)
		}
		return x
	}
	stop("no function %q", name)
	return nil
}

func (e *evaluator) reduce(x *op.Node, name string, a arguments) *op.Node {
	var axes []int
	if v, ok := a.named["dim"]; ok {
		axes = e.ints([]any{v})
	} else if len(a.list) > 0 {
		axes = e.ints(a.list[:1])
	}
	keep := e.option(a, 1, "keepdim", 0) != 0
	return map[string]func(*op.Node, bool, ...int) *op.Node{"sum": op.Sum, "mean": op.Mean, "amax": op.Max}[name](x, keep, axes...)
}

func (e *evaluator) conv2d(a arguments) *op.Node {
	if len(a.list) < 2 || len(a.list) > 3 {
		stop("conv2d wants x, w and perhaps b in %q", e.source)
	}
	both := func(name string, otherwise int) pair {
		v := []int{otherwise}
		if given, ok := a.named[name]; ok {
			if v = e.ints([]any{given}); len(v) == 0 {
				stop("conv2d wants a %s in %q", name, e.source)
			}
		}
		return pair{v[0], v[len(v)-1]}
	}
	var bias *op.Node
	if len(a.list) == 3 {
		bias = e.node(a.list[2])
	}
	return op.Conv2D(e.node(a.list[0]), e.node(a.list[1]), bias, op.Conv{
		Stride: both("stride", 1), Pad: both("padding", 0).around(), Dilation: both("dilation", 1),
		Groups: e.option(a, 9, "groups", 1),
	})
}

// option returns a whole number given by position or by name.
func (e *evaluator) option(a arguments, position int, name string, otherwise int) int {
	if v, ok := a.named[name]; ok {
		return int(e.number(v))
	}
	if position < len(a.list) {
		return int(e.number(a.list[position]))
	}
	return otherwise
}

// index runs x[...]; the opening bracket has been read.
func (e *evaluator) index(x *op.Node) *op.Node {
	for axis := 0; e.accept("]") == ""; {
		if axis > 0 {
			e.expect(",")
		}
		if e.accept("None") != "" {
			x = e.node(unsqueeze(x, axis))
			axis++
			continue
		}
		bound := func(otherwise int) int {
			if t := e.peek(); t == ":" || t == "," || t == "]" {
				return otherwise
			}
			return int(e.number(e.sum()))
		}
		if axis >= len(x.Dims) {
			stop("too many indices in %q", e.source)
		}
		size := x.Dims[axis]
		from, to, step := bound(0), size, 1
		e.expect(":")
		to = bound(size)
		if e.accept(":") != "" {
			step = bound(1)
		}
		if from < 0 {
			from += size
		}
		if to < 0 {
			to += size
		}
		if step == 0 || from < 0 || from >= size {
			stop("no such slice in %q", e.source)
		}
		x = e.node(pick(x, axis, from, min(to, size), step))
		axis++
	}
	return x
}

// pick takes every step-th element of an axis.
func pick(x *op.Node, axis, from, to, step int) *op.Node {
	if step == 1 {
		if from == 0 && to == x.Dims[axis] {
			return x
		}
		return op.Slice(x, axis, from, to)
	}
	var parts []*op.Node
	for i := from; i != to && (i < to) == (step > 0) && i < x.Dims[axis]; i += step {
		parts = append(parts, op.Slice(x, axis, i, i+1))
	}
	if len(parts) == 0 {
		stop("an empty slice of %v", x.Type)
	}
	return op.Concat(axis, parts...)
}

func chunks(x *op.Node, n, axis int) []any {
	if n < 1 {
		stop("cannot cut %v into %d chunks", x.Type, n)
	}
	size := (x.Dims[axis] + n - 1) / n
	var out []any
	for at := 0; at < x.Dims[axis]; at += size {
		out = append(out, op.Slice(x, axis, at, min(at+size, x.Dims[axis])))
	}
	return out
}

// along turns an axis counted from the end into one counted from the start.
func along(x *op.Node, axis int) int {
	if axis < 0 {
		axis += len(x.Dims)
	}
	if axis < 0 || axis >= len(x.Dims) {
		stop("no axis %d in %v", axis, x.Type)
	}
	return axis
}

func unsqueeze(x *op.Node, axis int) *op.Node {
	if axis < 0 {
		axis += len(x.Dims) + 1
	}
	if axis < 0 || axis > len(x.Dims) {
		stop("no axis %d to add to %v", axis, x.Type)
	}
	return reshape(x, slices.Insert(slices.Clone(x.Dims), axis, 1))
}

func transposed(x *op.Node, i, j int) *op.Node {
	perm := make([]int, len(x.Dims))
	for k := range perm {
		perm[k] = k
	}
	i, j = along(x, i), along(x, j)
	perm[i], perm[j] = perm[j], perm[i]
	return op.Transpose(x, perm...)
}

// reshape fills in a size of -1.
func reshape(x *op.Node, sizes []int) *op.Node {
	rest, at := x.Size(), -1
	for i, s := range sizes {
		if s == -1 {
			at = i
		} else {
			rest /= max(s, 1)
		}
	}
	if at >= 0 {
		sizes = slices.Clone(sizes)
		sizes[at] = rest
	}
	return op.Reshape(x, op.Dims(sizes...))
}
