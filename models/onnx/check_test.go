package onnx

import (
	"strings"
	"testing"
)

// TestCheck breaks a valid model in one way at a time.
func TestCheck(t *testing.T) {
	subgraph := func() *Graph {
		return &Graph{Name: "branch",
			Nodes:   []*Node{{Name: "inner", OpType: "Relu", Inputs: []string{"x"}, Outputs: []string{"z"}}},
			Outputs: []*ValueInfo{{Name: "z"}}}
	}
	for _, c := range []struct {
		name  string
		spoil func(m *Model)
		want  string // "" for valid
	}{
		{"untouched", func(m *Model) {}, ""},
		{"no graph", func(m *Model) { m.Graph = nil }, "no graph"},
		{"no ir version", func(m *Model) { m.IRVersion = 0 }, "ir_version"},
		{"no opset", func(m *Model) { m.Opsets = nil }, "no opset_import"},
		{"opset twice", func(m *Model) { m.Opsets = append(m.Opsets, Opset{Domain: "ai.onnx", Version: 3}) }, "twice"},
		{"no graph name", func(m *Model) { m.Graph.Name = "" }, "has no name"},
		{"untyped input", func(m *Model) { m.Graph.Inputs[0].Type = 0 }, `input "x": has no type`},
		{"untyped output", func(m *Model) { m.Graph.Outputs[0].Type = 0 }, `output "y": has no type`},
		{"output without a shape", func(m *Model) { m.Graph.Outputs[0].Dims = nil }, `output "y": has no shape`},
		{"input twice", func(m *Model) { m.Graph.Inputs = append(m.Graph.Inputs, m.Graph.Inputs[0]) }, `input "x" comes twice`},
		{"output twice", func(m *Model) { m.Graph.Outputs = append(m.Graph.Outputs, m.Graph.Outputs[0]) }, `output "y" comes twice`},
		{"output from nowhere", func(m *Model) { m.Graph.Outputs[0].Name = "q" }, `output "q" is given by no node`},
		{"undefined input", func(m *Model) { m.Graph.Nodes[1].Inputs[0] = "q" }, `node 1 (Mul_0, Mul): input "q" is not defined`},
		{"order", func(m *Model) { n := m.Graph.Nodes; n[0], n[1] = n[1], n[0] }, `input "Add_0" is not defined before it; node 1 (Add_0, Add) gives it`},
		{"own output", func(m *Model) { m.Graph.Nodes[0].Inputs[0] = "Add_0" }, "topological order"},
		{"omitted input", func(m *Model) { m.Graph.Nodes[0].Inputs = append(m.Graph.Nodes[0].Inputs, "") }, ""},
		{"value twice", func(m *Model) { m.Graph.Nodes[1].Outputs[0] = "Add_0" }, `node 1 (Mul_0, Mul): output "Add_0" is already defined`},
		{"shadowed input", func(m *Model) { m.Graph.Nodes[0].Outputs[0] = "x" }, `output "x" is already defined`},
		{"foreign domain", func(m *Model) { m.Graph.Nodes[1].Domain = "com.microsoft" }, `node 1 (Mul_0, Mul): no opset_import for its domain "com.microsoft"`},
		{"no operator", func(m *Model) { m.Graph.Nodes[1].OpType = "" }, "has no operator"},
		{"empty node", func(m *Model) { m.Graph.Nodes = append(m.Graph.Nodes, &Node{OpType: "Relu"}) }, "neither inputs nor outputs"},
		{"initializer twice", func(m *Model) { m.Graph.Initializers[1].Name = "w" }, `initializer "w": is defined twice`},
		{"unnamed initializer", func(m *Model) { m.Graph.Initializers[1].Name = "" }, "has no name"},
		{"initializer size", func(m *Model) { m.Graph.Initializers[0].Dims[0]++ }, `initializer "w": float32[3001] has 12000 bytes of data, want 12004`},
		{"old file", func(m *Model) { m.IRVersion = 3 }, "not among the inputs"},
		{"metadata twice", func(m *Model) { m.Metadata = []StringEntry{{Key: "a"}, {Key: "a"}} }, `metadata key "a"`},
		{"attributes", func(m *Model) {
			m.Graph.Nodes[0].Attrs = []*Attr{IntAttr("i", 0), IntsAttr("is"), StringAttr("s", ""), FloatAttr("f", 0)}
		}, ""},
		{"attribute twice", func(m *Model) { m.Graph.Nodes[0].Attrs = []*Attr{IntAttr("i", 0), IntAttr("i", 1)} }, `attribute "i" comes twice`},
		{"unnamed attribute", func(m *Model) { m.Graph.Nodes[0].Attrs = []*Attr{IntAttr("", 0)} }, "attribute 0 has no name"},
		{"untyped attribute", func(m *Model) { m.Graph.Nodes[0].Attrs = []*Attr{{Name: "i", I: 3}} }, `attribute "i": has no type`},
		{"attribute of two types", func(m *Model) { m.Graph.Nodes[0].Attrs = []*Attr{{Name: "i", I: 3, Type: AttrFloat}} }, "is of type float but holds int"},
		{"attribute without tensor", func(m *Model) { m.Graph.Nodes[0].Attrs = []*Attr{{Name: "t", Type: AttrTensor}} }, "holds none"},
		{"attribute tensor", func(m *Model) {
			m.Graph.Nodes[0].Attrs = []*Attr{TensorAttr("t", &Tensor{Type: Float, Dims: []int64{1}})}
		}, "has 0 values, want 1"},
		{"reference outside", func(m *Model) { m.Graph.Nodes[0].Attrs = []*Attr{{Name: "i", Type: AttrInt, RefName: "j"}} }, "outside a function"},
		{"subgraph", func(m *Model) { m.Graph.Nodes[1].Attrs = []*Attr{GraphAttr("body", subgraph())} }, ""},
		{"subgraph sees no later value", func(m *Model) {
			g := subgraph()
			g.Nodes[0].Inputs[0] = "y"
			m.Graph.Nodes[1].Attrs = []*Attr{GraphAttr("body", g)}
		}, `attribute "body": graph "branch": node 0 (inner, Relu): input "y" is not defined`},
		{"subgraph shadows", func(m *Model) {
			g := subgraph()
			g.Nodes[0].Outputs[0] = "x"
			m.Graph.Nodes[1].Attrs = []*Attr{GraphAttr("body", g)}
		}, `output "x" is already defined`},
		{"subgraph is closed", func(m *Model) {
			m.Graph.Nodes[0].Attrs = []*Attr{GraphAttr("body", subgraph())}
			m.Graph.Nodes[1].Inputs[0] = "z"
		}, `input "z" is not defined`},
		{"own function", func(m *Model) {
			m.Functions = []*Function{{Name: "Twice", Domain: "own", Inputs: []string{"a"}, Outputs: []string{"b"},
				Opsets: []Opset{{Version: 17}}, Params: []string{"k"},
				Nodes: []*Node{{OpType: "Relu", Inputs: []string{"a"}, Outputs: []string{"b"}, Attrs: []*Attr{{Name: "k", Type: AttrInt, RefName: "k"}}}}}}
			m.Graph.Nodes[0].Domain, m.Graph.Nodes[0].OpType = "own", "Twice"
		}, ""},
		{"broken function", func(m *Model) {
			m.Functions = []*Function{{Name: "F", Outputs: []string{"b"}, Opsets: []Opset{{Version: 17}}}}
		}, `function "F": output "b" is given by no node`},
	} {
		m := weights(t)
		c.spoil(m)
		err := Check(m)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}
