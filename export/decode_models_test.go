package export_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
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

// TestDecodedResNet18 runs both forms of a ResNet-18 that PyTorch exported, on each
// machine, and compares outputs and gradients with PyTorch's.
func TestDecodedResNet18(t *testing.T) {
	dir := filepath.Join(sharedDir(), "onnx", "resnet18")
	var c modelCase
	if err := json.Unmarshal(readUnpacked(t, filepath.Join(dir, "resnet18.json")), &c); err != nil {
		t.Fatal(err)
	}
	archive := readUnpacked(t, filepath.Join(dir, c.NPZ))
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
	machines := []engine.Machine{engine.Go{}}
	if _, err := ort.Init(ort.FindOptions{}); errors.Is(err, ort.ErrNoLibrary) {
		t.Log("skipping the ort machine: no ONNX Runtime (run sslrt setup)")
	} else {
		machines = append(machines, engine.ORT{})
	}
	if len(c.Graphs) != 2 {
		t.Fatalf("%d graphs, want 2", len(c.Graphs))
	}
	for kind, file := range c.Graphs {
		m, err := onnx.Unmarshal(readUnpacked(t, filepath.Join(dir, file.File)))
		if err != nil {
			t.Fatal(err)
		}
		for _, machine := range machines {
			t.Run(kind+"/"+machine.Name(), func(t *testing.T) {
				d, err := export.Decode(m, map[string]op.Shape{c.InputName: op.Batched(c.InputShape...)})
				if err != nil {
					t.Fatal(err)
				}
				y := d.Outputs[c.Outputs[0]]
				loss := op.Sum(op.Mul(y, d.Graph.Const(array("upstream"), y.Dims...)), false)
				var wrt []*op.Node
				var names []string
				for name := range file.Gradient {
					n := d.Inputs[name]
					if n == nil {
						n = d.Graph.Param(name, op.Float32, op.Dims(d.Params[name].Shape()...))
					}
					names, wrt = append(names, name), append(wrt, n)
				}
				grads, err := engine.Backprop(loss, wrt...)
				if err != nil {
					t.Fatal(err)
				}
				f := engine.Function{Outputs: []export.Output{{Name: c.Outputs[0], Node: y}}}
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
				if e := maxError(got[c.Outputs[0]].Float32s(), array("output")); !(e <= 1e-4) {
					t.Errorf("output: max|difference|/max|value| %.3g, want at most 1e-4", e)
				} else {
					t.Logf("output: %.2g", e)
				}
				for _, name := range names {
					e := relativeL2(got["gradient of "+name].Float32s(), array(file.Gradient[name]))
					if !(e <= c.Tolerance.RelativeL2) {
						t.Errorf("gradient of %s: relative L2 %.3g, want at most %g", name, e, c.Tolerance.RelativeL2)
					} else {
						t.Logf("gradient of %s: %.2g", name, e)
					}
				}
			})
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
