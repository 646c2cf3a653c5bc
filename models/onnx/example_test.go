package onnx_test

import (
	"fmt"
	"os"

	"github.com/sslrt/sslrt/models/onnx"
)

// Example builds a model of one linear layer, writes it and prints it.
func Example() {
	b := onnx.NewBuilder(17)
	x := b.Input(onnx.TensorInfo("image", onnx.Float, onnx.Symbol("N"), onnx.Fixed(3)))
	w := b.Initializer("fc.weight", onnx.FloatTensor("", []int64{2, 3}, []float32{1, 2, 3, 4, 5, 6}))
	h := b.Node("Gemm", []string{x, w}, onnx.IntAttr("transB", 1))
	b.NodeTo("Mul", []string{h, b.Float(0.5)}, []string{"embedding"})
	b.Output(onnx.TensorInfo("embedding", onnx.Float, onnx.Symbol("N"), onnx.Fixed(2)))

	m, err := b.Model("linear", onnx.Info{Kind: onnx.KindEncoder, EmbeddingSize: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := m.Marshal()
	if err != nil {
		fmt.Println(err)
		return
	}
	again, err := onnx.Unmarshal(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	onnx.Dump(os.Stdout, again)
	// Output:
	// ir_version 8, opset ai.onnx 17
	// producer sslrt
	// metadata
	//   sslrt.kind = "encoder"
	//   sslrt.embedding_size = "2"
	// graph linear
	//   inputs
	//     image float32 [N,3]
	//   outputs
	//     embedding float32 [N,2]
	//   initializers
	//     fc.weight float32 [2,3] = [1,2,3,4,5,6]
	//     const_0 float32 [] = [0.5]
	//   nodes
	//     Gemm_0 = Gemm(image, fc.weight) {transB=1}
	//     embedding = Mul(Gemm_0, const_0)
}
