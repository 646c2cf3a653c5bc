package ort_test

import (
	"context"
	"fmt"
	"log"

	"github.com/sslrt/sslrt/runtime/ort"
)

func ExampleNewTensor() {
	pixels := []float32{0, 0.5, 1, 0.5}
	x, err := ort.NewTensor([]int{1, 1, 2, 2}, pixels)
	if err != nil {
		log.Fatal(err)
	}
	pixels[0] = 0.25 // a tensor is a view of the slice
	values, err := ort.Data[float32](x)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(x.Type(), x.Shape(), values)
	// Output: float32 [1 1 2 2] [0.25 0.5 1 0.5]
}

// Open a model and run it on two images of 32 x 32 pixels.
func ExampleSession_RunMap() {
	s, err := ort.OpenFile("encoder.onnx", ort.Options{Threads: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	x, err := ort.NewTensor([]int{2, 3, 32, 32}, make([]float32, 2*3*32*32))
	if err != nil {
		log.Fatal(err)
	}
	out, err := s.RunMap(context.Background(), map[string]*ort.Tensor{"image": x})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out["embedding"].Shape())
}
