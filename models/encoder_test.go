package models_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// TestEncodersKeepBatchOpen: what is written for 2 and for 3 images is one file.
func TestEncodersKeepBatchOpen(t *testing.T) {
	for _, name := range append(models.EncoderNames(), "cnn-4-8") {
		net, err := models.NewEncoder(name, models.EncoderOptions{ImageSize: 32, Width: 1. / 32})
		if err != nil {
			t.Fatal(err)
		}
		files := map[int][]byte{}
		for _, n := range []int{2, 3} {
			g := op.NewGraph()
			x := g.Input("x", op.Float32, op.Batched(n, 3, 32, 32))
			h := net.Forward(models.NewScope(models.NewParams(g), false), x)
			if h == nil || !slices.Equal(h.Dims, []int{n, net.Size()}) || h.Batch != 0 {
				t.Fatalf("%s: got %v, want [N=%d, %d]: %v", name, h, n, net.Size(), g.Err())
			}
			m, err := export.Lower([]export.Output{{Name: "h", Node: h}}, export.Options{DynamicBatch: true})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if files[n], err = m.Marshal(); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(files[2], files[3]) {
			t.Errorf("%s: the files for 2 and 3 images differ", name)
		}
	}
}

func TestEncoderErrors(t *testing.T) {
	for want, f := range map[string]func() (models.Encoder, error){
		"unknown encoder \"vgg\": choose cnn,": func() (models.Encoder, error) { return models.NewEncoder("vgg", models.EncoderOptions{}) },
		"resnet18, resnet20, resnet32":         func() (models.Encoder, error) { return models.NewEncoder("", models.EncoderOptions{}) },
		"want more than 0": func() (models.Encoder, error) {
			return models.NewEncoder("vit_tiny", models.EncoderOptions{Width: -1})
		},
		"the patch of vit_tiny is -4": func() (models.Encoder, error) {
			return models.NewEncoder("vit_tiny", models.EncoderOptions{Patch: -4})
		},
		"do not split into patches of 5": func() (models.Encoder, error) {
			return models.NewEncoder("vit_tiny", models.EncoderOptions{Patch: 5})
		},
		"\"0\" is no number of channels":    func() (models.Encoder, error) { return models.NewEncoder("cnn-4-0", models.EncoderOptions{}) },
		"\"\" is no number of channels":     func() (models.Encoder, error) { return models.NewEncoder("cnn-", models.EncoderOptions{}) },
		"encoder cnn has no stem to choose": func() (models.Encoder, error) { return models.NewEncoder("cnn", models.EncoderOptions{Stem: "cifar"}) },
	} {
		if _, err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got the error %v, want one with %q", err, want)
		}
	}
}

func TestWrongNetworks(t *testing.T) {
	for want, net := range map[string]models.Encoder{
		"does not split into 5 heads":       models.ViT{Patch: 4, Width: 12, Depth: 1, Heads: 5},
		"do not split into patches of 6":    models.ViT{Patch: 6, Width: 12, Depth: 1, Heads: 2},
		"without a class token":             models.ViT{Patch: 4, Width: 12, Depth: 1, Heads: 2, NoClassToken: true},
		"unknown pooling \"max\"":           models.ViT{Patch: 4, Width: 12, Depth: 1, Heads: 2, Pool: "max"},
		"cannot drop channels":              models.ResNet{Blocks: []int{1, 1}, Widths: []int{8, 4}, Stem: models.StemCIFAR, Shortcut: models.ShortcutPad},
		"unknown kind of layer \"dropout\"": models.Plain{Layers: []models.Layer{{Kind: "dropout"}}},
		"want maps [N, C, H, W], a kernel":  models.Plain{Layers: []models.Layer{{Kind: models.LayerConv}}},
		"layer fc.linear: 0 features":       models.Plain{Layers: []models.Layer{{Kind: models.LayerLinear, Name: "fc"}}},
	} {
		g := op.NewGraph()
		h := net.Forward(models.NewScope(models.NewParams(g), false), g.Input("x", op.Float32, op.Batched(2, 3, 8, 8)))
		if h != nil || g.Err() == nil || !strings.Contains(g.Err().Error(), want) {
			t.Errorf("got %v, error %v, want one with %q", h, g.Err(), want)
		}
	}
}

func TestFitPositions(t *testing.T) {
	grid := func(tokens, d int) *tensor.Dense {
		return engine.NewTensor(fill("positions", 1, tokens, d), 1, tokens, d)
	}
	for _, c := range []struct {
		x      *tensor.Dense
		tokens int
		ok     bool
	}{
		{grid(17, 6), 37, true}, // 4x4 and 6x6 behind a class token
		{grid(16, 6), 36, true}, // the same without
		{grid(17, 6), 36, false},
		{grid(7, 6), 17, false}, // 6 are no square
		{engine.NewTensor(make([]float32, 16*6), 16, 6), 36, false},
		{engine.NewTensor(make([]int64, 16*6), 1, 16, 6), 36, false},
	} {
		y, ok := models.FitPositions(c.x, c.tokens)
		if ok != c.ok || ok && !slices.Equal([]int(y.Shape()), []int{1, c.tokens, 6}) {
			t.Errorf("%v to %d tokens: got %v, %t", c.x.Shape(), c.tokens, y, ok)
		}
	}
	x := grid(17, 6)
	if y, _ := models.FitPositions(x, 37); !slices.Equal(y.Float32s()[:6], x.Float32s()[:6]) {
		t.Error("the class token's position has changed")
	}
}

// A vision transformer for images of 32 pixels.
func ExampleNewEncoder() {
	net, err := models.NewEncoder("vit_tiny", models.EncoderOptions{ImageSize: 32, Patch: 4})
	if err != nil {
		panic(err)
	}
	g := op.NewGraph()
	params := models.NewParams(g)
	h := net.Forward(models.NewScope(params, false), g.Input("image", op.Float32, op.Batched(2, 3, 32, 32)))
	fmt.Println(h.Shape, params.Specs()[0].Name, params.Specs()[0].Node.Shape)
	// Output: [N=2, 192] patch_embed.proj.weight [192, 3, 4, 4]
}

// A network for digits as many tutorials have it.
func ExamplePlain() {
	net := models.Plain{
		Layers: []models.Layer{
			{Kind: models.LayerConv, Name: "conv1", Out: 8, Kernel: 3},
			{Kind: models.LayerActivation},
			{Kind: models.LayerMaxPool, Kernel: 2},
			{Kind: models.LayerLinear, Name: "fc1", Out: 32},
		},
		Image: models.Map{Channels: 1, Height: 28, Width: 28},
	}
	g := op.NewGraph()
	params := models.NewParams(g)
	net.Forward(models.NewScope(params, false), g.Input("image", op.Float32, op.Batched(2, 1, 28, 28)))
	for _, s := range params.Specs() {
		fmt.Println(s.Name, s.Node.Shape)
	}
	// Output:
	// conv1.weight [8, 1, 3, 3]
	// conv1.bias [8]
	// fc1.weight [32, 1352]
	// fc1.bias [32]
}
