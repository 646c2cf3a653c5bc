package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime/ort"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sslrt": main})
}

// TestScripts runs the command line as a user does, by the scripts in
// testdata/script. They have
//
//   - sslrt, the command
//   - exits CODE COMMAND...: runs a command that must exit with this code
//   - encoder FILE: writes a small encoder of 8x8 images, with metadata; its
//     embedding of an image are the means of the four quarters of each channel
//   - foreign FILE: the same without metadata
//   - picture FILE R G B: writes a PNG of one colour
//   - pack FILE NAME...: archives files, as .tar, .tar.gz, .zip or .npz (a .zip) by
//     the suffix of FILE
//   - cifar FILE LABEL...: writes CIFAR-10 records, those of CIFAR-100 for
//     COARSE/FINE, of grey images as light as the label
//   - array FILE.npy TYPE SHAPE VALUE...: writes uint8 or int64 values, again and
//     again until the shape (2x28x28) is full
//   - [libjpeg]: the build decodes JPEG by it; [ort]: ONNX Runtime was found; [shared]: the data of SSLRT_SHARED are there
//   - $REPO: the repository, $SHARED: those data
func TestScripts(t *testing.T) {
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	shared := os.Getenv("SSLRT_SHARED")
	if shared == "" {
		shared = "../shared"
	}
	if !filepath.IsAbs(shared) {
		shared = filepath.Join(repo, shared)
	}
	lib, libErr := ort.Find(ort.FindOptions{})
	if libErr != nil {
		t.Logf("scripts that need ONNX Runtime are skipped: %v", libErr)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("REPO", repo)
			env.Setenv("SHARED", shared)
			env.Setenv(ort.EnvLibrary, lib.Path) // the scripts' home is empty, the user's cache out of sight
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "ort":
				return libErr == nil, nil
			case "shared":
				_, err := os.Stat(shared)
				return err == nil, nil
			}
			return false, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"pack":  pack,
			"cifar": cifar,
			"array": array,
			"encoder": func(ts *testscript.TestScript, _ bool, args []string) {
				info := onnx.Info{Kind: onnx.KindEncoder, EmbeddingSize: 12, Preprocess: augment.EvalPreprocess(8).Metadata()}
				ts.Check(writeEncoder(ts.MkAbs(args[0]), info))
			},
			"foreign": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(writeEncoder(ts.MkAbs(args[0]), onnx.Info{}))
			},
			"network": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(writeNetwork(ts.MkAbs(args[0])))
			},
			"picture": func(ts *testscript.TestScript, _ bool, args []string) {
				if len(args) != 4 {
					ts.Fatalf("usage: picture FILE R G B")
				}
				ts.Check(writePicture(ts.MkAbs(args[0]), args[1:]))
			},
		},
		RequireUniqueNames: true,
	})
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("got exit code %d, want %d", got, want)
	}
}

// writeEncoder writes an encoder that averages over quarters of an 8x8 image:
// float32 [N, 3, 8, 8] to [N, 12].
func writeEncoder(path string, info onnx.Info) error {
	b := onnx.NewBuilder(17)
	n := onnx.Symbol("N")
	x := b.Input(onnx.TensorInfo("image", onnx.Float, n, onnx.Fixed(3), onnx.Fixed(8), onnx.Fixed(8)))
	x = b.Node("AveragePool", []string{x}, onnx.IntsAttr("kernel_shape", 4, 4), onnx.IntsAttr("strides", 4, 4))
	b.NodeTo("Flatten", []string{x}, []string{"embedding"})
	b.Output(onnx.TensorInfo("embedding", onnx.Float, n, onnx.Fixed(12)))
	m, err := b.Model("quarters", info)
	if err != nil {
		return err
	}
	data, err := m.Marshal()
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// writeNetwork writes a network as others train them, from images of 8 pixels to 4
// features: convolution, normalisation, mean.
func writeNetwork(path string) error {
	b := onnx.NewBuilder(15)
	x := b.Input(onnx.TensorInfo("pixel_values", onnx.Float, onnx.Symbol("batch"), onnx.Fixed(3), onnx.Fixed(8), onnx.Fixed(8)))
	w := make([]float32, 4*3*3*3)
	for i := range w {
		w[i] = float32(i%7-3) / 20
	}
	y := b.Node("Conv", []string{x, b.Initializer("stem.weight", onnx.FloatTensor("", []int64{4, 3, 3, 3}, w))}, onnx.IntsAttr("strides", 2, 2))
	list := func(name string, v float32) string {
		return b.Initializer(name, onnx.FloatTensor("", []int64{4}, []float32{v, v, v, v}))
	}
	y = b.Node("BatchNormalization", []string{y, list("bn.weight", 1), list("bn.bias", 0.1), list("bn.mean", 0), list("bn.var", 1)})
	y = b.Node("GlobalAveragePool", []string{b.Node("Relu", []string{y})})
	b.NodeTo("Flatten", []string{y}, []string{"pooled"})
	b.Output(onnx.TensorInfo("pooled", onnx.Float, onnx.Symbol("batch"), onnx.Fixed(4)))
	m, err := b.Model("network", onnx.Info{})
	if err != nil {
		return err
	}
	return onnx.WriteFile(path, m)
}

func writePicture(path string, rgb []string) error {
	m := augment.NewImage(10, 10)
	for c, text := range rgb {
		v, err := strconv.ParseUint(text, 10, 8)
		if err != nil {
			return err
		}
		for i := c; i < len(m.Pix); i += 3 {
			m.Pix[i] = uint8(v)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return m.WritePNG(path)
}
