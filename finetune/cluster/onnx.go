package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/sslrt/sslrt/finetune/distance"
	"github.com/sslrt/sslrt/models/onnx"
)

// Names of a file that assigns clusters.
const (
	OutputCluster  = "cluster"   // int64 [N]
	OutputDistance = "distance"  // float32 [N, K], Euclidean
	InputEmbedding = "embedding" // float32 [N, Dim], of a file without an encoder
)

// Assigner says what a file that assigns clusters holds.
type Assigner struct {
	Means     *Means
	Normalize bool            // scale an embedding to length 1 first, as before clustering
	Method    string          // "kmeans", "agglomerative"
	Summary   json.RawMessage // of the clustering, for the metadata
	Version   string          // of the program
}

// Model returns an ONNX model that takes embeddings, float32 [N, Dim], and gives for each
// the distances to the means, "distance" float32 [N, K], and the nearest, "cluster" int64
// [N].
func (a *Assigner) Model() (*onnx.Model, error) {
	n := onnx.Symbol("N")
	m := &onnx.Model{IRVersion: 8, ProducerName: "sslrt", ProducerVersion: a.Version,
		Opsets: []onnx.Opset{{Version: 17}},
		Graph: &onnx.Graph{Name: "clusters",
			Inputs: []*onnx.ValueInfo{onnx.TensorInfo(InputEmbedding, onnx.Float, n, onnx.Fixed(int64(a.Means.Dim)))}}}
	return m, a.finish(m, InputEmbedding, onnx.Info{})
}

// Attach appends the assignment to the model of an encoder, which then takes images. Its
// output of that name, float32 of one row per image, is kept; other outputs are dropped.
// m must not be used if there is an error.
func (a *Assigner) Attach(m *onnx.Model, output string) error {
	info, err := onnx.ReadInfo(m)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(m.Graph.Outputs, func(o *onnx.ValueInfo) bool { return o.Name == output })
	if i < 0 {
		return fmt.Errorf("cluster: the model has no output %q", output)
	}
	out := m.Graph.Outputs[i]
	if out.Type != onnx.Float || len(out.Dims) < 2 {
		return fmt.Errorf("cluster: output %q is %v %v, want float32 with one row per image", output, out.Type, out.Dims)
	}
	m.Graph.Outputs = []*onnx.ValueInfo{out}
	rows := output
	if len(out.Dims) > 2 {
		rows = prefix + "rows"
		m.Graph.Nodes = append(m.Graph.Nodes, &onnx.Node{Name: rows, OpType: "Flatten", Inputs: []string{output}, Outputs: []string{rows}})
	}
	return a.finish(m, rows, info)
}

// prefix of what is added to the model of an encoder.
const prefix = "clusters."

// finish adds the nodes from x: [N, Dim] to the outputs, and the metadata. It uses
// operators that are the same in every version of ONNX since 8.
func (a *Assigner) finish(m *onnx.Model, x string, info onnx.Info) error {
	if err := a.check(m); err != nil {
		return err
	}
	g, k, dim := m.Graph, int64(a.Means.K), int64(a.Means.Dim)
	node := func(op, name string, inputs ...string) string {
		n := &onnx.Node{Name: prefix + name, OpType: op, Inputs: inputs, Outputs: []string{prefix + name}}
		g.Nodes = append(g.Nodes, n)
		return n.Outputs[0]
	}
	constant := func(name string, dims []int64, values []float64) string {
		data := make([]float32, len(values))
		for i, v := range values {
			data[i] = float32(v)
		}
		g.Initializers = append(g.Initializers, onnx.FloatTensor(prefix+name, dims, data))
		return prefix + name
	}
	ones := constant("ones", []int64{dim, 1}, slices.Repeat([]float64{1}, int(dim)))
	square := func(name, x string) string { // [N, 1]
		return node("MatMul", name, node("Mul", name+".elements", x, x), ones)
	}
	if a.Normalize {
		length := node("Sqrt", "length", square("length.squared", x))
		x = node("Div", "unit", x, node("Max", "divisor", length, constant("least", []int64{1}, []float64{1e-12})))
	}
	// Squared distances, |x|^2 - 2 x c + |c|^2, of centred vectors, which keeps digits.
	middle := distance.Mean(a.Means.Centroids, a.Means.Dim)
	columns, squares := make([]float64, k*dim), make([]float64, k)
	for c := range k {
		for j := range dim {
			v := a.Means.Centroids[c*dim+j] - middle[j]
			columns[j*k+c] = -2 * v
			squares[c] += v * v
		}
	}
	x = node("Sub", "centred", x, constant("middle", []int64{1, dim}, middle))
	products := node("MatMul", "products", x, constant("centroids", []int64{dim, k}, columns))
	sum := node("Add", "sum", node("Add", "with.squares", products, constant("squares", []int64{1, k}, squares)), square("squared", x))
	root := node("Sqrt", "root", node("Relu", "above.zero", sum))
	g.Nodes = append(g.Nodes,
		&onnx.Node{Name: prefix + OutputDistance, OpType: "Identity", Inputs: []string{root}, Outputs: []string{OutputDistance}},
		&onnx.Node{Name: prefix + OutputCluster, OpType: "ArgMin", Inputs: []string{root}, Outputs: []string{OutputCluster},
			Attrs: []*onnx.Attr{onnx.IntAttr("axis", 1), onnx.IntAttr("keepdims", 0)}})
	batch := onnx.Symbol("N")
	if first := g.Inputs[0]; len(first.Dims) > 0 {
		batch = first.Dims[0]
	}
	g.Outputs = append(g.Outputs, onnx.TensorInfo(OutputDistance, onnx.Float, batch, onnx.Fixed(k)), onnx.TensorInfo(OutputCluster, onnx.Int64, batch))
	info.Kind, info.Method, info.Version, info.Training = onnx.KindClusters, a.Method, a.Version, a.Summary
	info.EmbeddingSize, info.Classes = a.Means.Dim, nil
	for i := range k {
		info.Classes = append(info.Classes, fmt.Sprint("cluster ", i))
	}
	if err := info.WriteTo(m); err != nil {
		return err
	}
	return onnx.Check(m)
}

func (a *Assigner) check(m *onnx.Model) error {
	if a.Means == nil || a.Means.K < 1 {
		return errors.New("cluster: there are no clusters to write")
	}
	for _, v := range a.Means.Centroids {
		if math.Abs(v) > math.MaxFloat32 {
			return fmt.Errorf("cluster: a centroid holds %g, more than float32 does", v)
		}
	}
	for _, n := range m.Graph.Nodes {
		for _, out := range n.Outputs {
			if out == OutputCluster || out == OutputDistance {
				return fmt.Errorf("cluster: the model has a value called %q already", out)
			}
		}
	}
	return nil
}
