package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// The tolerance of ONNX's own runner.
const (
	absolute = 1e-7
	relative = 1e-3
)

// conforms decodes a model for the inputs of a test, runs it on the Go machine and
// compares.
func conforms(m *onnx.Model, set string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	given, readErr := readInputs(m, set)
	d, in, err := decodeFor(m, given)
	if err != nil {
		return err
	}
	if readErr != nil {
		return readErr
	}
	var f engine.Function
	for _, o := range m.Graph.Outputs {
		f.Outputs = append(f.Outputs, export.Output{Name: "output " + o.Name, Node: d.Outputs[o.Name]})
	}
	p, err := engine.Go{}.Compile(f)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Load(engine.Tensors(d.Params)); err != nil {
		return err
	}
	got, err := p.Run(context.Background(), in)
	if err != nil {
		return err
	}
	for i, o := range m.Graph.Outputs {
		want, err := readTensor(filepath.Join(set, fmt.Sprintf("output_%d.pb", i)))
		if err != nil {
			return err
		}
		if err := compare(got["output "+o.Name], want); err != nil {
			return fmt.Errorf("output %q: %w", o.Name, err)
		}
	}
	return nil
}

// readInputs reads the inputs of a test. A tensor that cannot be read is left out, so
// that the model is what is judged first.
func readInputs(m *onnx.Model, set string) (map[string]*onnx.Tensor, error) {
	given := map[string]*onnx.Tensor{}
	var failure error
	i := 0
	for _, in := range m.Graph.Inputs {
		if m.Graph.Initializer(in.Name) != nil {
			continue
		}
		t, err := readTensor(filepath.Join(set, fmt.Sprintf("input_%d.pb", i)))
		i++
		if err != nil {
			failure = err
			continue
		}
		given[in.Name] = t
	}
	return given, failure
}

func readTensor(path string) (*onnx.Tensor, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return onnx.UnmarshalTensor(data)
}

// decodeFor decodes a model for these inputs. Those that decide shapes are bound: the
// decoder names them. in are the others.
func decodeFor(m *onnx.Model, given map[string]*onnx.Tensor) (d *export.Decoded, in engine.Tensors, err error) {
	bound := map[string]*onnx.Tensor{}
	for name, t := range given {
		if n, err := t.Elems(); err == nil && n == 0 {
			bound[name] = t
		}
	}
	for {
		in = engine.Tensors{}
		shapes := map[string]op.Shape{}
		for name, t := range given {
			if bound[name] != nil {
				continue
			}
			v, err := dense(t)
			if err != nil {
				shapes[name] = op.Dims() // of a type that is refused
				continue
			}
			in[name], shapes[name] = v, op.Dims(v.Shape().Clone()...)
		}
		d, err = export.DecodeWith(m, export.DecodeOptions{Shapes: shapes, Values: bound})
		var unbound *export.Unbound
		if !errors.As(err, &unbound) {
			return d, in, err
		}
		before := len(bound)
		for _, name := range unbound.Inputs {
			bound[name] = given[name]
		}
		if len(bound) == before {
			return nil, nil, err
		}
	}
}

// dense returns a tensor of the file as a machine takes it.
func dense(t *onnx.Tensor) (*tensor.Dense, error) {
	sizes := make([]int, len(t.Dims))
	for i, n := range t.Dims {
		sizes[i] = int(n)
	}
	switch t.Type {
	case onnx.Float:
		v, err := t.Floats()
		if err != nil {
			return nil, err
		}
		return engine.NewTensor(v, sizes...), nil
	case onnx.Int64:
		v, err := t.Int64s()
		if err != nil {
			return nil, err
		}
		return engine.NewTensor(v, sizes...), nil
	case onnx.Int32, onnx.Bool:
		v, err := t.Int64s()
		if err != nil {
			return nil, err
		}
		if t.Type == onnx.Bool {
			return engine.NewTensor(mapped(v, func(x int64) bool { return x != 0 }), sizes...), nil
		}
		return engine.NewTensor(mapped(v, func(x int64) int32 { return int32(x) }), sizes...), nil
	}
	return nil, fmt.Errorf("a tensor of type %v", t.Type)
}

func mapped[T, R any](x []T, f func(T) R) []R {
	y := make([]R, len(x))
	for i, v := range x {
		y[i] = f(v)
	}
	return y
}

// compare tells how a result differs from the one in the file.
func compare(got *tensor.Dense, file *onnx.Tensor) error {
	if n, err := file.Elems(); err == nil && n == 0 {
		return &export.ZeroSize{Dims: mapped(file.Dims, func(n int64) int { return int(n) })}
	}
	want, err := dense(file)
	if err != nil {
		return err
	}
	if !slices.Equal([]int(got.Shape()), []int(want.Shape())) || got.Dtype() != want.Dtype() {
		return fmt.Errorf("got %v%v, want %v%v", got.Dtype(), got.Shape(), want.Dtype(), want.Shape())
	}
	switch want.Dtype() {
	case tensor.Int64:
		return differs(got.Int64s(), want.Int64s(), func(a, b int64) bool { return a == b })
	case tensor.Int32:
		return differs(got.Int32s(), want.Int32s(), func(a, b int32) bool { return a == b })
	case tensor.Bool:
		return differs(got.Bools(), want.Bools(), func(a, b bool) bool { return a == b })
	}
	return differs(got.Float32s(), want.Float32s(), func(a, b float32) bool {
		x, y := float64(a), float64(b)
		return x == y || math.IsNaN(x) && math.IsNaN(y) || math.Abs(x-y) <= absolute+relative*math.Abs(y)
	})
}

func differs[T any](got, want []T, same func(a, b T) bool) error {
	for i := range want {
		if !same(got[i], want[i]) {
			return fmt.Errorf("element %d: got %v, want %v", i, got[i], want[i])
		}
	}
	return nil
}
