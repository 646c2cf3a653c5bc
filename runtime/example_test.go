package runtime_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/runtime"
)

// Embed one image with an exported encoder.
func ExampleEncoder_EmbedFile() {
	enc, err := runtime.Load("encoder.onnx", runtime.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer enc.Close()
	embedding, err := enc.EmbedFile(context.Background(), "cat.jpg")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(embedding) == enc.Dim())
}

// Embed a folder of images into a file for NumPy.
func ExampleEmbedAll() {
	enc, err := runtime.Load("encoder.onnx", runtime.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer enc.Close()
	src, err := augment.Open([]string{"photos"}, augment.SourceOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	out, err := runtime.Create("embeddings.npy", enc.Dim())
	if err != nil {
		log.Fatal(err)
	}
	defer out.Abort()
	done, err := runtime.EmbedAll(context.Background(), enc, src, out, runtime.JobOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if err := out.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(done.Done, "images,", len(done.Skipped), "skipped")
}

// Write embeddings and read them back.
func ExampleCreate() {
	dir, err := os.MkdirTemp("", "sslrt-example-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "x.npy")
	out, err := runtime.Create(path, 2)
	if err != nil {
		log.Fatal(err)
	}
	if err := out.Write("cat.jpg", "cat", []float32{0.5, -1}); err != nil {
		log.Fatal(err)
	}
	if err := out.Close(); err != nil {
		log.Fatal(err)
	}
	e, err := runtime.ReadEmbeddings(path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(e.Files, e.Labels, e.Dim, e.X)
	// Output: [cat.jpg] [cat] 2 [0.5 -1]
}
