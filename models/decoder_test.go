package models_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/op"
)

// plainEncoder shows no stages.
type plainEncoder struct{}

func (plainEncoder) Size() int { return 12 }
func (plainEncoder) Forward(s models.Scope, x *op.Node) *op.Node {
	return models.Linear(s, op.Flatten(x), 12, true)
}

func residual(t *testing.T, stem models.Stem) models.Encoder {
	t.Helper()
	r, err := models.NewResNet("resnet18", stem, 0.125)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDecoderMirrors(t *testing.T) {
	for _, c := range []struct {
		name    string
		encoder models.Encoder
		image   models.Map
		maps    string // channels@height
	}{
		{"conv 28", models.NewConvEncoder(28, 1), models.Map{Channels: 1, Height: 28, Width: 28}, "64@7 32@14"},
		{"conv 33", models.NewConvEncoder(33, 0.25), models.Map{Channels: 3, Height: 33, Width: 33}, "16@9 8@17"},
		{"cifar 28", residual(t, models.StemCIFAR), models.Map{Channels: 3, Height: 28, Width: 28}, "64@4 32@7 16@14 8@28"},
		{"cifar 37", residual(t, models.StemCIFAR), models.Map{Channels: 3, Height: 37, Width: 37}, "64@5 32@10 16@19 8@37"},
		{"imagenet 128", residual(t, models.StemImageNet), models.Map{Channels: 3, Height: 128, Width: 128}, "64@4 32@8 16@16 8@32 8@64"},
		{"no stages", plainEncoder{}, models.Map{Channels: 3, Height: 40, Width: 40}, "256@5 128@10 64@20 32@40"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := models.MirrorOf(c.encoder, c.image)
			if err != nil {
				t.Fatal(err)
			}
			var maps []string
			for _, m := range d.Maps {
				maps = append(maps, fmt.Sprintf("%d@%d", m.Channels, m.Height))
			}
			if got := strings.Join(maps, " "); got != c.maps {
				t.Errorf("maps %s, want %s", got, c.maps)
			}
			files := map[int][]byte{}
			for _, n := range []int{2, 3} {
				p := models.NewParams(op.NewGraph())
				s := models.NewScope(p, false)
				x := p.Graph.Input("x", op.Float32, op.Batched(n, c.image.Channels, c.image.Height, c.image.Width))
				h := c.encoder.Forward(s.Sub("encoder"), x)
				y := d.Forward(s.Sub("decoder"), h)
				if err := p.Graph.Err(); err != nil {
					t.Fatal(err)
				}
				if want := []int{n, c.encoder.Size()}; !slices.Equal(h.Dims, want) {
					t.Errorf("embedding %v, want %v", h.Dims, want)
				}
				if !y.Shape.Equal(x.Shape) {
					t.Errorf("image %v becomes %v", x.Shape, y.Shape)
				}
				m, err := export.Lower([]export.Output{{Name: "y", Node: y}}, export.Options{DynamicBatch: true})
				if err != nil {
					t.Fatal(err)
				}
				if files[n], err = m.Marshal(); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(files[2], files[3]) {
				t.Error("the files for 2 and 3 images differ")
			}
		})
	}
}

// TestDecoderNames: those of a PyTorch Sequential.
func TestDecoderNames(t *testing.T) {
	names := func(e models.Encoder, image models.Map) []string {
		d, err := models.MirrorOf(e, image)
		if err != nil {
			t.Fatal(err)
		}
		p := models.NewParams(op.NewGraph())
		d.Forward(models.NewScope(p, true), p.Graph.Input("z", op.Float32, op.Batched(2, e.Size())))
		if err := p.Graph.Err(); err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, s := range p.Specs() {
			out = append(out, fmt.Sprint(s.Name, s.Node.Dims))
		}
		return out
	}
	want := []string{"0.weight[16 8 3 3]", "0.bias[8]", "2.weight[8 3 3 3]", "2.bias[3]"}
	if got := names(models.NewConvEncoder(16, 0.25), models.Map{Channels: 3, Height: 16, Width: 16}); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	norm := func(part, c int) []string {
		var out []string
		for _, name := range []string{"weight", "bias", "running_mean", "running_var"} {
			out = append(out, fmt.Sprintf("%d.%s[%d]", part, name, c))
		}
		return out
	}
	want = slices.Concat([]string{"0.weight[256 64]"}, norm(2, 64), []string{"4.weight[64 32 3 3]"}, norm(5, 32),
		[]string{"7.weight[32 16 3 3]"}, norm(8, 16), []string{"10.weight[16 8 3 3]"}, norm(11, 8), []string{"13.weight[1 8 3 3]", "13.bias[1]"})
	if got := names(residual(t, models.StemCIFAR), models.Map{Channels: 1, Height: 16, Width: 16}); !slices.Equal(got, want) {
		t.Errorf("got %v,\nwant %v", got, want)
	}
}

func TestDecoderRefusesOtherCodes(t *testing.T) {
	d, err := models.MirrorOf(models.NewConvEncoder(16, 0.25), models.Map{Channels: 3, Height: 16, Width: 16})
	if err != nil {
		t.Fatal(err)
	}
	p := models.NewParams(op.NewGraph())
	d.Forward(models.NewScope(p, true), p.Graph.Input("z", op.Float32, op.Batched(2, 255)))
	if err := p.Graph.Err(); err == nil || !strings.Contains(err.Error(), "[N, 256]") {
		t.Errorf("want an error that names [N, 256], got %v", err)
	}
}
