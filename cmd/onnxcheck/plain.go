package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
	"github.com/sslrt/sslrt/runtime/ort"
)

// plain checks a model that has no description: against the results that stand
// beside it, NAME_output_0.pb for the inputs 0, 1/n, 2/n, ... or input_0.pb and
// output_0.pb in its folder or in one of its folders, and against ONNX Runtime.
func (c *checks) plain(ctx context.Context, path string) error {
	m, err := onnx.ReadFile(path)
	if err != nil {
		return err
	}
	name := filepath.Base(filepath.Dir(path)) + "/" + filepath.Base(path)
	var input *onnx.ValueInfo
	for _, in := range m.Graph.Inputs {
		if m.Graph.Initializer(in.Name) == nil {
			input = in
		}
	}
	if input == nil {
		return errors.New("it has no input")
	}
	sizes := make([]int, len(input.Dims))
	for i, d := range input.Dims {
		if sizes[i] = int(d.Value); d.Param != "" || d.Value < 1 {
			sizes[i] = 1
		}
	}
	stem := strings.TrimSuffix(path, ".onnx")
	if _, err := os.Stat(stem + "_output_0.pb"); err == nil {
		n := op.Dims(sizes...).Size()
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(float64(i) / float64(n))
		}
		if err := c.stored(ctx, name, m, input.Name, sizes, x, stem+"_output_0.pb", false); err != nil {
			return err
		}
	}
	pairs, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*", "input_0.pb"))
	pairs = append(pairs, filepath.Join(filepath.Dir(path), "input_0.pb"))
	for _, in := range pairs {
		x, err := readTensor(in)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		values, err := x.Floats()
		if err != nil {
			return err
		}
		if op.Dims(sizes...).Size() != len(values) || !strings.HasPrefix(filepath.Base(filepath.Dir(path)), strings.ToLower(strings.Split(strings.TrimSuffix(filepath.Base(path), ".onnx"), "_")[0])) {
			continue // of another model in the folder
		}
		where := filepath.Base(filepath.Dir(in))
		// Results that stand beside a network in float16 are that network's.
		halves, _ := filepath.Glob(filepath.Join(filepath.Dir(in), "*fp16*.onnx"))
		if err := c.stored(ctx, name+"/"+where, m, input.Name, sizes, values, filepath.Join(filepath.Dir(in), "output_0.pb"), len(halves) > 0); err != nil {
			return err
		}
	}
	if input.Type == onnx.Float {
		return c.agrees(ctx, name, path, sizes[1:], nil)
	}
	return nil
}

// halfTolerance is that of models whose weights and stored results have 11 bits.
const halfTolerance = 1e-2

// stored compares a model's first output with the one in a file, on all machines;
// rounded says that float16 is behind the file.
func (c *checks) stored(ctx context.Context, name string, m *onnx.Model, input string, sizes []int, x []float32, file string, rounded bool) error {
	t, err := readTensor(file)
	if err != nil {
		return err
	}
	want, err := t.Floats()
	if err != nil {
		return err
	}
	half := false
	for _, in := range m.Graph.Inputs {
		half = half || in.Type == onnx.Float16
	}
	tolerance := outputTolerance
	if half || rounded {
		tolerance = halfTolerance
	}
	for _, machine := range c.machines {
		if machine.Name() == "ort" {
			// Light models have weights that are all alike and logits of 1e10, of which
			// the last bit decides: channels that are alike must be computed alike, which
			// the blocked layout does not.
			machine = engine.ORT{Options: ort.Options{OptLevel: ort.OptExtended}}
		}
		d, err := export.DecodeWith(m, export.DecodeOptions{Shapes: map[string]op.Shape{input: op.Dims(sizes...)}, Half: half})
		if err != nil {
			return err
		}
		out := m.Graph.Outputs[0].Name
		got, err := runOnce(ctx, machine, engine.Function{Outputs: []export.Output{{Name: "output", Node: d.Outputs[out]}}},
			engine.Tensors(d.Params), engine.Tensors{input: engine.NewTensor(x, sizes...)})
		if err != nil {
			return err
		}
		e := maxError(got["output"].Float32s(), want)
		if math.IsNaN(e) {
			return fmt.Errorf("%s: results are not numbers", name)
		}
		c.within(name+"/"+machine.Name(), "stored output", e, tolerance)
	}
	return nil
}
