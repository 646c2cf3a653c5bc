package onnx_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/models/onnx"
)

// chain returns x -> Relu -> Exp = y with an unused node beside.
func chain(t *testing.T) *onnx.Model {
	t.Helper()
	b := onnx.NewBuilder(17)
	x := b.Input(onnx.TensorInfo("x", onnx.Float, onnx.Symbol("N"), onnx.Fixed(2)))
	h := b.Node("Relu", []string{x})
	b.NodeTo("Exp", []string{h}, []string{"y"})
	b.Output(onnx.TensorInfo("y", onnx.Float, onnx.Symbol("N"), onnx.Fixed(2)))
	m, err := b.Model("chain", onnx.Info{Kind: onnx.KindEncoder, Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	m.SetMeta("theirs", "kept")
	return m
}

func operators(m *onnx.Model) string {
	var names []string
	for _, n := range m.Graph.Nodes {
		names = append(names, n.OpType)
	}
	return strings.Join(names, " ")
}

func TestExtendGoesOn(t *testing.T) {
	m := chain(t)
	before, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b := onnx.Extend(m)
	z := b.Node("Relu", []string{"y"})
	if z == "Relu_0" {
		t.Error("the name of a node of the model was given again")
	}
	b.NodeTo("Mul", []string{z, b.Float(2)}, []string{"score"})
	b.Output(onnx.TensorInfo("score", onnx.Float, onnx.Symbol("N"), onnx.Fixed(2)))
	longer, err := b.Model("longer", onnx.Info{Kind: onnx.KindDetector})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := operators(longer), "Relu Exp Relu Mul"; got != want {
		t.Errorf("operators %s, want %s", got, want)
	}
	if v, _ := longer.Meta("theirs"); v != "kept" {
		t.Error("metadata of others are gone")
	}
	if v, _ := longer.Meta(onnx.KeyKind); v != onnx.KindDetector {
		t.Errorf("kind %q", v)
	}
	after, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, after) {
		t.Error("the model that was extended has changed")
	}
}

// What the new outputs do not need is left out: here the Exp.
func TestExtendPrunes(t *testing.T) {
	b := onnx.Extend(chain(t))
	b.Initializer("nobody's", onnx.FloatTensor("", []int64{1}, []float32{1}))
	b.NodeTo("Neg", []string{"Relu_0"}, []string{"z"})
	b.Output(onnx.TensorInfo("z", onnx.Float, onnx.Symbol("N"), onnx.Fixed(2)))
	m, err := b.Model("shorter", onnx.Info{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := operators(m), "Relu Neg"; got != want || len(m.Graph.Initializers) > 0 {
		t.Errorf("got %s and %d initialisers, want %s and none", got, len(m.Graph.Initializers), want)
	}
}

// A graph inside a node reads values of the outer one without naming them as inputs.
func TestPruneLooksIntoBranches(t *testing.T) {
	branch := func() *onnx.Graph {
		return &onnx.Graph{Name: "branch",
			Nodes:   []*onnx.Node{{OpType: "Neg", Inputs: []string{"h"}, Outputs: []string{"inner"}}},
			Outputs: []*onnx.ValueInfo{onnx.TensorInfo("inner", onnx.Float)}}
	}
	g := &onnx.Graph{
		Nodes: []*onnx.Node{
			{OpType: "Exp", Inputs: []string{"x"}, Outputs: []string{"h"}},
			{OpType: "Exp", Inputs: []string{"x"}, Outputs: []string{"unused"}},
			{OpType: "If", Inputs: []string{"c"}, Outputs: []string{"y"}, Attrs: []*onnx.Attr{
				{Name: "then_branch", Type: onnx.AttrGraph, G: branch()},
				{Name: "else_branch", Type: onnx.AttrGraph, G: branch()}}},
		},
		Outputs: []*onnx.ValueInfo{onnx.TensorInfo("y", onnx.Float)},
	}
	g.Prune()
	if len(g.Nodes) != 2 || g.Nodes[0].Outputs[0] != "h" {
		t.Errorf("%d nodes are left, want the two that y needs", len(g.Nodes))
	}
}

func TestPruneDropsIndices(t *testing.T) {
	pool := &onnx.Node{OpType: "MaxPool", Inputs: []string{"x"}, Outputs: []string{"y", "indices"}}
	g := &onnx.Graph{Nodes: []*onnx.Node{pool, {OpType: "Mod", Inputs: []string{"indices", "c"}, Outputs: []string{"m"}}},
		Outputs: []*onnx.ValueInfo{onnx.TensorInfo("y", onnx.Float)}}
	g.Prune()
	if len(g.Nodes) != 1 || len(g.Nodes[0].Outputs) != 1 || len(pool.Outputs) != 2 {
		t.Errorf("%d nodes, outputs %v", len(g.Nodes), g.Nodes[0].Outputs)
	}
}
