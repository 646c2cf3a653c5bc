package onnx

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// branches returns a model with subgraphs, attributes of most types, an operator
// of another domain and a node of several outputs.
func branches() *Model {
	branch := func(op string) *Graph {
		return &Graph{Name: op, Nodes: []*Node{{OpType: op, Inputs: []string{"image"}, Outputs: []string{op + "_y"}}},
			Outputs: []*ValueInfo{TensorInfo(op+"_y", Float)}}
	}
	b := NewBuilder(17)
	x := b.Input(TensorInfo("image", Float, Symbol("N"), Fixed(3), Dim{Value: -1}))
	c := b.Node("Greater", []string{b.Node("ReduceMax", []string{x}, IntsAttr("axes", 0, 1), IntAttr("keepdims", 0)), b.Float(0)})
	b.NodeTo("If", []string{c}, []string{"y"}, GraphAttr("then_branch", branch("Relu")), GraphAttr("else_branch", branch("Neg")))
	pool := b.NodeN("MaxPool", []string{x}, 2, StringAttr("auto_pad", "VALID"), IntsAttr("kernel_shape", 1))
	b.NodeTo("com.microsoft::FusedGemm", []string{pool[0], b.Floats(1, 2), "", b.Floats(1, 2)}, []string{"", "odd name"},
		FloatAttr("alpha", 0.5), FloatsAttr("beta", 1, 2), StringsAttr("names", "a", "b c"), TensorAttr("value", BoolTensor("", nil, []bool{true})))
	b.Output(TensorInfo("y", Float, Symbol("N")))
	b.Output(TensorInfo("odd name", Float, Dim{Value: -1}))
	m, err := b.Model("branches", Info{Version: "1.2.3"})
	if err != nil {
		panic(err)
	}
	return m
}

func TestDump(t *testing.T) {
	want := `ir_version 8, opset ai.onnx 17, com.microsoft 1
producer sslrt 1.2.3
metadata
  sslrt.version = "1.2.3"
graph branches
  inputs
    image float32 [N,3,?]
  outputs
    y float32 [N]
    "odd name" float32 [?]
  initializers
    const_0 float32 [] = [0]
    const_1 float32 [2] = [1,2]
  nodes
    ReduceMax_0 = ReduceMax(image) {axes=[0,1], keepdims=0}
    Greater_0 = Greater(ReduceMax_0, const_0)
    y = If(Greater_0) {then_branch=graph, else_branch=graph}
      graph Relu
        outputs
          Relu_y float32 []
        nodes
          Relu_y = Relu(image)
      graph Neg
        outputs
          Neg_y float32 []
        nodes
          Neg_y = Neg(image)
    MaxPool_0, MaxPool_0:1 = MaxPool(image) {auto_pad="VALID", kernel_shape=[1]}
    _, "odd name" = com.microsoft::FusedGemm(MaxPool_0, const_1, _, const_1) {alpha=0.5, beta=[1,2], names=["a" "b c"], value=bool [] = [1]}
`
	var got strings.Builder
	if err := Dump(&got, branches()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestBuilderIsDeterministic(t *testing.T) {
	first, err := branches().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if again, err := branches().Marshal(); err != nil || !bytes.Equal(again, first) {
			t.Fatalf("the same calls give another file (%v)", err)
		}
	}
}

// TestConst shares constants of the same contents, and those only.
func TestConst(t *testing.T) {
	b := NewBuilder(17)
	names := []string{
		b.Float(1), b.Floats(1), b.Int(1), b.Ints(1), b.Ints(1, 1), b.Ints(),
		b.Const(FloatTensor("axis", []int64{1, 1}, []float32{1})),
		b.Const(StringTensor("", []int64{2}, []string{"a", "b"})),
		b.Const(StringTensor("", []int64{2}, []string{"ab", ""})),
		b.Const(&Tensor{Type: Int32, Raw: []byte{1, 0, 0, 0}}),
	}
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] {
			t.Errorf("%s stands for two constants", name)
		}
		seen[name] = true
	}
	if names[6] != "axis_0" {
		t.Errorf("a named constant is called %s", names[6])
	}
	same := &Tensor{Type: Float, Dims: []int64{1, 1}, FloatData: []float32{1}}
	if got := b.Const(same); got != names[6] {
		t.Errorf("the same contents are stored as %s and %s", got, names[6])
	}
}

// TestBuilderNames keeps made-up names clear of those that were given.
func TestBuilderNames(t *testing.T) {
	b := NewBuilder(17)
	b.Input(TensorInfo("Relu_0", Float))
	b.Initializer("const_0", FloatTensor("", nil, []float32{1}))
	if got := b.Node("Relu", []string{"Relu_0"}); got != "Relu_1" {
		t.Errorf("node is called %s", got)
	}
	if got := b.Float(2); got != "const_1" {
		t.Errorf("constant is called %s", got)
	}
	b.NodeTo("Neg", []string{"Relu_1"}, []string{"Relu_1"})
	if _, err := b.Model("g", Info{}); err == nil || !strings.Contains(err.Error(), `"Relu_1" is already defined`) {
		t.Errorf("a clash of names gives error %v", err)
	}
}
