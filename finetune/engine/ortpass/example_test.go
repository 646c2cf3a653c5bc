package ortpass_test

import (
	"fmt"

	"github.com/sslrt/sslrt/finetune/engine/ortpass"
	"github.com/sslrt/sslrt/models/onnx"
)

func ExampleApply() {
	// A convolution of 64 channels whose weights are computed at run time.
	sizes := func(name string, sizes ...int64) *onnx.ValueInfo {
		var dims []onnx.Dim
		for _, s := range sizes {
			dims = append(dims, onnx.Fixed(s))
		}
		return onnx.TensorInfo(name, onnx.Float, dims...)
	}
	b := onnx.NewBuilder(17)
	x, w := b.Input(sizes("x", 16, 64, 8, 8)), b.Input(sizes("w", 64, 64, 3, 3))
	b.Output(sizes("y", 16, 64, 8, 8))
	b.NodeTo("Conv", []string{x, w}, []string{"y"}, onnx.IntsAttr("kernel_shape", 3, 3), onnx.IntsAttr("pads", 1, 1, 1, 1))
	m, err := b.Model("conv", onnx.Info{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := ortpass.Apply(m, ortpass.BlockedConv(8, 64)); err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range m.Graph.Nodes {
		if n.Domain != "" {
			fmt.Println(n.Domain, n.OpType)
		}
	}
	// Output:
	// com.microsoft.nchwc ReorderInput
	// com.microsoft.nchwc ReorderInput
	// com.microsoft.nchwc Conv
	// com.microsoft.nchwc ReorderOutput
}
