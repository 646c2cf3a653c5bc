package export_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// A model that others wrote becomes a graph: here y = relu(x w), with w as a
// parameter.
func ExampleDecode() {
	b := onnx.NewBuilder(13)
	x := b.Input(onnx.TensorInfo("x", onnx.Float, onnx.Symbol("batch"), onnx.Fixed(2)))
	w := b.Initializer("w", onnx.FloatTensor("w", []int64{2, 3}, make([]float32, 6)))
	b.NodeTo("Relu", []string{b.Node("MatMul", []string{x, w})}, []string{"y"})
	b.Output(onnx.TensorInfo("y", onnx.Float, onnx.Symbol("batch"), onnx.Fixed(3)))
	m, err := b.Model("example", onnx.Info{})
	if err != nil {
		log.Fatal(err)
	}
	d, err := export.Decode(m, map[string]op.Shape{"x": op.Batched(8, 2)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Outputs["y"].Shape, d.Params.Names())
	// Output: [N=8, 3] [w]
}

// small is a model of one input x: [batch, 2, 3] and the given nodes, the last of
// which gives y.
func small(opset int64, rank int, nodes ...*onnx.Node) *onnx.Model {
	any := make([]onnx.Dim, rank)
	for i := range any {
		any[i] = onnx.Dim{Value: -1}
	}
	return &onnx.Model{IRVersion: 8, Opsets: []onnx.Opset{{Version: opset}, {Domain: "com.example", Version: 1}}, Graph: &onnx.Graph{
		Name:   "small",
		Inputs: []*onnx.ValueInfo{onnx.TensorInfo("x", onnx.Float, onnx.Symbol("batch"), onnx.Fixed(2), onnx.Fixed(3))},
		Initializers: []*onnx.Tensor{
			onnx.FloatTensor("w", []int64{3, 3}, []float32{1, 0, 0, 0, 2, 0, 0, 0, 3}),
			onnx.FloatTensor("kernel", []int64{1, 2, 1, 1}, []float32{1, 1}),
			onnx.FloatTensor("empty", []int64{0}, nil),
			onnx.FloatTensor("two", []int64{2}, []float32{1, 2}),
			onnx.Int64Tensor("scalar", nil, []int64{2}),
			onnx.Int64Tensor("zero", nil, []int64{0}),
			onnx.Int64Tensor("zeros", []int64{1}, []int64{0}),
			onnx.Int64Tensor("three", []int64{1}, []int64{3}),
			onnx.Int64Tensor("two64", []int64{1}, []int64{2}),
			onnx.Int64Tensor("flat", []int64{2}, []int64{0, -1}),
			onnx.Int64Tensor("merge", []int64{2}, []int64{-1, 3}),
			onnx.Int64Tensor("fixed", []int64{2}, []int64{4, 6}),
			onnx.Int64Tensor("image", []int64{4}, []int64{0, 2, 3, 1}),
			onnx.Int64Tensor("huge", []int64{4}, []int64{1 << 31, 1 << 31, 1 << 31, -1}),
		},
		Nodes:   nodes,
		Outputs: []*onnx.ValueInfo{onnx.TensorInfo("y", onnx.Float, any...)},
	}}
}

func node(opType string, in, out []string, attrs ...*onnx.Attr) *onnx.Node {
	return &onnx.Node{Name: "the " + opType, OpType: opType, Inputs: in, Outputs: out, Attrs: attrs}
}

func names(s ...string) []string { return s }

var smallShape = map[string]op.Shape{"x": op.Batched(4, 2, 3)}

// TestDecodeKeepsTheBatch checks the shapes that decoded reshapes give, and that
// the batch stays open.
func TestDecodeKeepsTheBatch(t *testing.T) {
	for _, c := range []struct {
		what  string
		nodes []*onnx.Node
		want  op.Shape
	}{
		{"Flatten", []*onnx.Node{node("Flatten", names("x"), names("y"))}, op.Batched(4, 6)},
		{"Reshape", []*onnx.Node{node("Reshape", names("x", "flat"), names("y"))}, op.Batched(4, 6)},
		{"Transpose", []*onnx.Node{node("Transpose", names("x"), names("y"))}, op.Shape{Dims: []int{3, 2, 4}, Batch: 2}},
		{"transposed, back and flat", []*onnx.Node{
			node("Transpose", names("x"), names("t"), onnx.IntsAttr("perm", 1, 0, 2)),
			node("Flatten", names("t"), names("y"), onnx.IntAttr("axis", -1))}, op.Shape{}},
		{"Constant as shape", []*onnx.Node{
			node("Constant", nil, names("shape"), onnx.IntsAttr("value_ints", 0, 6)),
			node("Reshape", names("x", "shape"), names("y"))}, op.Batched(4, 6)},
		{"Identity of a shape", []*onnx.Node{
			node("Identity", names("flat"), names("shape")),
			node("Reshape", names("x", "shape"), names("y"))}, op.Batched(4, 6)},
	} {
		d, err := export.Decode(small(13, max(len(c.want.Dims), 2), c.nodes...), smallShape)
		if c.want.Dims == nil {
			if err == nil || !strings.Contains(err.Error(), "more than once") {
				t.Errorf("%s: got %v, want an error that the batch is merged", c.what, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		if got := d.Outputs["y"].Shape; !got.Equal(c.want) {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
}

// TestDecodeSmall runs a network by hand: an image of 2 channels, their sum by a
// 1x1 convolution, its mean, twice that and 1.
func TestDecodeSmall(t *testing.T) {
	m := small(11, 2,
		node("Reshape", names("x", "image"), names("i")),
		node("Conv", names("i", "kernel", ""), names("c"), onnx.IntsAttr("kernel_shape", 1, 1)),
		node("GlobalAveragePool", names("c"), names("p")),
		node("Flatten", names("p"), names("f")),
		node("Constant", nil, names("one"), onnx.FloatAttr("value_float", 1)),
		node("Gemm", names("f", "f", "one"), names("y"), onnx.IntAttr("transB", 1), onnx.FloatAttr("alpha", 2), onnx.FloatAttr("beta", 3)))
	d, err := export.Decode(m, map[string]op.Shape{"x": op.Batched(1, 2, 3)})
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Go{}.Compile(engine.Function{Outputs: []export.Output{{Name: "y", Node: d.Outputs["y"]}}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Load(engine.Tensors(d.Params)); err != nil {
		t.Fatal(err)
	}
	x := tensor.New(tensor.WithShape(1, 2, 3), tensor.WithBacking([]float32{1, 2, 3, 4, 5, 6}))
	got, err := p.Run(context.Background(), engine.Tensors{"x": x})
	if err != nil {
		t.Fatal(err)
	}
	if y := got["y"].Float32s(); len(y) != 1 || math.Abs(float64(y[0])-(2*7*7+3)) > 1e-4 {
		t.Errorf("got %v, want %d", y, 2*7*7+3)
	}
	if got := d.Params.Names(); !slices.Equal(got, names("kernel")) {
		t.Errorf("parameters %v: want only those that are used", got)
	}
}

// TestDecodeLeavesTheBatchOpen decodes for two sizes of the batch, which must give
// the same file again.
func TestDecodeLeavesTheBatchOpen(t *testing.T) {
	var files [][]byte
	for _, n := range []int{2, 3} {
		m := small(13, 2,
			node("Reshape", names("x", "image"), names("i")),
			node("BatchNormalization", names("i", "two", "two", "two", "two"), names("b")),
			node("Conv", names("b", "kernel"), names("c")),
			node("MaxPool", names("c"), names("p"), onnx.IntsAttr("kernel_shape", 2, 1)),
			node("Flatten", names("p"), names("y")))
		d, err := export.Decode(m, map[string]op.Shape{"x": op.Batched(n, 2, 3)})
		if err != nil {
			t.Fatal(err)
		}
		again, err := export.Lower([]export.Output{{Name: "y", Node: d.Outputs["y"]}}, export.Options{Params: d.Params, DynamicBatch: true})
		if err != nil {
			t.Fatal(err)
		}
		data, err := again.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, data)
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("the files differ")
	}
}

func TestDecodeErrors(t *testing.T) {
	relu := node("Relu", names("x"), names("y"))
	edit := func(f func(m *onnx.Model)) *onnx.Model {
		m := small(13, 3, node("Relu", names("x"), names("y")))
		f(m)
		return m
	}
	for _, c := range []struct {
		model *onnx.Model
		shape map[string]op.Shape
		want  []string
	}{
		{small(13, 3, node("Foo", names("x"), names("a")), node("Bar", names("a"), names("b")), &onnx.Node{OpType: "Foo", Inputs: names("b"), Outputs: names("c")},
			&onnx.Node{OpType: "Relu", Domain: "com.example", Inputs: names("c"), Outputs: names("y")}), smallShape,
			names("Foo (node \"the Foo\", node of \"c\")", "Bar", `"the Bar"`, `node of "c"`, "com.example.Relu")},
		{small(13, 3, node("Relu", names("b"), names("a")), node("Relu", names("a"), names("b")), relu), smallShape, names(`"b"`, "topological order")},
		{small(99, 3, relu), smallShape, names("opset 99", "6 to 22")},
		{small(5, 3, relu), smallShape, names("opset 5")},
		{small(13, 2, relu), smallShape, names(`output "y"`, "3 axes", "2")},
		{small(13, 3, relu), nil, names(`input "x"`, "no shape")},
		{small(13, 3, relu), map[string]op.Shape{"x": op.Batched(4, 2, 3), "z": op.Dims(1)}, names(`"z"`, "not an input")},
		{small(13, 3, relu), map[string]op.Shape{"x": op.Batched(4, 2)}, names(`input "x"`, "2 axes", "3")},
		{small(13, 3, relu), map[string]op.Shape{"x": op.Batched(4, 2, 5)}, names(`input "x"`, "axis 2", "5", "3")},
		{small(13, 3, relu), map[string]op.Shape{"x": op.Batched(0, 2, 3)}, names("no elements")},
		{small(13, 3, relu), map[string]op.Shape{"x": op.Batched(math.MaxInt, 2, 3)}, names("too large")},
		{small(13, 3, relu), map[string]op.Shape{"x": {Dims: []int{4, 2, 3}, Batch: 3}}, names("no axis 3")},
		{small(13, 3, node("Relu", names("x", "x"), names("y"))), smallShape, names(`"the Relu"`, "2 inputs")},
		{small(13, 3, node("Relu", names(""), names("y"))), smallShape, names("left out")},
		{small(13, 3, node("Relu", names("x"), names("y"), onnx.IntAttr("leak", 1))), smallShape, names(`"leak"`)},
		{small(13, 3, node("Softmax", names("x"), names("y"), onnx.FloatAttr("axis", 1))), smallShape, names(`"axis"`, "float", "int")},
		{small(13, 3, node("Softmax", names("x"), names("y"), onnx.IntAttr("axis", 3))), smallShape, names("axis 3")},
		{small(13, 3, node("MatMul", names("x", "two"), names("y"))), smallShape, names(`"the MatMul"`, "inner sizes")},
		{small(13, 3, node("Add", names("x", "two"), names("y"))), smallShape, names(`"the Add"`, "broadcast")},
		{small(13, 3, node("Add", names("x", "scalar"), names("y"))), smallShape, names(`"the Add"`, "int64")},
		{small(13, 3, node("Add", names("x", "empty"), names("y"))), smallShape, names(`"empty"`, "no elements")},
		{small(13, 2, node("Reshape", names("x", "merge"), names("y"))), smallShape, names("more than once")},
		{small(13, 2, node("Reshape", names("x", "fixed"), names("y"))), smallShape, names("fixes the batch")},
		{small(13, 2, node("Reshape", names("x", "huge"), names("y"))), smallShape, names("does not reshape")},
		{small(13, 2, node("Reshape", names("x", "x"), names("y"))), smallShape, names("computed while")},
		{small(13, 4, node("MaxPool", names("x"), names("y"), onnx.IntsAttr("kernel_shape", 2, 2))), smallShape, names(`"the MaxPool"`)},
		{small(13, 4, node("Reshape", names("x", "image"), names("i")), node("Conv", names("i", "kernel", "two"), names("y"))), smallShape, names("bias")},
		{small(13, 4, node("Reshape", names("x", "image"), names("i")), node("Conv", names("i", "kernel"), names("y"), onnx.IntAttr("group", 0))), smallShape, names("group 0")},
		{small(13, 4, node("Reshape", names("x", "image"), names("i")), node("Conv", names("i", "kernel"), names("y"), onnx.IntsAttr("strides", 1<<40, 1))), smallShape, names("strides")},
		{small(13, 4, node("Reshape", names("x", "image"), names("i")), node("Conv", names("i", "kernel"), names("y"), onnx.IntsAttr("pads", 1<<30, 1<<30, 1<<30, 1<<30))), smallShape, names("too large")},
		{small(13, 3, node("BatchNormalization", names("x", "w", "w", "w", "w"), names("y"))), smallShape, names(`"the BatchNormalization"`)},
		{small(14, 3, node("BatchNormalization", names("x", "two", "two", "two", "two"), names("y"), onnx.IntAttr("spatial", 0))), smallShape, names("spatial 0")},
		{small(13, 3, node("Concat", names("x", "x"), names("y"), onnx.IntAttr("axis", 0))), smallShape, names("more than once")},
		{small(13, 3, node("Constant", nil, names("y"))), smallShape, names("0 attributes")},
		{edit(func(m *onnx.Model) { m.Graph = nil }), smallShape, names("no graph")},
		{edit(func(m *onnx.Model) { m.Graph.Inputs[0].Type = onnx.Float16 }), smallShape, names("float16")},
		{edit(func(m *onnx.Model) { m.Functions = []*onnx.Function{{Name: "f", Opsets: m.Opsets}} }), smallShape, names("functions")},
		{edit(func(m *onnx.Model) {
			m.Graph.Inputs = append(m.Graph.Inputs, onnx.TensorInfo("z", onnx.Float, onnx.Symbol("batch")))
		}), map[string]op.Shape{"x": op.Batched(4, 2, 3), "z": op.Batched(5)}, names(`"batch"`, "5", "4")},
	} {
		_, err := export.Decode(c.model, c.shape)
		if err == nil {
			t.Errorf("no error, want one with %q", c.want)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("got %q, want it to say %q", err, part)
			}
		}
	}
}

// TestDecodeShapes: arithmetic with sizes is computed here, and what depends on the
// batch stays open.
func TestDecodeShapes(t *testing.T) {
	shape, n := node("Shape", names("x"), names("s")), node("Gather", names("s", "zero"), names("n"))
	rows := []*onnx.Node{shape, n, node("Unsqueeze", names("n", "zeros"), names("u"))}
	for _, c := range []struct {
		what  string
		nodes []*onnx.Node
		want  op.Shape
	}{
		{"batch by Shape", append(rows, node("Concat", names("u", "three", "two64"), names("to"), onnx.IntAttr("axis", 0)),
			node("Reshape", names("x", "to"), names("y"))), op.Batched(4, 3, 2)},
		{"merged and split again", append(rows, node("Mul", names("u", "two64"), names("rows")),
			node("Concat", names("rows", "three"), names("to"), onnx.IntAttr("axis", 0)), node("Reshape", names("x", "to"), names("m")),
			node("Concat", names("u", "two64", "three"), names("back"), onnx.IntAttr("axis", 0)), node("Reshape", names("m", "back"), names("y"))), op.Batched(4, 2, 3)},
		{"a constant as large as the batch", append(rows, node("Concat", names("u", "two64", "three"), names("to"), onnx.IntAttr("axis", 0)),
			node("ConstantOfShape", names("to"), names("c"), onnx.TensorAttr("value", onnx.FloatTensor("", []int64{1}, []float32{2}))),
			node("Mul", names("x", "c"), names("y"))), op.Batched(4, 2, 3)},
		{"Expand as torch writes it", append(rows, node("Concat", names("u", "minus", "minus"), names("to"), onnx.IntAttr("axis", 0)),
			node("ConstantOfShape", names("rank"), names("ones"), onnx.TensorAttr("value", onnx.Int64Tensor("", []int64{1}, []int64{1}))),
			node("Mul", names("ones", "minus"), names("all")), node("Equal", names("to", "all"), names("open")),
			node("Where", names("open", "ones", "to"), names("sizes")), node("Unsqueeze", names("w", "zeros"), names("w1")),
			node("Expand", names("w1", "sizes"), names("wide")), node("MatMul", names("x", "wide"), names("y"))), op.Batched(4, 2, 3)},
		{"Slice up to the size", append(rows, node("Slice", names("x", "zeros", "u", "zeros"), names("y"))), op.Batched(4, 2, 3)},
		{"Tile by the size", append(rows, node("Concat", names("u", "one"), names("times"), onnx.IntAttr("axis", 0)), node("Slice", names("w", "zeros", "one", "zeros"), names("row")),
			node("Tile", names("row", "times"), names("rows")), node("Gemm", names("rows", "w"), names("y"))), op.Batched(4, 3)},
	} {
		m := small(13, len(c.want.Dims), c.nodes...)
		m.Graph.Initializers = append(m.Graph.Initializers, onnx.Int64Tensor("one", []int64{1}, []int64{1}),
			onnx.Int64Tensor("minus", []int64{1}, []int64{-1}), onnx.Int64Tensor("rank", []int64{1}, []int64{3}))
		d, err := export.Decode(m, smallShape)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		if got := d.Outputs["y"].Shape; !got.Equal(c.want) {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
}

// TestDecodeRefusals: what is not on the list is named with its element type; what
// must be known, with the inputs that it depends on.
func TestDecodeRefusals(t *testing.T) {
	var missing *export.Unsupported
	m := small(13, 3, node("Cast", names("x"), names("d"), onnx.IntAttr("to", int64(onnx.Double))), node("Exp", names("flat"), names("e")),
		node("Cast", names("d"), names("y"), onnx.IntAttr("to", int64(onnx.Float))))
	if _, err := export.Decode(m, smallShape); !errors.As(err, &missing) || missing.Operators[0].Name != "Cast" || missing.Operators[0].Type != "float64" {
		t.Errorf("got %v, want Cast of float64", err)
	}
	m = small(13, 1, node("Exp", names("flat"), names("y")))
	if _, err := export.Decode(m, smallShape); !errors.As(err, &missing) || missing.Operators[0].Name != "Exp" || missing.Operators[0].Type != "int64" {
		t.Errorf("got %v, want Exp of int64", err)
	}
	m = small(13, 2, node("Reshape", names("x", "to"), names("y")))
	m.Graph.Inputs = append(m.Graph.Inputs, onnx.TensorInfo("to", onnx.Int64, onnx.Fixed(2)))
	shapes := map[string]op.Shape{"x": op.Dims(4, 2, 3), "to": op.Dims(2)}
	var unbound *export.Unbound
	if _, err := export.Decode(m, shapes); !errors.As(err, &unbound) || !slices.Equal(unbound.Inputs, names("to")) {
		t.Fatalf("got %v, want that the input to is unbound", err)
	}
	delete(shapes, "to")
	d, err := export.DecodeWith(m, export.DecodeOptions{Shapes: shapes, Values: map[string]*onnx.Tensor{"to": onnx.Int64Tensor("", []int64{2}, []int64{6, 4})}})
	if err != nil || !slices.Equal(d.Outputs["y"].Dims, []int{6, 4}) {
		t.Errorf("bound: %v", err)
	}
	var zero *export.ZeroSize
	if _, err := export.Decode(small(13, 3, node("Slice", names("x", "two64", "two64", "three"), names("y"))), smallShape); err == nil {
		t.Error("axis 3: no error")
	}
	m = small(13, 3, node("Slice", names("x", "two64", "two64", "two64"), names("y")))
	if _, err := export.Decode(m, smallShape); !errors.As(err, &zero) {
		t.Errorf("got %v, want an error of an empty tensor", err)
	}
	m = small(13, 3, node("ConstantOfShape", names("much"), names("c")), node("ReduceSum", names("c", "zeros"), names("r")), node("Add", names("x", "r"), names("y")))
	m.Graph.Initializers = append(m.Graph.Initializers, onnx.Int64Tensor("much", []int64{3}, []int64{1 << 20, 1 << 10, 3}))
	if _, err := export.Decode(m, smallShape); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("got %v, want that a constant is too large", err)
	}
}

// TestDecodeHalf takes float16 for float32, where that is asked for.
func TestDecodeHalf(t *testing.T) {
	m := small(13, 3, node("MatMul", names("x", "half"), names("y")))
	m.Graph.Initializers = append(m.Graph.Initializers, &onnx.Tensor{Name: "half", Type: onnx.Float16, Dims: []int64{3, 1}, Raw: []byte{0, 0x3c, 0, 0x40, 0, 0xb8}})
	if _, err := export.Decode(m, smallShape); err == nil || !strings.Contains(err.Error(), "MatMul of float16") {
		t.Errorf("got %v, want MatMul of float16", err)
	}
	d, err := export.DecodeWith(m, export.DecodeOptions{Shapes: smallShape, Half: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Params["half"].Float32s(); !slices.Equal(got, []float32{1, 2, -0.5}) {
		t.Errorf("got %v", got)
	}
}
