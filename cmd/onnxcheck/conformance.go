package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/models/onnx"
)

// outcome is what became of a test.
type outcome int

const (
	passed outcome = iota
	failed
	unsupported // an operator or an element type that is not on the list
	zeroSize    // a tensor without elements, which is refused by name
)

// tally counts outcomes.
type tally [4]int

// report is what a run of all tests found.
type report struct {
	tests     tally
	operators map[string]*tally
	failures  []string
	zero      []string
	refused   map[string]int // by operator and type
}

// conformance runs all tests of a folder and prints what became of them.
func conformance(ctx context.Context, w io.Writer, dir string, verbose bool) error {
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*", "model.onnx"))
	if len(files) == 0 {
		return fmt.Errorf("%s: no tests: set SSLRT_SHARED", dir)
	}
	r := report{operators: map[string]*tally{}, refused: map[string]int{}}
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return errors.New("interrupted")
		}
		r.run(filepath.Dir(file), verbose)
	}
	r.print(w)
	switch {
	case r.tests[failed] > 0:
		return fmt.Errorf("%d tests fail", r.tests[failed])
	case r.tests[passed] == 0:
		return errors.New("no test passed")
	}
	return nil
}

// run runs the test in a folder: a model, and inputs and outputs in each
// test_data_set_*.
func (r *report) run(dir string, verbose bool) {
	name := filepath.Base(filepath.Dir(dir)) + "/" + filepath.Base(dir)
	model, err := onnx.ReadFile(filepath.Join(dir, "model.onnx"))
	if err == nil {
		sets, _ := filepath.Glob(filepath.Join(dir, "test_data_set_*"))
		if len(sets) == 0 {
			err = errors.New("it has no test_data_set_0")
		}
		for _, set := range sets {
			if err = conforms(model, set); err != nil {
				break
			}
		}
	}
	what := r.judge(name, err)
	r.tests[what]++
	if verbose {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, describe(err))
	}
	if model == nil {
		return
	}
	seen := map[string]bool{}
	for _, n := range model.Graph.Nodes {
		op := n.OpType
		if n.Domain != "" {
			op = n.Domain + "." + op
		}
		if seen[op] {
			continue
		}
		seen[op] = true
		if r.operators[op] == nil {
			r.operators[op] = new(tally)
		}
		r.operators[op][what]++
	}
}

func describe(err error) string {
	if err == nil {
		return "passed"
	}
	return err.Error()
}

func (r *report) judge(name string, err error) outcome {
	var missing *export.Unsupported
	var zero *export.ZeroSize
	switch {
	case err == nil:
		return passed
	case errors.As(err, &missing):
		for _, o := range missing.Operators {
			r.refused[strings.TrimSuffix(o.Name+" of "+o.Type, " of ")]++
		}
		return unsupported
	case errors.As(err, &zero):
		r.zero = append(r.zero, name)
		return zeroSize
	}
	r.failures = append(r.failures, fmt.Sprintf("%s: %v", name, err))
	return failed
}

func (r *report) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "passed\tfailed\tnot supported\tzero size\t  operator\t")
	for _, op := range slices.Sorted(maps.Keys(r.operators)) {
		k := r.operators[op]
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t  %s\t\n", k[passed], k[failed], k[unsupported], k[zeroSize], op)
	}
	t.Flush()
	fmt.Fprintln(w, "\nA test counts for each operator that it holds.")
	fmt.Fprintln(w, "\nnot supported, with the number of tests:")
	for _, what := range slices.Sorted(maps.Keys(r.refused)) {
		fmt.Fprintf(w, "  %s: %d\n", what, r.refused[what])
	}
	fmt.Fprintln(w, "\nrefused because a tensor has no elements:")
	for _, name := range r.zero {
		fmt.Fprintln(w, " ", name)
	}
	if len(r.failures) > 0 {
		fmt.Fprintln(w, "\nfailed:")
		for _, f := range r.failures {
			fmt.Fprintln(w, " ", f)
		}
	}
	fmt.Fprintln(w, "\nsupported operators and element types:")
	for _, o := range export.Operators() {
		fmt.Fprintf(w, "  %s: %s\n", o.Name, typeNames(o))
	}
	fmt.Fprintf(w, "\n%d operators are supported; %d of them are in a test that passed\n", len(export.Operators()), r.inPassed())
	fmt.Fprintf(w, "%d tests: %d passed, %d failed, %d not supported, %d with a tensor of zero size\n",
		r.tests[passed]+r.tests[failed]+r.tests[unsupported]+r.tests[zeroSize], r.tests[passed], r.tests[failed], r.tests[unsupported], r.tests[zeroSize])
}

func (r *report) inPassed() int {
	n := 0
	for _, o := range export.Operators() {
		if k := r.operators[o.Name]; k != nil && k[passed] > 0 {
			n++
		}
	}
	return n
}

func typeNames(o export.Operator) string {
	names := make([]string, len(o.Types))
	for i, t := range o.Types {
		names[i] = t.String()
	}
	return strings.Join(names, ", ")
}
