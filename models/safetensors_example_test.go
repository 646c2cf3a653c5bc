package models_test

import (
	"fmt"
	"os"
	"path/filepath"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models"
)

func ExampleWriteSafetensors() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "weights.safetensors")
	state := models.StateDict{
		"fc.weight": tensor.New(tensor.WithShape(2, 3), tensor.WithBacking([]float32{1, 2, 3, 4, 5, 6})),
	}
	if err := models.WriteSafetensors(path, state, map[string]string{"epoch": "3"}); err != nil {
		panic(err)
	}
	read, metadata, err := models.ReadSafetensors(path)
	if err != nil {
		panic(err)
	}
	fmt.Println(read["fc.weight"].Shape(), read["fc.weight"].Float32s(), metadata["epoch"])
	// Output: (2, 3) [1 2 3 4 5 6] 3
}
