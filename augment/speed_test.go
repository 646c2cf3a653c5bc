package augment

import (
	"context"
	"slices"
	"testing"
)

// fewImages is a source of one picture, several times.
type fewImages struct {
	n int
	m *Image
}

func (s fewImages) Len() int                  { return s.n }
func (fewImages) Name(int) string             { return "" }
func (fewImages) Label(int) int               { return -1 }
func (fewImages) Classes() []string           { return nil }
func (fewImages) Close() error                { return nil }
func (s fewImages) Image(int) (*Image, error) { return s.m, nil }

func TestMeasureViews(t *testing.T) {
	src := fewImages{3, benchPhoto(20, 30)}
	before := slices.Clone(src.m.Pix)
	names := func(stages []Stage) []string {
		var out []string
		for _, s := range stages {
			out = append(out, s.Name)
		}
		return out
	}
	for _, c := range []struct {
		views Views
		want  []string
	}{
		{Alike(2, SimCLR(16)), []string{"decode", "RandomResizedCrop", "RandomHorizontalFlip", "ColorJitter", "RandomGrayscale", "tensor"}},
		{Views{{}}, []string{"decode", "resize", "tensor"}},
		{Views{{Size: 8, Policy: Policy{flip, Resized{Size: Size{8, 8}}}}}, []string{"decode", "RandomHorizontalFlip", "Resized", "tensor"}},
	} {
		seconds, stages, err := MeasureViews(context.Background(), src, c.views, EvalPreprocess(16), 3, 2)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(stages); !slices.Equal(got, c.want) || !(seconds > 0) {
			t.Errorf("got %g s, %v, want %v", seconds, got, c.want)
		}
	}
	if !slices.Equal(src.m.Pix, before) {
		t.Error("the source's picture was changed")
	}
	if _, _, err := MeasureViews(context.Background(), src, Views{{}}, EvalPreprocess(16), 4, 1); err == nil {
		t.Error("4 of 3 images: got no error")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := MeasureViews(ctx, src, Views{{}}, EvalPreprocess(16), 1, 1); err == nil {
		t.Error("a cancelled context: got no error")
	}
}
