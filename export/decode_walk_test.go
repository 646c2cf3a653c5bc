package export

import (
	"strings"
	"testing"

	"github.com/sslrt/sslrt/models/onnx"
)

func walked(t *testing.T) (nodes []*onnx.Node, steps []step) {
	t.Helper()
	b := onnx.NewBuilder(13)
	x := b.Input(onnx.TensorInfo("x", onnx.Float, onnx.Symbol("N"), onnx.Fixed(2)))
	w := b.Initializer("w", onnx.FloatTensor("w", []int64{2, 2}, make([]float32, 4)))
	c := b.Node("Constant", nil, onnx.TensorAttr("value", onnx.FloatTensor("", []int64{2}, []float32{1, 2})))
	y := b.Node("Gemm", []string{x, w, c}, onnx.FloatAttr("alpha", 0.5), onnx.IntAttr("transB", 1))
	y = b.Node("Sub", []string{y, y})
	y = b.Node("Transpose", []string{y}, onnx.IntsAttr("perm", 1, 0))
	b.NodeTo("Gemm", []string{y, w, ""}, []string{"y"})
	b.Output(onnx.TensorInfo("y", onnx.Float, onnx.Fixed(2), onnx.Fixed(2)))
	m, err := b.Model("walked", onnx.Info{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := outline(m).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if steps, err = walk(data); err != nil {
		t.Fatal(err)
	}
	return m.Graph.Nodes, steps
}

func TestWalkersAgree(t *testing.T) {
	nodes, steps := walked(t)
	if len(steps) != 5 {
		t.Fatalf("onnx-go sees %d nodes, want 5", len(steps))
	}
	if err := agree(nodes, steps); err != nil {
		t.Error(err)
	}
}

// TestWalkersDisagree changes one thing at a time in what onnx-go saw.
func TestWalkersDisagree(t *testing.T) {
	for _, c := range []struct {
		change func(s []step) []step
		want   []string
	}{
		{func(s []step) []step { s[1].op = "MatMul"; return s }, []string{"Gemm_0", "MatMul"}},
		{func(s []step) []step { s[1].inputs[0], s[1].inputs[1] = s[1].inputs[1], s[1].inputs[0]; return s }, []string{"Gemm_0", "w, x"}},
		{func(s []step) []step { s[2].inputs = s[2].inputs[:1]; return s }, []string{"Sub_0", "inputs"}},
		{func(s []step) []step { s[1].attrs["alpha"] = float32(0.25); return s }, []string{"Gemm_0", "alpha"}},
		{func(s []step) []step { s[1].attrs["transB"] = float32(1); return s }, []string{"Gemm_0", "transB"}},
		{func(s []step) []step { delete(s[3].attrs, "perm"); return s }, []string{"Transpose_0", "0 attributes, want 1"}},
		{func(s []step) []step { s[3].attrs["perm"] = []int64{0, 1}; return s }, []string{"Transpose_0", "perm"}},
		{func(s []step) []step { s[2].output = "other"; s[3].op = "Relu"; return s }, []string{"Sub_0", "does not see", "Transpose_0", "Relu"}},
		{func(s []step) []step { return append(s, s[0]) }, []string{"6 nodes, want 5"}},
	} {
		nodes, steps := walked(t)
		err := agree(nodes, c.change(steps))
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

func TestWalkRefuses(t *testing.T) {
	for _, data := range []string{"", "no protobuf", "\x3a\x00"} {
		if _, err := walk([]byte(data)); err == nil {
			t.Errorf("%q: no error", data)
		}
	}
}
