package runtime_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
)

const codedSide = 4

// codedPreprocess normalises three channels each in its own way.
func codedPreprocess() augment.Preprocess {
	p := augment.EvalPreprocess(codedSide)
	p.Mean, p.Std = [3]float32{0.5, 0.25, 0}, [3]float32{0.5, 0.125, 2}
	return p
}

// writeModel writes a model whose output is computed from its input by add.
func writeModel(t *testing.T, kind string, in *onnx.ValueInfo, out string, dims []onnx.Dim, add func(b *onnx.Builder, x string) string) string {
	t.Helper()
	b := onnx.NewBuilder(17)
	y := add(b, b.Input(in))
	b.NodeTo("Identity", []string{y}, []string{out})
	b.Output(onnx.TensorInfo(out, onnx.Float, append([]onnx.Dim{onnx.Symbol("N")}, dims...)...))
	m, err := b.Model("test", onnx.Info{Kind: kind, EmbeddingSize: 3 * codedSide * codedSide, Preprocess: codedPreprocess().Metadata()})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := onnx.WriteFile(path, m); err != nil {
		t.Fatal(err)
	}
	return path
}

var imageDims = []onnx.Dim{onnx.Fixed(3), onnx.Fixed(codedSide), onnx.Fixed(codedSide)}

// floatAutoencoder gives back what it gets, still normalised.
func floatAutoencoder(t *testing.T) string {
	in := onnx.TensorInfo("image", onnx.Float, append([]onnx.Dim{onnx.Symbol("N")}, imageDims...)...)
	return writeModel(t, onnx.KindAutoencoder, in, "reconstruction", imageDims, func(_ *onnx.Builder, x string) string { return x })
}

// byteAutoencoder gives back the bytes that it gets, divided by 255.
func byteAutoencoder(t *testing.T) string {
	side := onnx.Fixed(codedSide)
	in := onnx.TensorInfo("image", onnx.Uint8, onnx.Symbol("N"), side, side, onnx.Fixed(3))
	return writeModel(t, onnx.KindAutoencoder, in, "reconstruction", imageDims, func(b *onnx.Builder, x string) string {
		x = b.Node("Cast", []string{x}, onnx.IntAttr("to", int64(onnx.Float)))
		x = b.Node("Transpose", []string{x}, onnx.IntsAttr("perm", 0, 3, 1, 2))
		return b.Node("Div", []string{x, b.Float(255)})
	})
}

// pixelValues are n images of values in 0..1, all different.
func pixelValues(n int) []float32 {
	out := make([]float32, n*3*codedSide*codedSide)
	for i := range out {
		out[i] = float32(i*37%101) / 100
	}
	return out
}

