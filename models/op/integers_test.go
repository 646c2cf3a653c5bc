package op_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/op"
)

// integers is a graph of labels and indices for n images.
func integers(n int) []export.Output {
	g := op.NewGraph()
	labels := g.Input("labels", op.Int64, op.Batched(n))
	x := g.Input("x", op.Float32, op.Batched(n, 1, 2, 4))
	positions := op.MaxPool2DIndices(x, op.Pool{Kernel: [2]int{2, 2}})
	return []export.Output{
		{Name: "one hot", Node: op.OneHot(labels, 3)},
		{Name: "positions", Node: op.Reshape(positions, op.Batched(n, 2))},
	}
}

func TestIntegers(t *testing.T) {
	in := engine.Tensors{
		"labels": engine.NewTensor([]int64{2, -1, 0, 3}, 4),
		"x": engine.NewTensor([]float32{
			0, 1, 0, 0, 0, 0, 0, 2,
			1, 0, 3, 0, 0, 0, 0, 0,
			0, 0, 0, 4, 5, 0, 0, 0,
			7, 7, 7, 7, 7, 7, 7, 7,
		}, 4, 1, 2, 4),
	}
	for _, name := range []string{"go", "ort"} {
		t.Run(name, func(t *testing.T) {
			var m engine.Machine = engine.Go{}
			if name == "ort" {
				m = ortMachine(t)
			}
			out := run(t, m, engine.Function{Outputs: integers(4)}, in)
			if got, want := out["one hot"].Float32s(), []float32{0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0}; !slices.Equal(got, want) {
				t.Errorf("one hot: got %v, want %v", got, want)
			}
			if got, want := out["positions"].Int64s(), []int64{1, 7, 0, 2, 4, 3, 0, 2}; !slices.Equal(got, want) {
				t.Errorf("positions: got %v, want %v", got, want)
			}
		})
	}
}

func TestIntegersKeepBatchOpen(t *testing.T) {
	var files [2][]byte
	for i := range files {
		m, err := export.Lower(integers(2+i), export.Options{DynamicBatch: true})
		if err != nil {
			t.Fatal(err)
		}
		if files[i], err = m.Marshal(); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("the files for 2 and 3 images differ")
	}
}
