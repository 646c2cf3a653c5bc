package main

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	source "go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/models/op"
)

// The page about operations: what the reference cases show, and what there is in
// the code. The second part stands behind its title, so that it can be renewed
// without the cases.

const docsHead = `# Operations

Written by ` + "`go run ./cmd/golden -docs docs/operators.md`" + `; do not edit.

## Against PyTorch

The reference cases by kind: how many pass on both machines, values and gradients against float64; the
ONNX operators that the kind is written with, and those that its gradients need besides (the weighted sum
of the results that is differentiated, with Expand, Mul, Reshape and Shape, is counted in), in opset %d; the
lowest opset from 13 on that can hold it, and its gradient where that is another one.

| kind | go | ort | ONNX operators | gradient also | opset |
|---|---|---|---|---|---|
`

const docsTitle = "\n## In Go\n"

const docsCode = docsTitle + `
The functions of package ` + "`models/op`" + `.

| function | |
|---|---|
`

// writeDocs writes the page: t holds the outcomes of the cases in dir.
func writeDocs(path, dir, code string, t *table) error {
	var b strings.Builder
	fmt.Fprintf(&b, docsHead, export.DefaultOpset)
	forms, err := onnxForms(filepath.Join(dir, "ops"))
	if err != nil {
		return err
	}
	for _, kind := range slices.Sorted(maps.Keys(forms)) {
		f := forms[kind]
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", kind, t.share(kind, "go"), t.share(kind, "ort"),
			strings.Join(f.forward.sorted(), ", "), strings.Join(f.gradient.without(f.forward), ", "), f.opsets())
	}
	functions, err := codeDocs(code)
	if err != nil {
		return err
	}
	b.WriteString(functions)
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// share says how many cases of a kind passed on a machine.
func (t *table) share(kind, machine string) string {
	r := t.row("ops", kind, machine)
	return fmt.Sprintf("%d/%d", r.passed, r.passed+r.failed+r.notCovered)
}

type set map[string]bool

func (s set) sorted() []string { return slices.Sorted(maps.Keys(s)) }

func (s set) without(t set) []string {
	return slices.DeleteFunc(s.sorted(), func(v string) bool { return t[v] })
}

// onnxForm says how a kind of case is written as ONNX.
type onnxForm struct {
	forward, gradient           set // operators
	forwardOpset, gradientOpset int // the lowest that do
}

func (f *onnxForm) opsets() string {
	if f.gradientOpset > f.forwardOpset {
		return fmt.Sprintf("%d, gradient %d", f.forwardOpset, f.gradientOpset)
	}
	return fmt.Sprint(f.forwardOpset)
}

func onnxForms(dir string) (map[string]*onnxForm, error) {
	cases, err := readCases(dir)
	if err != nil {
		return nil, err
	}
	forms := map[string]*onnxForm{}
	for _, c := range cases {
		build := opKinds[c.Op]
		if build == nil {
			continue
		}
		b, fn, err := graphOf(c, build)
		if err != nil {
			continue // the table counts it
		}
		b.a.Close()
		f := forms[c.Op]
		if f == nil {
			f = &onnxForm{forward: set{}, gradient: set{}}
			forms[c.Op] = f
		}
		var forward, gradient []export.Output
		for _, o := range fn.Outputs {
			if _, ok := isGrad(o.Name); ok {
				gradient = append(gradient, o)
			} else {
				forward = append(forward, o)
			}
		}
		if err := lowerInto(f.forward, &f.forwardOpset, forward); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		if err := lowerInto(f.gradient, &f.gradientOpset, gradient); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return forms, nil
}

// lowerInto adds the operators of the outputs' ONNX form, and raises lowest to the
// first opset that holds it.
func lowerInto(operators set, lowest *int, outputs []export.Output) error {
	outputs = slices.DeleteFunc(outputs, func(o export.Output) bool { return o.Node.Kind != op.Computed })
	if len(outputs) == 0 {
		return nil
	}
	m, err := export.Lower(outputs, export.Options{})
	if err != nil {
		return err
	}
	for _, n := range m.Graph.Nodes {
		operators[n.OpType] = true
	}
	opset := 13
	for ; opset < export.DefaultOpset; opset++ {
		if _, err := export.Lower(outputs, export.Options{Opset: opset}); err == nil {
			break
		}
	}
	*lowest = max(*lowest, opset)
	return nil
}

// codeDocs is the part of the page that the source of package op gives.
func codeDocs(folder string) (string, error) {
	files := source.NewFileSet()
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return "", err
	}
	var list []*ast.File
	for _, path := range paths { // sorted by Glob
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments)
		if err != nil {
			return "", err
		}
		list = append(list, file)
	}
	p, err := doc.NewFromFiles(files, list, "models/op")
	if err != nil {
		return "", err
	}
	functions := p.Funcs
	for _, t := range p.Types {
		functions = append(functions, t.Funcs...)
		functions = append(functions, t.Methods...)
	}
	var lines []string
	for _, f := range functions {
		if !makesNode(f.Decl) || f.Recv != "" && f.Recv != "SelfAttention" || f.Name == "Apply" && f.Recv == "" {
			continue
		}
		name, text := f.Name, p.Synopsis(f.Doc)
		if f.Recv != "" {
			name = f.Recv + "." + name
		}
		text = strings.TrimPrefix(strings.TrimPrefix(text, f.Name), " ")
		lines = append(lines, fmt.Sprintf("| `%s` | %s |\n", name, strings.ReplaceAll(text, "|", `\|`)))
	}
	slices.Sort(lines)
	return docsCode + strings.Join(lines, ""), nil
}

// makesNode reports whether a function returns nodes.
func makesNode(f *ast.FuncDecl) bool {
	if f.Type.Results == nil {
		return false
	}
	for _, r := range f.Type.Results.List {
		if star, ok := r.Type.(*ast.StarExpr); ok {
			if name, ok := star.X.(*ast.Ident); ok && name.Name == "Node" {
				return true
			}
		}
	}
	return false
}

// renewDocs replaces the part of the page that the code gives.
func renewDocs(page, code string) string {
	head, _, _ := strings.Cut(page, docsTitle)
	return head + code
}
