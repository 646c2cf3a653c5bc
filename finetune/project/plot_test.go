package project

import (
	"bytes"
	"image/png"
	"math"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment"
)

// pixels counts the pixels of each colour of a picture.
func pixels(t *testing.T, m *Picture) map[[3]uint8]int {
	t.Helper()
	var b bytes.Buffer
	if err := m.WritePNG(&b); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	count := map[[3]uint8]int{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			count[[3]uint8{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8)}]++
		}
	}
	return count
}

func TestPictureColours(t *testing.T) {
	m := &Picture{Y: []float64{0, 0, 1, 1, 2, 0}, Group: []int{0, 1, -1}, Names: []string{"cat", "a dog of a very long name indeed"}}
	count := pixels(t, m)
	for k := range 2 {
		c := distinct[k]
		if n := count[[3]uint8{c.R, c.G, c.B}]; n < 30 {
			t.Errorf("group %d: %d pixels of its colour, want a dot on the map and one in the legend", k, n)
		}
	}
	if n := count[[3]uint8{0xbb, 0xbb, 0xbb}]; n < 15 {
		t.Errorf("%d grey pixels, want a dot without a group", n)
	}
	green := augment.NewImage(4, 2)
	for i := 1; i < len(green.Pix); i += 3 {
		green.Pix[i] = 255
	}
	m.Thumbnail = func(i int) *augment.Image {
		if i == 0 {
			return green
		}
		return nil
	}
	if n := pixels(t, m)[[3]uint8{0, 255, 0}]; n < 100 {
		t.Errorf("%d green pixels, want a thumbnail", n)
	}
}

// Points in one place, a line, many groups: all can be drawn.
func TestPictureDegenerate(t *testing.T) {
	many := &Picture{Y: make([]float64, 2*60)}
	for i := range 60 {
		many.Y[2*i], many.Group, many.Names = float64(i), append(many.Group, i), append(many.Names, "x")
	}
	for _, m := range []*Picture{{Y: []float64{3, 3}}, {Y: []float64{1e30, 5, 1e30, 5}}, many} {
		pixels(t, m)
	}
	for want, m := range map[string]*Picture{
		"0 points":   {},
		"at NaN":     {Y: []float64{math.NaN(), 0}},
		"at +Inf":    {Y: []float64{0, math.Inf(1)}},
		"2 groups":   {Y: []float64{0, 0}, Group: []int{1, 2}},
		"point 1 is": {Y: []float64{0, 0, 1e300, 0}},
	} {
		if err := m.WritePNG(&bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
