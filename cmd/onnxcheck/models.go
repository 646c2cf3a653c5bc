package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/runtime/ort"
)

// modelOptions says which models are checked, and how.
type modelOptions struct {
	shared, machines, python string
	only                     []string // parts of names; none: all
}

// Tolerances of results: the largest difference beside the largest value.
const (
	outputTolerance    = 1e-4
	statisticTolerance = 1e-5
)

// checks collects what was compared.
type checks struct {
	w              io.Writer
	machines       []engine.Machine
	python         string
	passed, failed int
}

// check prints one comparison.
func (c *checks) check(model, what string, err error, format string, args ...any) {
	detail := fmt.Sprintf(format, args...)
	if err != nil {
		c.failed++
		fmt.Fprintf(c.w, "FAILED %s: %s: %v %s\n", model, what, err, detail)
		return
	}
	c.passed++
	fmt.Fprintf(c.w, "ok     %s: %s %s\n", model, what, detail)
}

// within checks that an error is at most a tolerance.
func (c *checks) within(model, what string, got, most float64) {
	var err error
	if !(got <= most) {
		err = fmt.Errorf("%.2g, want at most %g", got, most)
	}
	c.check(model, what, err, "(%.2g of %g)", got, most)
}

// checkModels runs all models of the folder.
func checkModels(ctx context.Context, w io.Writer, opt modelOptions) error {
	c := &checks{w: w, python: opt.python}
	for _, name := range strings.Split(opt.machines, ",") {
		switch name {
		case "go":
			c.machines = append(c.machines, engine.Go{})
		case "ort":
			if _, err := ort.Init(ort.FindOptions{}); err != nil {
				return fmt.Errorf("%w (or leave it out: -machine go)", err)
			}
			c.machines = append(c.machines, engine.ORT{})
		default:
			return fmt.Errorf("there is no machine %q: choose go and ort", name)
		}
	}
	described, _ := filepath.Glob(filepath.Join(opt.shared, "onnx", "*", "*.json"))
	plain, _ := filepath.Glob(filepath.Join(opt.shared, "models", "*", "*.onnx"))
	wanted := func(path string) bool {
		return len(opt.only) == 0 || slices.ContainsFunc(opt.only, func(part string) bool { return strings.Contains(filepath.ToSlash(path), part) })
	}
	for _, path := range described {
		if err := ctx.Err(); err != nil {
			return errors.New("interrupted")
		}
		if wanted(path) {
			c.guard(filepath.Base(path), func() error { return c.described(ctx, path) })
		}
	}
	for _, path := range plain {
		if err := ctx.Err(); err != nil {
			return errors.New("interrupted")
		}
		if wanted(path) {
			c.guard(filepath.Base(path), func() error { return c.plain(ctx, path) })
		}
	}
	fmt.Fprintf(w, "%d checks passed, %d failed\n", c.passed, c.failed)
	switch {
	case c.failed > 0:
		return fmt.Errorf("%d checks fail", c.failed)
	case c.passed == 0:
		return fmt.Errorf("%s: no models: set SSLRT_SHARED", opt.shared)
	}
	return nil
}

// guard makes an error or a panic a failure of the one model.
func (c *checks) guard(name string, f func() error) {
	defer func() {
		if r := recover(); r != nil {
			c.check(name, "run", fmt.Errorf("panic: %v", r), "")
		}
	}()
	if err := f(); err != nil {
		c.check(name, "run", err, "")
	}
}