func TestReconstructNormalises(t *testing.T) {
	needLibrary(t)
	a, err := runtime.LoadAutoencoder(floatAutoencoder(t), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	x := pixelValues(11)
	got, err := a.Reconstruct(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	pre := codedPreprocess()
	for i, v := range x {
		c := i / (codedSide * codedSide) % 3
		if want := (v - pre.Mean[c]) / pre.Std[c]; got[i] != want {
			t.Fatalf("value %d, channel %d: got %g, want %g", i, c, got[i], want)
		}
	}
	if _, err := a.Reconstruct(t.Context(), x[:50]); err == nil || !strings.Contains(err.Error(), "3x4x4") {
		t.Errorf("half an image: got %v", err)
	}
}

func TestReconstructBytes(t *testing.T) {
	needLibrary(t)
	a, err := runtime.LoadAutoencoder(byteAutoencoder(t), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	x := pixelValues(3)
	x[0], x[1] = -1, 2 // limited
	got, err := a.Reconstruct(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	x[0], x[1] = 0, 1
	for i, v := range x {
		if d := got[i] - v; d > 0.5/255+1e-6 || d < -0.5/255-1e-6 {
			t.Fatalf("value %d: got %g, want %g to half a level", i, got[i], v)
		}
	}
}

// TestReconstructAll: in order, an image that cannot be read left out, the noise of an
// image the same in every batch size.
func TestReconstructAll(t *testing.T) {
	needLibrary(t)
	a, err := runtime.LoadAutoencoder(byteAutoencoder(t), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	dir := t.TempDir()
	for i := range 7 {
		m := augment.NewImage(codedSide, codedSide)
		for k := range m.Pix {
			m.Pix[k] = uint8(10*i + k)
		}
		if err := m.WritePNG(filepath.Join(dir, fmt.Sprintf("%d.png", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "3.png"), []byte("no picture"), 0o644); err != nil {
		t.Fatal(err)
	}
	src, err := augment.Open([]string{dir}, augment.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var first []float32
	for _, size := range []int{1, 3, 64} {
		var seen []float32
		var order []int
		noise := augment.Noise{Kind: augment.NoiseGaussian, Level: 0.1}
		sum, err := runtime.ReconstructAll(t.Context(), a, src, noise, 9, runtime.JobOptions{BatchSize: size}, func(r runtime.Reconstructed) error {
			order = append(order, r.Index)
			seen = append(seen, r.Seen...)
			if r.Clean[0] != float32(10*r.Index)/255 || slices.Equal(r.Seen, r.Clean) {
				t.Errorf("image %d: clean %g, seen %g", r.Index, r.Clean[0], r.Seen[0])
			}
			return nil
		})
		if err != nil || sum.Done != 6 || len(sum.Skipped) != 1 || !slices.Equal(order, []int{0, 1, 2, 4, 5, 6}) {
			t.Fatalf("batches of %d: got %+v, %v, order %v", size, sum, err, order)
		}
		if first == nil {
			first = seen
		} else if !slices.Equal(seen, first) {
			t.Errorf("batches of %d have other noise", size)
		}
	}
}

func TestLoadAutoencoderErrors(t *testing.T) {
	needLibrary(t)
	in := onnx.TensorInfo("image", onnx.Float, append([]onnx.Dim{onnx.Symbol("N")}, imageDims...)...)
	flat := writeModel(t, onnx.KindAutoencoder, in, "reconstruction", []onnx.Dim{onnx.Fixed(48)}, func(b *onnx.Builder, x string) string {
		return b.Node("Flatten", []string{x})
	})
	if _, err := runtime.LoadAutoencoder(flat, runtime.Options{}); err == nil || !strings.Contains(err.Error(), "want an image of that size") {
		t.Errorf("a row for an image: got %v", err)
	}
	if _, err := runtime.LoadDecoder(flat, runtime.Options{}); err == nil || !strings.Contains(err.Error(), `kind "autoencoder"`) {
		t.Errorf("an autoencoder as a decoder: got %v", err)
	}
	if _, err := runtime.LoadDecoder(filepath.Join(t.TempDir(), "none.onnx"), runtime.Options{}); err == nil {
		t.Error("a file that is not there is loaded")
	}
}

func TestDecode(t *testing.T) {
	needLibrary(t)
	path := writeModel(t, onnx.KindDecoder, onnx.TensorInfo("embedding", onnx.Float, onnx.Symbol("N"), onnx.Fixed(48)), "reconstruction", imageDims,
		func(b *onnx.Builder, x string) string {
			return b.Node("Reshape", []string{x, b.Ints(-1, 3, codedSide, codedSide)})
		})
	d, err := runtime.LoadDecoder(path, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	x := pixelValues(2)
	got, err := d.Decode(t.Context(), x)
	if err != nil || !slices.Equal(got, x) || d.Dim() != 48 || d.Pixels().Height != codedSide {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := d.Decode(t.Context(), x[:47]); err == nil || !strings.Contains(err.Error(), "embeddings of 48") {
		t.Errorf("got %v", err)
	}
}

// Clean an image with a denoising autoencoder.
func ExampleAutoencoder_Reconstruct() {
	a, err := runtime.LoadAutoencoder("denoiser.onnx", runtime.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	m, err := augment.DecodeFile("noisy.png")
	if err != nil {
		log.Fatal(err)
	}
	pre := a.Pixels()
	pixels := make([]float32, pre.Len())
	pre.Tensor(pixels, m)
	clean, err := a.Reconstruct(context.Background(), pixels)
	if err != nil {
		log.Fatal(err)
	}
	if err := pre.Image(clean).WritePNG("clean.png"); err != nil {
		log.Fatal(err)
	}
}
