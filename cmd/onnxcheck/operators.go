package main

import (
	"fmt"
	"io"

	"github.com/sslrt/sslrt/export"
)

// writeOperators writes the list of supported operators as a page of the
// documentation.
func writeOperators(w io.Writer) {
	all := export.Operators()
	fmt.Fprintf(w, `# ONNX operators

Written by `+"`go run ./cmd/onnxcheck operators`"+` from the rules of package export: the operators that a model
may hold to become a graph (see [onnx.md](onnx.md)), and the element types of their data. All others are refused
when the model is loaded, by name. `+"`make conformance`"+` runs ONNX's own tests of them.

Opsets 7 to 22; opset 6, which only broadcasts otherwise, too. Operators marked with 1 have not changed since
opset 1. %d operators:

| operator | element types | from opset |
|---|---|---|
`, len(all))
	for _, o := range all {
		fmt.Fprintf(w, "| %s | %s | %d |\n", o.Name, typeNames(o), o.Since)
	}
	fmt.Fprint(w, `
Operands that decide a shape (axes, pads, repeats, sizes) must be known when the model is loaded: constants, or
computed from constants and the shapes of values.
`)
}
