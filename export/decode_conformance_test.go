package export_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

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

// conforming names tests that must not be refused, at least one for each operator
// that ONNX tests in an opset that is supported.
var conforming = []string{"test_add_bcast", "test_batchnorm_epsilon", "test_concat_3d_axis_negative_1", "test_constant",
	"test_conv_with_strides_and_asymmetric_padding", "test_div_bcast", "test_flatten_axis2", "test_flatten_negative_axis1",
	"test_gemm_all_attributes", "test_identity", "test_logsoftmax_axis_0", "test_matmul_4d", "test_maxpool_2d_ceil",
	"test_maxpool_2d_pads", "test_mul_bcast", "test_PixelShuffle", "test_relu", "test_sigmoid", "test_softmax_axis_1",
	"test_sub_bcast", "test_transpose_default", "test_transpose_all_permutations_4"}

// TestDecodeConformance runs ONNX's own tests of operators, as far as Decode
// accepts them, on the Go machine. What it accepts must give ONNX's results.
func TestDecodeConformance(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(sharedDir(), "onnx-conformance", "*", "*", "model.onnx"))
	if len(files) == 0 {
		t.Skip("no reference data: set SSLRT_SHARED")
	}
	passed := 0
	for _, file := range files {
		m, err := onnx.ReadFile(file)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		name := filepath.Base(filepath.Dir(file))
		sets, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "test_data_set_*"))
		for _, set := range sets {
			err := conforms(m, set)
			if refused, ok := err.(refusal); ok {
				if slices.Contains(conforming, name) {
					t.Errorf("%s: %v", name, refused)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			passed++
		}
	}
	t.Logf("%d of %d models decode and pass", passed, len(files))
}

// refusal is an error of Decode, as against a wrong result.
type refusal struct{ error }

// conforms decodes a model for the inputs of a test, runs it and compares.
func conforms(m *onnx.Model, set string) error {
	in, shapes := engine.Tensors{}, map[string]op.Shape{}
	for _, info := range m.Graph.Inputs {
		if m.Graph.Initializer(info.Name) != nil {
			continue
		}
		x, err := readTensor(filepath.Join(set, fmt.Sprintf("input_%d.pb", len(in))))
		if err != nil {
			return refusal{err}
		}
		in[info.Name], shapes[info.Name] = x, op.Dims(x.Shape()...)
	}
	d, err := export.Decode(m, shapes)
	if err != nil {
		return refusal{err}
	}
	var f engine.Function
	for _, o := range m.Graph.Outputs {
		f.Outputs = append(f.Outputs, export.Output{Name: o.Name, Node: d.Outputs[o.Name]})
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
		g := got[o.Name]
		if !g.Shape().Eq(want.Shape()) || g.Dtype() != want.Dtype() {
			return fmt.Errorf("output %q: got %v%v, want %v%v", o.Name, g.Dtype(), g.Shape(), want.Dtype(), want.Shape())
		}
		if g.Dtype() != tensor.Float32 {
			return fmt.Errorf("output %q of type %v: nothing compares those", o.Name, g.Dtype())
		}
		for j, w := range want.Float32s() {
			// The tolerance of ONNX's own runner.
			if d := math.Abs(float64(g.Float32s()[j]) - float64(w)); !(d <= 1e-7+1e-3*math.Abs(float64(w))) {
				return fmt.Errorf("output %q, element %d: got %g, want %g", o.Name, j, g.Float32s()[j], w)
			}
		}
	}
	return nil
}

func readTensor(path string) (*tensor.Dense, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := onnx.UnmarshalTensor(data)
	if err != nil {
		return nil, err
	}
	sizes := make([]int, len(t.Dims))
	for i, n := range t.Dims {
		sizes[i] = int(n)
	}
	if t.Type == onnx.Int64 {
		v, err := t.Int64s()
		if err != nil {
			return nil, err
		}
		return engine.NewTensor(v, sizes...), nil
	}
	if t.Type != onnx.Float {
		return nil, fmt.Errorf("%s: %v is not supported", path, t.Type)
	}
	v, err := t.Floats()
	if err != nil {
		return nil, err
	}
	return engine.NewTensor(v, sizes...), nil
}
