package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/models/op"
)

// Cases of kind chain state what they compute in a few lines of Python:
//
//	t=x.reshape(N,L,h,D/h).permute(0,2,1,3)
//	u=t*s (s: (1,h,1,1))
//	y=u.permute(0,2,1,3).reshape(N,L,D)
//
// They are read and built as they stand, so that other chains run too.

// annotation is a remark on an input's shape, which gives sizes their names.
var annotation = regexp.MustCompile(`([A-Za-z]\w*)\s*:\s*\(([^()]*)\)`)

// emptyParens is what is left of remarks in parentheses.
var emptyParens = regexp.MustCompile(`\s\(\s*\)`)

// sizeNames are the usual names of an input's sizes, by the number of its axes.
var sizeNames = map[int][]string{
	2: {"N", "D"},
	3: {"N", "L", "D"},
	4: {"N", "C", "H", "W"},
}

func buildChain(b *build) (out outputs, err error) {
	defer func() {
		if r := recover(); r != nil {
			reason, ok := r.(notCovered) // what the expressions stop with
			if !ok {
				panic(r)
			}
			if err = b.g.Err(); err == nil {
				err = reason
			}
		}
	}()
	var p struct{ Steps []string }
	if err := b.params(&p); err != nil {
		return nil, err
	}
	vars := map[string]any{"True": 1., "False": 0.}
	for _, name := range slices.Backward(b.Inputs) { // the first input names the sizes
		x, err := b.x(name)
		if err != nil {
			return nil, err
		}
		vars[name] = x
		for i, size := range sizeNames[len(x.Dims)] {
			vars[size] = float64(x.Dims[i])
		}
	}
	for _, step := range p.Steps {
		for _, m := range annotation.FindAllStringSubmatch(step, -1) {
			nameSizes(vars, m[1], m[2])
		}
	}
	for _, name := range b.Inputs {
		if _, isNode := vars[name].(*op.Node); !isNode {
			vars[name] = b.in[name] // an input goes before a size of its name
		}
	}
	for _, step := range p.Steps {
		step = emptyParens.ReplaceAllString(annotation.ReplaceAllString(step, ""), "")
		for _, s := range strings.Split(step, ";") {
			if s = strings.TrimSpace(s); s != "" {
				assign(vars, s)
			}
		}
	}
	out = outputs{}
	for _, name := range b.Outputs {
		if n, ok := vars[name].(*op.Node); ok {
			out[name] = n
		}
	}
	return out, nil
}

// nameSizes binds the names in an annotation such as "1,h,1,1".
func nameSizes(vars map[string]any, input, sizes string) {
	x, ok := vars[input].(*op.Node)
	if !ok {
		return
	}
	for i, name := range strings.FieldsFunc(sizes, func(r rune) bool { return r == ',' || r == ' ' }) {
		if i < len(x.Dims) && !strings.ContainsAny(name[:1], "0123456789") {
			vars[name] = float64(x.Dims[i])
		}
	}
}

// assign runs "a,b=expression".
func assign(vars map[string]any, statement string) {
	left, right, ok := strings.Cut(statement, "=")
	if !ok {
		stop("no assignment in %q", statement)
	}
	value := evaluate(vars, right)
	names := strings.Split(left, ",")
	if len(names) == 1 {
		vars[strings.TrimSpace(left)] = value
		return
	}
	list, ok := value.([]any)
	if !ok || len(list) != len(names) {
		stop("cannot assign %q", statement)
	}
	for i, n := range names {
		vars[strings.TrimSpace(n)] = list[i]
	}
}

// stop ends the reading of a chain.
func stop(format string, args ...any) { panic(uncovered(format, args...)) }
