package runtime_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sbinet/npyio/npz"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/runtime"
)

// The ONNX fixtures hold PyTorch's outputs for real 8-bit images.
func TestForeignFixtures(t *testing.T) {
	needLibrary(t)
	dir := os.Getenv("SSLRT_SHARED")
	if dir == "" {
		dir = "../shared"
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join("..", dir)
	}
	files, err := filepath.Glob(filepath.Join(dir, "onnx", "*", "*_io.npz*"))
	if err != nil || len(files) == 0 {
		t.Skip("no reference data: set SSLRT_SHARED")
	}
	ran := 0
	for _, file := range files {
		model := strings.SplitN(filepath.Base(file), "_io.npz", 2)[0]
		graphs, err := filepath.Glob(filepath.Join(filepath.Dir(file), model+"_eval_*.onnx*"))
		if err != nil || len(graphs) != 1 {
			continue
		}
		arrays := unpacked(t, file)
		z, err := npz.NewReader(bytes.NewReader(arrays), int64(len(arrays)))
		if err != nil {
			t.Fatal(err)
		}
		output := "output"
		if !slices.Contains(z.Keys(), "output.npy") {
			output = "output0"
		}
		if !slices.Contains(z.Keys(), "image_u8.npy") || model == "autoencoder" { // whose output is an image
			continue
		}
		var pixels []uint8
		var input, want []float32
		for key, dst := range map[string]any{"image_u8": &pixels, "input": &input, output: &want} {
			if err := z.Read(key+".npy", dst); err != nil {
				t.Fatal(model, key, err)
			}
		}
		side := int(math.Sqrt(float64(len(pixels)) / 6))
		e, err := runtime.LoadBytes(unpacked(t, graphs[0]), runtime.Options{Output: output,
			Preprocess: map[string]string{"size": augment.EvalPreprocess(side).Metadata()["size"],
				"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}})
		if err != nil {
			t.Fatal(model, err)
		}
		batch := []*augment.Image{{W: side, H: side, Pix: pixels[:side*side*3]}, {W: side, H: side, Pix: pixels[side*side*3:]}}
		got, err := e.EmbedBatch(context.Background(), batch)
		e.Close()
		if err != nil {
			t.Fatal(model, err)
		}
		var diff, scale float64
		for i, w := range want {
			diff = math.Max(diff, math.Abs(float64(got[i]-w)))
			scale = math.Max(scale, math.Abs(float64(w)))
		}
		t.Logf("%s: max difference %.2g of %.3g", model, diff, scale)
		if diff > 1e-4*scale {
			t.Errorf("%s: got a difference of %v, want at most 1e-4 of %v", model, diff, scale)
		}
		ran++
	}
	t.Logf("%d models", ran)
	if ran == 0 {
		t.Error("no model could be run")
	}
}

func unpacked(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(path, ".gz") {
		return data
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if data, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return data
}
