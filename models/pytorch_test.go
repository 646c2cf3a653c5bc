package models_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// reference is what testdata/pytorch/encoders.py wrote: torchvision's and timm's
// numbers.
type reference struct {
	Names map[string]struct {
		Tensors int
		SHA256  string
	}
	Features  map[string][][]float64 // the first and last 8 of each of two rows
	Positions []struct {
		From, To [2]int
		Values   []float64
	}
}

func readReference(t *testing.T) reference {
	t.Helper()
	data, err := os.ReadFile("testdata/encoders.json")
	if err != nil {
		t.Fatal(err)
	}
	var r reference
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// fill gives a tensor the values that the script gives it: a wave whose phase is
// the name's checksum.
func fill(name string, sizes ...int) []float32 {
	n := op.Dims(sizes...).Size()
	phase := float64(crc32.ChecksumIEEE([]byte(name)) % 1000)
	out := make([]float32, n)
	for i := range out {
		v := math.Sin(phase + 0.7*float64(i))
		switch {
		case len(sizes) > 1:
			v = v * 1.4 / math.Sqrt(float64(n/sizes[0]))
		case strings.HasSuffix(name, "running_var"):
			v = 1 + 0.5*v
		case strings.HasSuffix(name, "weight"):
			v = 1 + 0.3*v
		default:
			v *= 0.1
		}
		out[i] = float32(v)
	}
	return out
}

// TestNamesMatchPyTorch: the same names and shapes as the original's state dict.
func TestNamesMatchPyTorch(t *testing.T) {
	for name, want := range readReference(t).Names {
		t.Run(name, func(t *testing.T) {
			net, err := models.NewEncoder(name, models.EncoderOptions{})
			if err != nil {
				t.Fatal(err)
			}
			g := op.NewGraph()
			params := models.NewParams(g)
			h := net.Forward(models.NewScope(params, false), g.Input("x", op.Float32, op.Batched(2, 3, 224, 224)))
			if g.Err() != nil {
				t.Fatal(g.Err())
			}
			if !slices.Equal(h.Dims, []int{2, net.Size()}) {
				t.Errorf("embeddings are %v, Size says %d", h.Dims, net.Size())
			}
			var lines []string
			for _, s := range params.Specs() {
				sizes := make([]string, len(s.Node.Dims))
				for i, d := range s.Node.Dims {
					sizes[i] = fmt.Sprint(d)
				}
				lines = append(lines, s.Name+" "+strings.Join(sizes, "x"))
			}
			slices.Sort(lines)
			sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
			if len(lines) != want.Tensors || hex.EncodeToString(sum[:]) != want.SHA256 {
				t.Errorf("%d tensors, PyTorch has %d; the digests of names and shapes differ; ours:\n%s",
					len(lines), want.Tensors, strings.Join(lines, "\n"))
			}
		})
	}
}

// TestFeaturesMatchPyTorch compares small networks, one for each way to be built.
func TestFeaturesMatchPyTorch(t *testing.T) {
	one := func(n models.ResNet) models.ResNet {
		n.Blocks = []int{1, 1, 1, 1}
		n.Widths = []int{64, 128, 256, 512}
		if n.Stem == (models.Stem{}) {
			n.Stem = models.StemImageNet
		}
		return n
	}
	named := func(name string, o models.EncoderOptions) models.Encoder {
		net, err := models.NewEncoder(name, o)
		if err != nil {
			t.Fatal(err)
		}
		return net
	}
	padding2 := models.StemCIFAR
	padding2.Pad = 2
	vit := models.ViT{Patch: 8, Width: 24, Depth: 2, Heads: 3}
	mean := vit
	mean.Pool = models.PoolMean
	behind, bare := mean, mean
	behind.NormAfterPool, bare.NoClassToken = true, true
	want := readReference(t).Features
	for name, c := range map[string]struct {
		net  models.Encoder
		size int
	}{
		"basic":             {one(models.ResNet{}), 64},
		"stem of padding 1": {one(models.ResNet{Stem: models.StemCIFAR}), 32},
		"stem of padding 2": {one(models.ResNet{Stem: padding2}), 32},
		"bottleneck":        {one(models.ResNet{Bottleneck: true}), 64},
		"bottleneck v1":     {one(models.ResNet{Bottleneck: true, StrideIn1x1: true}), 64},
		"wide":              {one(models.ResNet{Bottleneck: true, GroupWidth: 128}), 64},
		"groups":            {one(models.ResNet{Bottleneck: true, Groups: 8, GroupWidth: 4}), 64},
		"resnet20":          {named("resnet20", models.EncoderOptions{ImageSize: 32}), 32},
		"vit":               {vit, 32},
		"vit mean":          {mean, 32},
		"vit norm behind":   {behind, 32},
		"vit without token": {bare, 32},
	} {
		t.Run(name, func(t *testing.T) { compareFeatures(t, c.net, c.size, want[name]) })
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s: no network for it", name)
	}
}

func compareFeatures(t *testing.T, net models.Encoder, size int, want [][]float64) {
	t.Helper()
	g := op.NewGraph()
	params := models.NewParams(g)
	h := net.Forward(models.NewScope(params, false), g.Input("x", op.Float32, op.Batched(2, 3, size, size)))
	if g.Err() != nil {
		t.Fatal(g.Err())
	}
	state := engine.Tensors{}
	for _, s := range params.Specs() {
		state[s.Name] = engine.NewTensor(fill(s.Name, s.Node.Dims...), s.Node.Dims...)
	}
	x := fill("image", 2, 3, size, size)
	for i := range x {
		x[i] *= float32(math.Sqrt(float64(3 * size * size)))
	}
	p, err := engine.Go{}.Compile(engine.Function{Outputs: []export.Output{{Name: "h", Node: h}}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Load(state); err != nil {
		t.Fatal(err)
	}
	out, err := p.Run(context.Background(), engine.Tensors{"x": engine.NewTensor(x, 2, 3, size, size)})
	if err != nil {
		t.Fatal(err)
	}
	got := out["h"].Float32s()
	worst, largest := 0.0, 0.0
	for i, row := range want {
		mine := got[i*net.Size() : (i+1)*net.Size()]
		mine = slices.Concat(mine[:8], mine[len(mine)-8:])
		for j, v := range row {
			worst = max(worst, math.Abs(float64(mine[j])-v))
			largest = max(largest, math.Abs(v))
		}
	}
	if len(want) != 2 || !(worst <= 1e-5*largest) {
		t.Errorf("%d rows; features differ by %.3g, the largest is %.3g", len(want), worst, largest)
	}
}

// TestPositionsMatchPyTorch: position embeddings on another grid, as timm makes them
// with PyTorch's bicubic interpolation.
func TestPositionsMatchPyTorch(t *testing.T) {
	cases := readReference(t).Positions
	if len(cases) < 5 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		n := c.From[0] * c.From[1]
		token := []float32{7, -7}
		x := engine.NewTensor(slices.Concat(token, fill("positions", 1, n, 2)), 1, 1+n, 2)
		from := c.From
		if from[0] == from[1] {
			from = [2]int{} // found by the number of patches
		}
		y, err := models.ResizePositions(x, from, c.To, 1)
		if err != nil {
			t.Fatal(err)
		}
		got := y.Float32s()
		if len(got) != 2+len(c.Values) || !slices.Equal(got[:2], token) {
			t.Fatalf("%v to %v: got %v", c.From, c.To, got)
		}
		for i, want := range c.Values {
			if d := math.Abs(float64(got[2+i]) - want); !(d <= 1e-6) {
				t.Errorf("%v to %v: value %d is %g, want %g", c.From, c.To, i, got[2+i], want)
			}
		}
	}
}

func TestPositionsErrors(t *testing.T) {
	x := engine.NewTensor(make([]float32, 2*7), 1, 7, 2)
	for want, f := range map[string]func() error{
		"6 patches are no grid of 2x2": func() error { _, err := models.ResizePositions(x, [2]int{}, [2]int{4, 4}, 1); return err },
		"no grid of 0x4":               func() error { _, err := models.ResizePositions(x, [2]int{2, 3}, [2]int{0, 4}, 1); return err },
		"want float32 [1, 7+h*w, D]":   func() error { _, err := models.ResizePositions(x, [2]int{}, [2]int{4, 4}, 7); return err },
		"want float32 [1, 1+h*w, D]": func() error {
			_, err := models.ResizePositions(engine.NewTensor(make([]int64, 8), 1, 4, 2), [2]int{}, [2]int{4, 4}, 1)
			return err
		},
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got the error %v, want one with %q", err, want)
		}
	}
}
