package export

import (
	"fmt"
	"maps"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
)

// WriteBack returns the model with other values of its initialisers: those of
// params, by name. Nothing else of it changes, unknown fields of the file included;
// an initialiser keeps its type, so that what was float16 is rounded to it again.
func WriteBack(m *onnx.Model, params models.StateDict) (*onnx.Model, error) {
	to, graph := *m, *m.Graph
	to.Graph = &graph
	graph.Initializers = slices.Clone(graph.Initializers)
	left := maps.Clone(params)
	for i, t := range graph.Initializers {
		v := params[t.Name]
		if v == nil {
			continue
		}
		delete(left, t.Name)
		if v.Dtype() != tensor.Float32 || !sameSizes(v.Shape(), t.Dims) {
			return nil, fmt.Errorf("export: write back %q: got %v%v, the file has %v%v", t.Name, v.Dtype(), v.Shape(), t.Type, t.Dims)
		}
		with, err := t.WithFloats(v.Float32s())
		if err != nil {
			return nil, fmt.Errorf("export: write back: %w", err)
		}
		graph.Initializers[i] = with
	}
	if names := slices.Sorted(maps.Keys(left)); len(names) > 0 {
		return nil, fmt.Errorf("export: write back: the model has no initialiser %q", names[0])
	}
	return &to, nil
}

func sameSizes(a tensor.Shape, b []int64) bool {
	return slices.EqualFunc([]int(a), b, func(x int, y int64) bool { return int64(x) == y })
}
