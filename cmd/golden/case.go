package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// Case is one entry of a group's cases.json.
type Case struct {
	Name, File, Op string
	Params         json.RawMessage
	Inputs         []string
	Upstream       []string
	UpstreamOf     map[string]string `json:"upstream_of"`
	Outputs        []string
	Tolerance      Tolerance
	SharedInputs   *struct {
		File   string
		Arrays []string
	} `json:"shared_inputs"`

	// raw holds the whole entry, for keys that only some kinds have.
	raw json.RawMessage
	dir string

	// measured is what running the case found, for the report.
	measured []string
}

func (c *Case) measure(format string, args ...any) {
	c.measured = append(c.measured, c.Name+": "+fmt.Sprintf(format, args...))
}

// Tolerance says how far a result may be from the truth:
// |got - truth| <= atol + rtol*|truth|, element by element.
type Tolerance struct {
	Rtol, Atol float64
	PerOutput  map[string]struct{ Atol *float64 } `json:"per_output"`
}

func (t Tolerance) of(output string) (atol, rtol float64) {
	if p, ok := t.PerOutput[output]; ok && p.Atol != nil {
		return *p.Atol, t.Rtol
	}
	return t.Atol, t.Rtol
}

func readCases(dir string) ([]*Case, error) {
	path := filepath.Join(dir, "cases.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var cases []*Case
	for i, r := range raw {
		c := &Case{raw: r, dir: dir}
		if err := json.Unmarshal(r, c); err != nil {
			return nil, fmt.Errorf("%s: case %d: %w", path, i, err)
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// params decodes the hyper-parameters into v, a pointer to a struct. Values of
// other types than v has are not covered.
func (c *Case) params(v any) error {
	if err := json.Unmarshal(c.Params, v); err != nil {
		return uncovered("parameters: %v", err)
	}
	return nil
}

// strict decodes hyper-parameters of which v must know all.
func strict(params json.RawMessage, v any) error {
	d := json.NewDecoder(bytes.NewReader(params))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return uncovered("parameters: %v", err)
	}
	return nil
}

// open opens the arrays of the case.
func (c *Case) open() (*arrays, error) { return openArrays(filepath.Join(c.dir, c.File)) }

// openShared opens the arrays that the case shares with others.
func (c *Case) openShared() (*arrays, error) {
	if c.SharedInputs == nil {
		return nil, fmt.Errorf("the case names no shared inputs")
	}
	return openArrays(filepath.Join(c.dir, c.SharedInputs.File))
}

// notCovered is the result of a case that the code cannot do yet.
type notCovered string

func (n notCovered) Error() string { return "not covered: " + string(n) }

func uncovered(format string, args ...any) error { return notCovered(fmt.Sprintf(format, args...)) }

// check holds a result against the truth stored for an output: its float64 array
// where there is one.
func (c *Case) check(a *arrays, output string, got []float64) error {
	atol, rtol := c.Tolerance.of(output)
	return checkWithin(a, output, got, atol, rtol)
}

func checkWithin(a *arrays, output string, got []float64, atol, rtol float64) error {
	name := output
	if a.has(output + "_f64") {
		name += "_f64"
	}
	want, err := a.floats(name)
	if err != nil {
		return err
	}
	if len(got) != len(want) {
		return fmt.Errorf("%s: got %d values, want %d", output, len(got), len(want))
	}
	worst, at := 0.0, -1
	for i, w := range want {
		d := math.Abs(got[i] - w)
		if got[i] == w { // infinities too
			d = 0
		}
		if over := d / (atol + rtol*math.Abs(w)); !(over <= worst) {
			worst, at = over, i
		}
	}
	if !(worst <= 1) {
		return fmt.Errorf("%s[%d]: got %.9g, want %.9g (%.3g times the tolerance)", output, at, got[at], want[at], worst)
	}
	return nil
}

// isGrad reports whether an output is a gradient, and of what.
func isGrad(output string) (of string, ok bool) { return strings.CutPrefix(output, "grad_") }
