package export_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// FuzzDecode decodes arbitrary models with inputs of the sizes they state. Its seeds
// are models of here and ONNX's own tests of operators.
func FuzzDecode(f *testing.F) {
	defer export.SetFoldBudget(1 << 16)()
	for _, m := range []*onnx.Model{
		small(13, 2, node("Flatten", names("x"), names("f")), node("Constant", nil, names("c"), onnx.FloatsAttr("value_floats", 1, 2, 3)),
			node("Reshape", names("f", "flat"), names("y"))),
		small(11, 4, node("Reshape", names("x", "image"), names("i")), node("Conv", names("i", "kernel"), names("c"), onnx.IntsAttr("pads", 0, 1, 0, 1), onnx.IntAttr("group", 1)),
			node("MaxPool", names("c"), names("y"), onnx.IntsAttr("kernel_shape", 2, 1), onnx.StringAttr("auto_pad", "VALID"))),
		small(13, 3, node("BatchNormalization", names("x", "two", "two", "two", "two"), names("b")), node("MatMul", names("b", "w"), names("m")),
			node("Softmax", names("m"), names("s")), node("Transpose", names("s"), names("y"), onnx.IntsAttr("perm", 0, 1, 2))),
		small(13, 3, node("Concat", names("x", "x"), names("c"), onnx.IntAttr("axis", 2)), node("Identity", names("c"), names("y"))),
		small(13, 3, node("Shape", names("x"), names("s")), node("Gather", names("s", "zero"), names("n")), node("Unsqueeze", names("n", "zeros"), names("u")),
			node("Concat", names("u", "three", "two64"), names("to"), onnx.IntAttr("axis", 0)), node("Reshape", names("x", "to"), names("y"))),
	} {
		data, err := m.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	files, _ := filepath.Glob(filepath.Join(sharedDir(), "onnx-conformance", "*", "*", "model.onnx"))
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && len(data) < 1<<13 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := onnx.Unmarshal(data)
		if err != nil {
			return
		}
		opt := export.DecodeOptions{Shapes: map[string]op.Shape{}, Values: map[string]*onnx.Tensor{}, Mode: export.Mode(len(data) % 3), Half: len(data)%2 == 0}
		for _, in := range m.Graph.Inputs {
			if m.Graph.Initializer(in.Name) == nil {
				opt.Shapes[in.Name] = shapeOf(in)
			}
		}
		d, err := export.DecodeWith(m, opt)
		var unbound *export.Unbound
		if errors.As(err, &unbound) {
			for _, name := range unbound.Inputs {
				opt.Values[name] = ones(name, m)
				delete(opt.Shapes, name)
			}
			d, err = export.DecodeWith(m, opt)
		}
		if err != nil {
			if strings.Contains(err.Error(), "panic:") {
				t.Fatal(err)
			}
			return
		}
		for name, n := range d.Outputs {
			if n == nil {
				t.Errorf("output %q has no node", name)
			}
		}
		if err := d.Graph.Err(); err != nil {
			t.Errorf("no error from Decode, but its graph has one: %v", err)
		}
	})
}

// shapeOf is a shape that an input may have.
func shapeOf(in *onnx.ValueInfo) op.Shape {
	s := op.Shape{Dims: make([]int, len(in.Dims)), Batch: -1}
	for i, d := range in.Dims {
		s.Dims[i] = int(d.Value)
		if d.Param != "" || d.Value < 0 {
			s.Dims[i], s.Batch = 2, i
		}
	}
	return s
}

// ones is a value for an input: 1 throughout, if it is not large.
func ones(name string, m *onnx.Model) *onnx.Tensor {
	t := &onnx.Tensor{Name: name}
	for _, in := range m.Graph.Inputs {
		if in.Name == name {
			s := shapeOf(in)
			if t.Type = in.Type; s.Size() < 0 || s.Size() > 1<<10 {
				return t
			}
			for _, d := range s.Dims {
				t.Dims = append(t.Dims, int64(d))
			}
			for range s.Size() {
				switch t.Type {
				case onnx.Float:
					t.FloatData = append(t.FloatData, 1)
				case onnx.Int64:
					t.Int64Data = append(t.Int64Data, 1)
				default:
					t.Int32Data = append(t.Int32Data, 1)
				}
			}
		}
	}
	return t
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
