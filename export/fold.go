package export

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/models/onnx"
)

// foldBatchNorm multiplies each BatchNormalization in evaluation mode into the
// convolution or linear layer before it, whose only consumer it is:
//
//	scale = weight / sqrt(running_var + eps)
//	y = (W x + b - running_mean) * scale + bias = (scale W) x + (b - running_mean) * scale + bias
//
// in float64. A new bias is named like the weight. What cannot be folded stays.
func foldBatchNorm(g *onnx.Graph) error {
	f := folder{g: g}
	f.index()
	for _, n := range slices.Clone(g.Nodes) {
		if n.OpType == "Add" {
			f.mergeBias(n)
		}
	}
	for _, n := range slices.Clone(g.Nodes) {
		if n.OpType != "BatchNormalization" || len(n.Outputs) != 1 {
			continue
		}
		if err := f.fold(n); err != nil {
			return fmt.Errorf("export: fold %s: %w", n.Name, err)
		}
	}
	g.Initializers = slices.DeleteFunc(g.Initializers, func(t *onnx.Tensor) bool { return f.uses[t.Name] == 0 })
	return nil
}

type folder struct {
	g        *onnx.Graph
	producer map[string]*onnx.Node
	uses     map[string]int // of each value, by nodes and as outputs of the graph
	weights  map[string]*onnx.Tensor
}

func (f *folder) index() {
	f.producer, f.uses, f.weights = map[string]*onnx.Node{}, map[string]int{}, map[string]*onnx.Tensor{}
	for _, n := range f.g.Nodes {
		for _, in := range n.Inputs {
			f.uses[in]++
		}
		for _, out := range n.Outputs {
			f.producer[out] = n
		}
	}
	for _, o := range f.g.Outputs {
		f.uses[o.Name]++
	}
	for _, t := range f.g.Initializers {
		f.weights[t.Name] = t
	}
}

// absorb makes layer give what n, its only consumer, gave, and drops n.
func (f *folder) absorb(layer, n *onnx.Node) {
	f.g.Nodes = slices.DeleteFunc(f.g.Nodes, func(m *onnx.Node) bool { return m == n })
	for _, in := range n.Inputs {
		f.uses[in]--
	}
	layer.Outputs[0] = n.Outputs[0]
	f.producer[n.Outputs[0]] = layer
}

// mergeBias makes a linear layer, written as Gemm and Add, one Gemm.
func (f *folder) mergeBias(add *onnx.Node) {
	for i, in := range add.Inputs {
		gemm, bias := f.producer[in], f.weights[add.Inputs[1-i]]
		if gemm == nil || bias == nil || gemm.OpType != "Gemm" || len(gemm.Inputs) != 2 || f.uses[in] != 1 || len(bias.Dims) != 1 {
			continue
		}
		f.absorb(gemm, add)
		gemm.Inputs = append(gemm.Inputs, bias.Name)
		f.uses[bias.Name]++
		return
	}
}

func (f *folder) fold(n *onnx.Node) error {
	layer := f.producer[n.Inputs[0]]
	if layer == nil || f.uses[n.Inputs[0]] != 1 || layer.OpType != "Conv" && layer.OpType != "Gemm" {
		return nil
	}
	w := f.weights[layer.Inputs[1]]
	if w == nil || f.uses[w.Name] != 1 || len(w.Dims) < 2 {
		return nil
	}
	// Which axis of the weight counts the outputs: of a Conv the first, of a Gemm
	// that transposes its weight too.
	first := layer.OpType == "Conv"
	for _, a := range layer.Attrs {
		switch {
		case layer.OpType == "Gemm" && a.Name == "transB":
			first = a.I == 1
		case a.Name == "alpha" || a.Name == "beta":
			return nil
		}
	}
	scale, shift, err := f.affine(n)
	if err != nil || scale == nil {
		return err
	}
	values, err := w.Floats()
	if err != nil {
		return err
	}
	k := len(scale)
	outputs := w.Dims[0]
	if !first {
		outputs = w.Dims[len(w.Dims)-1]
	}
	if outputs != int64(k) {
		return fmt.Errorf("%d channels behind a layer with %d outputs", k, outputs)
	}
	b := make([]float64, k)
	biasName := strings.TrimSuffix(w.Name, "weight") + "bias"
	if len(layer.Inputs) > 2 {
		old := f.weights[layer.Inputs[2]]
		if old == nil || f.uses[old.Name] != 1 || !slices.Equal(old.Dims, []int64{int64(k)}) {
			return nil
		}
		v, err := old.Floats()
		if err != nil {
			return err
		}
		for c := range b {
			b[c] = float64(v[c])
		}
		biasName = old.Name
	} else if f.weights[biasName] != nil || f.producer[biasName] != nil {
		return nil
	}
	per := len(values) / k
	for i := range values {
		c := i / per
		if !first {
			c = i % k
		}
		values[i] = float32(float64(values[i]) * scale[c])
	}
	bias := make([]float32, k)
	for c := range bias {
		bias[c] = float32(b[c]*scale[c] + shift[c])
	}
	f.set(onnx.FloatTensor(w.Name, w.Dims, values))
	f.set(onnx.FloatTensor(biasName, []int64{int64(k)}, bias))
	f.absorb(layer, n)
	if len(layer.Inputs) < 3 {
		layer.Inputs = append(layer.Inputs[:2:2], biasName)
		f.uses[biasName]++
	}
	return nil
}

// affine returns what a BatchNormalization multiplies its channels by and adds to
// them, nothing when its statistics are no constants.
func (f *folder) affine(n *onnx.Node) (scale, shift []float64, err error) {
	eps := float32(1e-5)
	for _, a := range n.Attrs {
		switch {
		case a.Name == "epsilon":
			eps = a.F
		case a.Name == "training_mode" && a.I != 0:
			return nil, nil, nil
		}
	}
	var v [4][]float32 // weight, bias, mean, variance
	for i, name := range n.Inputs[1:] {
		t := f.weights[name]
		if t == nil {
			return nil, nil, nil
		}
		if v[i], err = t.Floats(); err != nil {
			return nil, nil, err
		}
	}
	for c := range v[0] {
		s := float64(v[0][c]) / math.Sqrt(float64(v[3][c])+float64(eps))
		scale = append(scale, s)
		shift = append(shift, float64(v[1][c])-float64(v[2][c])*s)
	}
	return scale, shift, nil
}

// set puts a tensor in the place of the one of its name, or at the end.
func (f *folder) set(t *onnx.Tensor) {
	f.weights[t.Name] = t
	for i, old := range f.g.Initializers {
		if old.Name == t.Name {
			f.g.Initializers[i] = t
			return
		}
	}
	f.g.Initializers = append(f.g.Initializers, t)
}
