package finetune_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
)

func denoiser(engine string, kind augment.NoiseKind) finetune.Config {
	c := finetune.DefaultConfig()
	c.Method, c.Encoder, c.Noise = finetune.MethodDenoise, "conv", string(kind)
	c.Width, c.Epochs, c.BatchSize, c.Seed, c.Engine = 0.125, 2, 4, 3, engine
	return c
}

// TestStoppedDenoiserGoesOnBitForBit: the noise of a step does not depend on where the
// process began, of any kind.
func TestStoppedDenoiserGoesOnBitForBit(t *testing.T) {
	src := open(t, pictures(t, 8))
	for _, engine := range engines(t) {
		for _, kind := range []augment.NoiseKind{augment.NoiseGaussian, augment.NoiseMasking, augment.NoiseSaltPepper} {
			straight := begin(t, denoiser(engine, kind), src)
			if _, err := finetune.Pretrain(t.Context(), straight, src, finetune.Events{}); err != nil {
				t.Fatal(err)
			}
			stopped := begin(t, denoiser(engine, kind), src)
			ctx, stop := context.WithCancel(t.Context())
			_, err := finetune.Pretrain(ctx, stopped, src, finetune.Events{Step: func(p finetune.Progress) {
				if p.Step == 3 {
					stop()
				}
			}})
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v, want a stop", err)
			}
			if _, err := finetune.Pretrain(t.Context(), stopped, src, finetune.Events{}); err != nil {
				t.Fatal(err)
			}
			sameBits(t, checkpoint(t, straight), checkpoint(t, stopped))
		}
	}
}

func TestAutoencoderRunLeavesASheet(t *testing.T) {
	src := open(t, pictures(t, 8))
	for method, cells := range map[string]int{finetune.MethodAutoencoder: 2, finetune.MethodDenoise: 3} {
		c := denoiser("go", "")
		c.Method = method
		run := begin(t, c, src)
		if run.Config.Optimizer != "adam" || run.Config.Loss != "mse" || !slices.Equal(run.Config.Mean, []float32{0, 0, 0}) {
			t.Errorf("%s: got optimizer %s, loss %s, mean %v", method, run.Config.Optimizer, run.Config.Loss, run.Config.Mean)
		}
		res, err := finetune.Pretrain(t.Context(), run, src, finetune.Events{})
		if err != nil {
			t.Fatal(err)
		}
		if db := res.Metrics["psnr"]; !(db > 3 && db < 60) {
			t.Errorf("%s: psnr %g dB", method, db)
		}
		m, err := augment.DecodeFile(filepath.Join(run.Dir, "reconstruction.png"))
		if err != nil {
			t.Fatal(err)
		}
		// Four images a row, drawn 60 pixels wide with gaps of 4.
		if want := 4*cells*64 + 4; m.W != want {
			t.Errorf("%s: the sheet is %d pixels wide, want %d", method, m.W, want)
		}
	}
}

