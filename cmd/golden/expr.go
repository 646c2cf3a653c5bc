package main

import (
	"regexp"

	"github.com/sslrt/sslrt/models/op"
)

// evaluator computes a Python expression over nodes (*op.Node), numbers
// (float64), lists and tuples ([]any) and None (nil). It stops at what it does
// not know.
type evaluator struct {
	vars   map[string]any
	source string
	tokens []string
	next   int
}

var token = regexp.MustCompile(`[A-Za-z_]\w*|\d+\.?\d*|\.|\^T|[-+*/@()\[\],:=><]`)

func evaluate(vars map[string]any, source string) any {
	e := &evaluator{vars: vars, source: source, tokens: token.FindAllString(source, -1)}
	v := e.comparison()
	if e.next < len(e.tokens) {
		stop("cannot read %q at %q", source, e.tokens[e.next])
	}
	return v
}

func (e *evaluator) peek() string {
	if e.next < len(e.tokens) {
		return e.tokens[e.next]
	}
	return ""
}

// accept takes the next token if it is one of these.
func (e *evaluator) accept(any ...string) string {
	for _, t := range any {
		if e.peek() == t {
			e.next++
			return t
		}
	}
	return ""
}

func (e *evaluator) expect(t string) {
	if e.accept(t) == "" {
		stop("cannot read %q at %q", e.source, e.peek())
	}
}

// comparison gives a mask of ones and zeros.
func (e *evaluator) comparison() any {
	a := e.sum()
	switch e.accept(">", "<") {
	case ">":
		return op.Greater(e.node(binary("-", a, e.sum())), 0)
	case "<":
		return op.Greater(e.node(binary("-", e.sum(), a)), 0)
	}
	return a
}

func (e *evaluator) sum() any {
	a := e.product()
	for {
		t := e.accept("+", "-")
		if t == "" {
			return a
		}
		a = binary(t, a, e.product())
	}
}

func (e *evaluator) product() any {
	a := e.unary()
	for {
		t := e.accept("*", "/", "@")
		if t == "" {
			return a
		}
		a = binary(t, a, e.unary())
	}
}

func (e *evaluator) unary() any {
	if e.accept("-") != "" {
		v := e.unary()
		if x, ok := v.(*op.Node); ok {
			return op.Neg(x)
		}
		return -e.number(v)
	}
	return e.postfix()
}

func (e *evaluator) postfix() any {
	v := e.atom()
	for {
		switch e.accept(".", "[", "^T") {
		case ".":
			name := e.peek()
			e.next++
			v = e.method(v, name)
		case "[":
			v = e.index(e.node(v))
		case "^T":
			v = transposed(e.node(v), -1, -2)
		default:
			return v
		}
	}
}

func (e *evaluator) atom() any {
	t := e.peek()
	e.next++
	switch {
	case t == "":
		stop("%q ends early", e.source)
	case t == "(" || t == "[":
		closing := map[string]string{"(": ")", "[": "]"}[t]
		list, tuple := e.list(closing)
		if t == "(" && !tuple && len(list) == 1 {
			return list[0]
		}
		return list
	case t == "None":
		return nil
	case t[0] >= '0' && t[0] <= '9':
		return number(t)
	}
	if v, ok := e.vars[t]; ok {
		return v
	}
	if e.accept("(") == "" {
		stop("%q is not known in %q", t, e.source)
	}
	return e.call(t)
}

// list reads expressions up to a closing bracket, and whether there was a comma.
func (e *evaluator) list(closing string) (list []any, comma bool) {
	for e.accept(closing) == "" {
		list = append(list, e.comparison())
		if e.peek() != closing {
			e.expect(",")
			comma = true
		}
	}
	return list, comma
}

// arguments are those of one call.
type arguments struct {
	list  []any
	named map[string]any
}

func (e *evaluator) arguments() arguments {
	a := arguments{named: map[string]any{}}
	for e.accept(")") == "" {
		if e.next+1 < len(e.tokens) && e.tokens[e.next+1] == "=" {
			name := e.peek()
			e.next += 2
			a.named[name] = e.comparison()
		} else {
			a.list = append(a.list, e.comparison())
		}
		if e.peek() != ")" {
			e.expect(",")
		}
	}
	return a
}

func (e *evaluator) node(v any) *op.Node {
	n, ok := v.(*op.Node)
	if !ok || n == nil { // nil: the graph knows why
		stop("want a tensor, got %v in %q", v, e.source)
	}
	return n
}

func (e *evaluator) number(v any) float64 {
	f, ok := v.(float64)
	if !ok {
		stop("want a number, got %v in %q", v, e.source)
	}
	return f
}

// ints returns whole numbers given one by one or as one tuple.
func (e *evaluator) ints(list []any) []int {
	if len(list) == 1 {
		if inner, ok := list[0].([]any); ok {
			list = inner
		}
	}
	var out []int
	for _, v := range list {
		out = append(out, int(e.number(v)))
	}
	return out
}

func binary(t string, a, b any) any {
	x, isX := a.(*op.Node)
	y, isY := b.(*op.Node)
	if isX && x == nil || isY && y == nil {
		stop("want tensors on both sides of %s", t)
	}
	if !isX && !isY {
		return arithmetic(t, a, b)
	}
	constant := func(v any, like *op.Node) *op.Node {
		f, ok := v.(float64)
		if !ok {
			stop("cannot compute with %v", v)
		}
		return like.Graph().Scalar(f)
	}
	if !isX {
		x = constant(a, y)
	}
	if !isY {
		y = constant(b, x)
	}
	switch t {
	case "+":
		return op.Add(x, y)
	case "-":
		return op.Sub(x, y)
	case "*":
		return op.Mul(x, y)
	case "/":
		return op.Div(x, y)
	}
	return op.MatMul(x, y)
}

func arithmetic(t string, a, b any) float64 {
	x, okX := a.(float64)
	y, okY := b.(float64)
	if !okX || !okY {
		stop("cannot compute %v %s %v", a, t, b)
	}
	switch t {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "/":
		return x / y
	}
	stop("cannot compute %v %s %v", a, t, b)
	return 0
}
