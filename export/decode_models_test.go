package export_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sbinet/npyio/npz"
	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
	"github.com/sslrt/sslrt/runtime/ort"
)

// modelCase is the description that stands beside the ONNX files of a model.
type modelCase struct {
	dir        string
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
}

// sharedDir is the folder of reference data. A relative one counts from the root
// of the module.
func sharedDir() string {
	dir := os.Getenv("SSLRT_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "shared")
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join("..", dir)
	}
	return dir
}

// readUnpacked reads a file that may be stored as NAME.gz.
func readUnpacked(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		return data
	}
	packed, err := os.ReadFile(path + ".gz")
	if err != nil {
		t.Skipf("no reference data: %v (set SSLRT_SHARED)", err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if data, err = io.ReadAll(z); err != nil {
		t.Fatalf("%s.gz: %v", path, err)
	}
	return data
}

// TestDecodedModels runs networks that PyTorch exported, with BatchNorm folded and
// not, on each machine, and compares outputs and gradients with PyTorch's. Models
// with operators that are not supported are left out, ResNet-18 never.
func TestDecodedModels(t *testing.T) {
	machines := []engine.Machine{engine.Go{}}
	if _, err := ort.Init(ort.FindOptions{}); errors.Is(err, ort.ErrNoLibrary) {
		t.Log("skipping the ort machine: no ONNX Runtime (run sslrt setup)")
	} else {
		machines = append(machines, engine.ORT{})
	}
	files, _ := filepath.Glob(filepath.Join(sharedDir(), "onnx", "*", "*.json"))
	if len(files) == 0 {
		t.Skip("no reference data: set SSLRT_SHARED")
	}
	for _, file := range files {
		var c modelCase
		if err := json.Unmarshal(readUnpacked(t, file), &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		c.dir = filepath.Dir(file)
		for kind, g := range c.Graphs {
			m, err := onnx.Unmarshal(readUnpacked(t, filepath.Join(c.dir, g.File)))
			if err != nil {
				t.Fatal(err)
			}
			for _, machine := range machines {
				t.Run(c.Model+"/"+kind+"/"+machine.Name(), func(t *testing.T) {
					d, err := export.Decode(m, map[string]op.Shape{c.InputName: op.Batched(c.InputShape...)})
					if err != nil && c.Model != "resnet18" && strings.Contains(err.Error(), "operators that are not supported") {
						t.Skipf("%.200s", err)
					}
					if err != nil {
						t.Fatal(err)
					}
					c.compare(t, d, g.Gradient, machine)
				})
			}
		}
	}
}

// compare runs a decoded model, differentiates it, and compares with PyTorch.
func (c modelCase) compare(t *testing.T, d *export.Decoded, gradient map[string]string, machine engine.Machine) {
	archive := readUnpacked(t, filepath.Join(c.dir, c.NPZ))
	arrays, err := npz.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	array := func(name string) []float32 {
		var out []float32
		if err := arrays.Read(name+".npy", &out); err != nil {
			t.Fatalf("%s: %s: %v", c.NPZ, name, err)
		}
		return out
	}
	var f engine.Function
	var loss *op.Node
	for _, name := range c.Outputs {
		y := d.Outputs[name]
		upstream := d.Graph.Const(array(strings.Replace(name, "output", "upstream", 1)), y.Dims...)
		part := op.Sum(op.Mul(y, upstream), false)
		if loss == nil {
			loss = part
		} else {
			loss = op.Add(loss, part)
		}
		f.Outputs = append(f.Outputs, export.Output{Name: name, Node: y})
	}
	names := slices.Sorted(maps.Keys(gradient))
	var wrt []*op.Node
	for _, name := range names {
		n := d.Inputs[name]
		if n == nil {
			n = d.Graph.Param(name, op.Float32, op.Dims(d.Params[name].Shape()...))
		}
		wrt = append(wrt, n)
	}
	grads, err := engine.Backprop(loss, wrt...)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		f.Outputs = append(f.Outputs, export.Output{Name: "gradient of " + name, Node: grads[i]})
	}
	p, err := machine.Compile(f)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Load(engine.Tensors(d.Params)); err != nil {
		t.Fatal(err)
	}
	x := tensor.New(tensor.WithShape(c.InputShape...), tensor.WithBacking(array("input")))
	got, err := p.Run(context.Background(), engine.Tensors{c.InputName: x})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range c.Outputs {
		e := maxError(got[name].Float32s(), array(name))
		t.Logf("%s: max|difference|/max|value| %.2g", name, e)
		if !(e <= 1e-4) {
			t.Errorf("%s: %.3g, want at most 1e-4", name, e)
		}
	}
	for _, name := range names {
		e := relativeL2(got["gradient of "+name].Float32s(), array(gradient[name]))
		t.Logf("gradient of %s: relative L2 %.2g", name, e)
		if !(e <= c.Tolerance.RelativeL2) {
			t.Errorf("gradient of %s: %.3g, want at most %g", name, e, c.Tolerance.RelativeL2)
		}
	}
}

// maxError is max|got-want| / max|want|, infinite where the lengths differ.
func maxError(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var worst, largest float64
	for i, w := range want {
		d := math.Abs(float64(got[i]) - float64(w))
		if math.IsNaN(d) {
			return d
		}
		worst, largest = max(worst, d), max(largest, math.Abs(float64(w)))
	}
	return worst / largest
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
