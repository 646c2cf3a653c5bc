package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sbinet/npyio/npz"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// modelCase is the description that stands beside the ONNX files of a model. Graphs
// are in inference; a model with File instead was exported in training mode.
type modelCase struct {
	Model      string
	InputName  string `json:"input_name"`
	InputShape []int  `json:"input_shape"`
	Outputs    []string
	NPZ        string
	Tolerance  struct {
		RelativeL2 float64 `json:"relative_l2"`
	} `json:"gradient_tolerance"`
	Graphs map[string]struct {
		File     string
		Gradient map[string]string `json:"gradient_npz"`
	}

	File       string
	Gradients  map[string]string `json:"parameter_gradients"`
	Statistics map[string]string `json:"updated_running_statistics"`

	dir    string
	arrays *npz.Reader
}

// unpacked reads a file that may be stored as NAME.gz.
func unpacked(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	packed, gzErr := os.ReadFile(path + ".gz")
	if gzErr != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// readModel reads a model that may be packed, with its external data.
func readModel(path string) (*onnx.Model, error) {
	if _, err := os.Stat(path); err == nil {
		return onnx.ReadFile(path)
	}
	data, err := unpacked(path)
	if err != nil {
		return nil, err
	}
	m, err := onnx.Unmarshal(data)
	if err != nil {
		return nil, err
	}
	return m, m.LoadExternal(filepath.Dir(path))
}

// described checks a model that stands beside its description.
func (c *checks) described(ctx context.Context, path string) error {
	data, err := unpacked(path)
	if err != nil {
		return err
	}
	m := &modelCase{dir: filepath.Dir(path)}
	if err := json.Unmarshal(data, m); err != nil {
		return err
	}
	archive, err := unpacked(filepath.Join(m.dir, m.NPZ))
	if err != nil {
		return err
	}
	if m.arrays, err = npz.NewReader(bytes.NewReader(archive), int64(len(archive))); err != nil {
		return err
	}
	if m.File != "" {
		return c.trained(ctx, m)
	}
	for _, kind := range slices.Sorted(maps.Keys(m.Graphs)) {
		g := m.Graphs[kind]
		model, err := readModel(filepath.Join(m.dir, g.File))
		if err != nil {
			return err
		}
		for _, machine := range c.machines {
			name := m.Model + "/" + kind + "/" + machine.Name()
			d, err := export.Decode(model, map[string]op.Shape{m.InputName: op.Batched(m.InputShape...)})
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			if err := c.inference(ctx, name, m, d, g.Gradient, machine); err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
		}
		images, err := m.array("input")
		if err != nil {
			return err
		}
		if err := c.finetuned(ctx, m.Model+"/"+kind, model, m.InputShape[1:], images); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func (m *modelCase) array(name string) ([]float32, error) {
	var out []float32
	if err := m.arrays.Read(name+".npy", &out); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", m.NPZ, name, err)
	}
	return out, nil
}

// inference compares outputs, and the gradients of their sum weighted with the
// upstream arrays.
func (c *checks) inference(ctx context.Context, name string, m *modelCase, d *export.Decoded, gradients map[string]string, machine engine.Machine) error {
	upstream := map[string]string{}
	for _, o := range m.Outputs {
		upstream[o] = strings.Replace(o, "output", "upstream", 1)
	}
	f, names, err := withGradients(m, d, upstream, gradients)
	if err != nil {
		return err
	}
	x, err := m.array("input")
	if err != nil {
		return err
	}
	got, err := runOnce(ctx, machine, f, engine.Tensors(d.Params), engine.Tensors{m.InputName: engine.NewTensor(x, m.InputShape...)})
	if err != nil {
		return err
	}
	for _, o := range m.Outputs {
		want, err := m.array(o)
		if err != nil {
			return err
		}
		c.within(name, o, maxError(got[o].Float32s(), want), outputTolerance)
	}
	for _, n := range names {
		want, err := m.array(gradients[n])
		if err != nil {
			return err
		}
		c.within(name, "gradient of "+n, relativeL2(got["gradient of "+n].Float32s(), want), m.Tolerance.RelativeL2)
	}
	return nil
}

// withGradients returns a function of the outputs and of the gradients by the named
// inputs and parameters.
func withGradients(m *modelCase, d *export.Decoded, upstream, gradients map[string]string) (engine.Function, []string, error) {
	var f engine.Function
	var loss *op.Node
	for _, name := range slices.Sorted(maps.Keys(upstream)) {
		y := d.Outputs[name]
		if y == nil {
			return f, nil, fmt.Errorf("the model has no output %q", name)
		}
		up, err := m.array(upstream[name])
		if err != nil {
			return f, nil, err
		}
		part := op.Sum(op.Mul(y, d.Graph.Const(up, y.Dims...)), false)
		if loss == nil {
			loss = part
		} else {
			loss = op.Add(loss, part)
		}
		f.Outputs = append(f.Outputs, export.Output{Name: name, Node: y})
	}
	names := slices.Sorted(maps.Keys(gradients))
	var wrt []*op.Node
	for _, name := range names {
		n := d.Inputs[name]
		if n == nil {
			v := d.Params[name]
			if v == nil {
				return f, nil, fmt.Errorf("the model has no parameter %q", name)
			}
			n = d.Graph.Param(name, op.Float32, op.Dims(v.Shape().Clone()...))
		}
		wrt = append(wrt, n)
	}
	grads, err := engine.Backprop(loss, wrt...)
	if err != nil {
		return f, nil, err
	}
	for i, name := range names {
		if grads[i] == nil {
			return f, nil, fmt.Errorf("nothing depends on %q", name)
		}
		f.Outputs = append(f.Outputs, export.Output{Name: "gradient of " + name, Node: grads[i]})
	}
	return f, names, nil
}

// trained checks a model that was exported in training mode: as it is written, and
// in inference.
func (c *checks) trained(ctx context.Context, m *modelCase) error {
	model, err := readModel(filepath.Join(m.dir, m.File))
	if err != nil {
		return err
	}
	x, err := m.array("input")
	if err != nil {
		return err
	}
	shape := slices.Clone(m.InputShape)
	if shape == nil {
		header := m.arrays.Header("input.npy")
		if header == nil {
			return fmt.Errorf("%s: no input", m.NPZ)
		}
		shape = header.Descr.Shape
	}
	output := model.Graph.Outputs[0].Name
	for _, machine := range c.machines {
		name := m.Model + "/" + machine.Name()
		d, err := export.Decode(model, map[string]op.Shape{m.InputName: op.Batched(shape...)})
		if err != nil {
			return err
		}
		gradients := maps.Clone(m.Gradients)
		gradients[m.InputName] = "grad_input"
		f, names, err := withGradients(m, d, map[string]string{output: "upstream"}, gradients)
		if err != nil {
			return err
		}
		for _, s := range slices.Sorted(maps.Keys(m.Statistics)) {
			if d.Next[s] == nil {
				return fmt.Errorf("the statistic %q does not follow the batch's", s)
			}
			f.Outputs = append(f.Outputs, export.Output{Name: "next " + s, Node: d.Next[s]})
		}
		in := engine.Tensors{m.InputName: engine.NewTensor(x, shape...)}
		got, err := runOnce(ctx, machine, f, engine.Tensors(d.Params), in)
		if err != nil {
			return err
		}
		want, err := m.array("output_train")
		if err != nil {
			return err
		}
		c.within(name, "output in training", maxError(got[output].Float32s(), want), outputTolerance)
		for _, n := range names {
			want, err := m.array(gradients[n])
			if err != nil {
				return err
			}
			if largest(want) < 1e-5 {
				continue // its true gradient is 0
			}
			c.within(name, "gradient of "+n, relativeL2(got["gradient of "+n].Float32s(), want), max(m.Tolerance.RelativeL2, 3e-4))
		}
		for s, array := range m.Statistics {
			want, err := m.array(array)
			if err != nil {
				return err
			}
			c.within(name, "statistic "+s, maxError(got["next "+s].Float32s(), want), statisticTolerance)
		}
		d, err = export.DecodeWith(model, export.DecodeOptions{Shapes: map[string]op.Shape{m.InputName: op.Batched(shape...)}, Mode: export.Inference})
		if err != nil {
			return err
		}
		got, err = runOnce(ctx, machine, engine.Function{Outputs: []export.Output{{Name: output, Node: d.Outputs[output]}}}, engine.Tensors(d.Params), in)
		if err != nil {
			return err
		}
		if want, err = m.array("output_eval"); err != nil {
			return err
		}
		c.within(name, "output in inference", maxError(got[output].Float32s(), want), outputTolerance)
	}
	return c.finetuned(ctx, m.Model, model, shape[1:], x)
}

// runOnce compiles a function and runs it once.
func runOnce(ctx context.Context, machine engine.Machine, f engine.Function, params, in engine.Tensors) (engine.Tensors, error) {
	p, err := machine.Compile(f)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if err := p.Load(params); err != nil {
		return nil, err
	}
	got, err := p.Run(ctx, in)
	out := engine.Tensors{}
	for name, v := range got {
		out[name] = v
	}
	return out, err
}

// maxError is max|got-want| / max|want|, infinite where the lengths differ.
func maxError(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	worst := 0.0
	for i, w := range want {
		d := math.Abs(float64(got[i]) - float64(w))
		if math.IsNaN(d) {
			return d
		}
		worst = max(worst, d)
	}
	if worst == 0 {
		return 0
	}
	return worst / largest(want)
}

func largest(v []float32) float64 {
	most := 0.0
	for _, x := range v {
		most = max(most, math.Abs(float64(x)))
	}
	return most
}

// relativeL2 is ||got-want|| / ||want||, infinite where the lengths differ.
func relativeL2(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var d, n float64
	for i, w := range want {
		e := float64(got[i]) - float64(w)
		d, n = d+e*e, n+float64(w)*float64(w)
	}
	return math.Sqrt(d / n)
}
