package augment_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sslrt/sslrt/augment"
)

// Two augmented views of each image, as SimCLR's training step takes them.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	for i, name := range []string{"cat.png", "dog.png", "fox.png"} {
		m := augment.NewImage(48, 40)
		m.Pix[0] = uint8(i)
		if err := m.WritePNG(filepath.Join(dir, name)); err != nil {
			fmt.Println(err)
			return
		}
	}

	src, err := augment.Open([]string{dir}, augment.SourceOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close()
	loader, err := augment.NewLoader(src, augment.LoaderOptions{
		BatchSize: 2, Seed: 1, Shuffle: true,
		Views:      augment.Alike(2, augment.SimCLR(32)),
		Preprocess: augment.EvalPreprocess(32),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loader.Close()
	for {
		batch, err := loader.Next(context.Background())
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(len(batch.Index), "images,", len(batch.Views), "views,", len(batch.Views[0]), "values each")
		loader.Release(batch)
	}
	// Output:
	// 2 images, 2 views, 6144 values each
	// 1 images, 2 views, 3072 values each
}

func ExampleEvalPreprocess() {
	p := augment.EvalPreprocess(224)
	fmt.Println(p)
	input := make([]float32, p.Len())
	p.Tensor(input, augment.NewImage(640, 480))
	fmt.Printf("black is %.4f\n", input[0])
	// Output:
	// resize the shorter side to 256 (bilinear), crop the centre 224x224, RGB, mean 0.485,0.456,0.406, std 0.229,0.224,0.225
	// black is -2.1179
}