func TestAutoencoderParts(t *testing.T) {
	needORT(t)
	src := open(t, pictures(t, 8))
	run := begin(t, denoiser("ort", augment.NoiseGaussian), src)
	if _, err := finetune.Pretrain(t.Context(), run, src, finetune.Events{}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name+".onnx") }
	for _, c := range []struct {
		part, kind, output string
		opt                export.ModelOptions
	}{
		{"", onnx.KindAutoencoder, "reconstruction", export.ModelOptions{}},
		{"uint8", onnx.KindAutoencoder, "reconstruction", export.ModelOptions{Input: onnx.InputUint8}},
		{onnx.KindDecoder, onnx.KindDecoder, "reconstruction", export.ModelOptions{}},
		{onnx.KindEncoder, onnx.KindEncoder, "embedding", export.ModelOptions{}},
	} {
		part := strings.TrimSuffix(c.part, "uint8")
		got, err := finetune.Export(t.Context(), run, file(c.part), finetune.ExportOptions{Part: part, Model: c.opt})
		if err != nil {
			t.Fatal(c.part, err)
		}
		if got.Kind != c.kind || !got.Checked || got.MaxError > engine.Tolerance || got.Random != 4 {
			t.Errorf("%s: got %+v", c.part, got)
		}
		if names := outputs(t, file(c.part)); !slices.Equal(names, []string{c.output}) {
			t.Errorf("%s: got the outputs %v", c.part, names)
		}
		again, err := finetune.VerifyExported(t.Context(), run, file(c.part), finetune.CheckOptions{BatchSize: 2})
		if err != nil || again.Random != 3 {
			t.Errorf("%s: verify: got %+v, %v", c.part, again, err)
		}
	}

	// Whole, and encoder and decoder one after the other, give the same images.
	whole, err := runtime.LoadAutoencoder(file(""), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	encoder, err := runtime.Load(file(onnx.KindEncoder), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer encoder.Close()
	decoder, err := runtime.LoadDecoder(file(onnx.KindDecoder), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	bytes, err := runtime.LoadAutoencoder(file("uint8"), runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer bytes.Close()
	m, err := src.Image(1)
	if err != nil {
		t.Fatal(err)
	}
	pixels := make([]float32, whole.Pixels().Len())
	whole.Pixels().Tensor(pixels, m)
	want, err := whole.Reconstruct(t.Context(), pixels)
	if err != nil {
		t.Fatal(err)
	}
	h, err := encoder.EmbedBatch(t.Context(), []*augment.Image{m})
	if err != nil {
		t.Fatal(err)
	}
	inTwo, err := decoder.Decode(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	fromBytes, err := bytes.Reconstruct(t.Context(), pixels)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		if d := math.Abs(float64(inTwo[i] - w)); d > 1e-5 {
			t.Fatalf("pixel %d is %g, by encoder and decoder %g", i, w, inTwo[i])
		}
		if d := math.Abs(float64(fromBytes[i] - w)); d > 1e-5 {
			t.Fatalf("pixel %d is %g, from bytes %g", i, w, fromBytes[i])
		}
	}

	if _, err := finetune.Export(t.Context(), run, file("x"), finetune.ExportOptions{Part: onnx.KindDecoder,
		Model: export.ModelOptions{Input: onnx.InputUint8}}); err == nil || !strings.Contains(err.Error(), "takes embeddings") {
		t.Errorf("a decoder of bytes: got %v", err)
	}
	if _, err := os.Stat(file("x")); err == nil {
		t.Error("the refused file is there")
	}
	for name, load := range map[string]func() error{
		"an encoder as an autoencoder": func() error { _, err := runtime.LoadAutoencoder(file(onnx.KindEncoder), runtime.Options{}); return err },
		"a decoder as an encoder":      func() error { _, err := runtime.Load(file(onnx.KindDecoder), runtime.Options{}); return err },
		"an encoder as a decoder":      func() error { _, err := runtime.LoadDecoder(file(onnx.KindEncoder), runtime.Options{}); return err },
	} {
		if load() == nil {
			t.Errorf("%s is taken", name)
		}
	}

	noise, err := finetune.TrainedNoise(whole.Info().Training)
	if err != nil || noise != (augment.Noise{Kind: augment.NoiseGaussian, Level: 0.2}) {
		t.Errorf("trained noise: got %+v, %v", noise, err)
	}
	found, err := finetune.EvaluateReconstruction(t.Context(), whole, src, finetune.ReconstructionOptions{Noise: noise, Sheet: 3})
	if err != nil || found.Images != 16 || found.Sheet == nil {
		t.Fatalf("got %+v, %v", found, err)
	}
	// The noise's own variance, 0.04, less what the limits take: 14 dB and a little.
	if !(found.Noisy > 13.5 && found.Noisy < 17) {
		t.Errorf("noisy images have %g dB", found.Noisy)
	}
	again, err := finetune.EvaluateReconstruction(t.Context(), whole, src, finetune.ReconstructionOptions{Noise: noise, Job: runtime.JobOptions{BatchSize: 5}})
	if err != nil || again.PSNR != found.PSNR || again.Noisy != found.Noisy {
		t.Errorf("batches of 5: got %+v, %v, want the PSNR %g", again, err, found.PSNR)
	}
}

func TestMethodSettings(t *testing.T) {
	src := open(t, pictures(t, 8))
	for want, change := range map[string]func(*finetune.Config){
		`unknown loss "ntxent" for method denoise`: func(c *finetune.Config) { c.Loss = "ntxent" },
		`unknown loss "mse" for method simclr`:     func(c *finetune.Config) { c.Method, c.Noise, c.Loss = finetune.MethodSimCLR, "", "mse" },
		"noise goes with method denoise":           func(c *finetune.Config) { c.Method = finetune.MethodAutoencoder },
		`unknown noise "speckle"`:                  func(c *finetune.Config) { c.Noise = "speckle" },
		"noise level is 2":                         func(c *finetune.Config) { c.Noise, c.NoiseLevel = "masking", 2 },
		"has no projector":                         func(c *finetune.Config) { c.Projector = []int{8} },
		"no choice of losses":                      func(c *finetune.Config) { c.Method, c.Noise, c.Loss = finetune.MethodSupervised, "", "mse" },
		`unknown method "vae"`:                     func(c *finetune.Config) { c.Method = "vae" },
	} {
		c := denoiser("go", augment.NoiseGaussian)
		change(&c)
		if err := c.Resolve(src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	// Larger images and networks with other shapes train as well.
	r := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	for i := range 4 {
		m := augment.NewImage(130, 100)
		for k := range m.Pix {
			m.Pix[k] = uint8(r.Uint32())
		}
		if err := m.WritePNG(filepath.Join(dir, string(rune('a'+i))+".png")); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int{33, 128} {
		c := denoiser("auto", augment.NoiseMasking)
		c.Encoder, c.Width, c.ImageSize, c.Epochs, c.BatchSize, c.Loss = "resnet18", 0.05, size, 1, 2, "ssim"
		run := begin(t, c, open(t, dir))
		if _, err := finetune.Pretrain(t.Context(), run, open(t, dir), finetune.Events{}); err != nil {
			t.Errorf("%d px: %v", size, err)
		}
	}
}
