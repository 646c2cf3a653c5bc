package project

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"math/rand/v2"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/sslrt/sslrt/augment"
)

// Picture is a map to be drawn.
type Picture struct {
	Title, XLabel, YLabel string
	Y                     []float64 // [N, 2], finite
	Group                 []int     // [N], index into Names, -1 for none (grey); nil: all alike
	Names                 []string  // of the groups, for the legend
	// Thumbnail, if set, gives the image of a point, nil for none. Points get theirs
	// where there is room, framed in the colour of the group; the others are dots.
	Thumbnail func(i int) *augment.Image
}

// Size of the picture; vgimg draws 96 pixels an inch.
const (
	pictureWidth  = 12 * vg.Inch
	pictureHeight = 9 * vg.Inch
	legendWidth   = 2.2 * vg.Inch
	margin        = 0.2 * vg.Inch
	thumbSide     = 0.34 * vg.Inch
	maxLegend     = 40 // names that fit
)

// WritePNG draws the map.
func (m *Picture) WritePNG(w io.Writer) error {
	n := len(m.Y) / 2
	if n == 0 || m.Group != nil && len(m.Group) != n {
		return fmt.Errorf("project: plot: got %d points, %d groups", n, len(m.Group))
	}
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = m.Title, m.XLabel, m.YLabel
	p.Title.Padding = vg.Points(6)
	lo, hi := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	for i, v := range m.Y {
		if math.IsNaN(v) || math.Abs(v) > math.MaxFloat32 {
			return fmt.Errorf("project: plot: point %d is at %g", i/2, v)
		}
		lo[i%2], hi[i%2] = min(lo[i%2], v), max(hi[i%2], v)
	}
	for k := range lo { // room at the edges, and for points that all lie in one place
		room := max(0.04*(hi[k]-lo[k]), 1e-6*math.Abs(hi[k]), 1e-12)
		lo[k], hi[k] = lo[k]-room, hi[k]+room
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = lo[0], hi[0], lo[1], hi[1]
	p.Add(points{m})

	canvas := vgimg.New(pictureWidth, pictureHeight)
	all := draw.Crop(draw.New(canvas), margin, -margin, margin, -margin)
	if len(m.Names) == 0 || len(m.Names) > maxLegend {
		p.Draw(all)
	} else {
		p.Draw(draw.Crop(all, 0, -legendWidth, 0, 0))
		legend := plot.NewLegend()
		legend.Top, legend.Left = true, true
		legend.Padding = vg.Points(3)
		for k, name := range m.Names {
			legend.Add(shorten(name), dot{groupColor(k, len(m.Names))})
		}
		legend.Draw(draw.Crop(all, all.Size().X-legendWidth+margin, 0, 0, 0))
	}
	_, err := vgimg.PngCanvas{Canvas: canvas}.WriteTo(w)
	return err
}

// shorten keeps a name inside the legend.
func shorten(name string) string {
	const most = 24
	if r := []rune(name); len(r) > most {
		return string(r[:most-3]) + "..."
	}
	return name
}

// points draws dots and thumbnails.
type points struct{ m *Picture }

// Plot implements plot.Plotter: dots, and thumbnails over them.
func (p points) Plot(c draw.Canvas, on *plot.Plot) {
	x, y := on.Transforms(&c)
	n := len(p.m.Y) / 2
	radius := vg.Points(min(4, max(1.2, 120/math.Sqrt(float64(n)))))
	at := func(i int) vg.Point { return vg.Point{X: x(p.m.Y[2*i]), Y: y(p.m.Y[2*i+1])} }
	// In a random order, so that no group lies on top of the others.
	order := rand.New(rand.NewPCG(1, 1)).Perm(n)
	for _, i := range order {
		c.DrawGlyph(draw.GlyphStyle{Color: p.m.color(i), Radius: radius, Shape: draw.CircleGlyph{}}, at(i))
	}
	if p.m.Thumbnail == nil {
		return
	}
	taken := map[[2]int]bool{}
	for _, i := range order {
		p.thumbnail(c, i, at(i), taken)
	}
}

// thumbnail draws the image of a point unless one is too near.
func (p points) thumbnail(c draw.Canvas, i int, at vg.Point, taken map[[2]int]bool) {
	cell := [2]int{int(math.Floor(float64(at.X / thumbSide))), int(math.Floor(float64(at.Y / thumbSide)))}
	if taken[cell] {
		return
	}
	image := p.m.Thumbnail(i)
	if image == nil {
		return
	}
	taken[cell] = true
	// In the middle of its cell, so that neighbours do not overlap.
	at = vg.Point{X: (vg.Length(cell[0]) + 0.5) * thumbSide, Y: (vg.Length(cell[1]) + 0.5) * thumbSide}
	half := 0.46 * thumbSide
	frame := vg.Rectangle{Min: vg.Point{X: at.X - half, Y: at.Y - half}, Max: vg.Point{X: at.X + half, Y: at.Y + half}}
	c.SetColor(p.m.color(i))
	c.Fill(frame.Path())
	w, h := half-vg.Points(1.5), half-vg.Points(1.5)
	if image.W > image.H {
		h *= vg.Length(float64(image.H) / float64(image.W))
	} else {
		w *= vg.Length(float64(image.W) / float64(image.H))
	}
	c.DrawImage(vg.Rectangle{Min: vg.Point{X: at.X - w, Y: at.Y - h}, Max: vg.Point{X: at.X + w, Y: at.Y + h}}, image.ToImage())
}

func (m *Picture) color(i int) color.Color {
	if m.Group == nil {
		return groupColor(0, 1)
	}
	if m.Group[i] < 0 {
		return color.Gray{Y: 0xbb}
	}
	return groupColor(m.Group[i], len(m.Names))
}

// distinct are colours that are told apart easily, for few groups.
var distinct = []color.RGBA{
	{0x1f, 0x77, 0xb4, 0xff}, {0xff, 0x7f, 0x0e, 0xff}, {0x2c, 0xa0, 0x2c, 0xff}, {0xd6, 0x27, 0x28, 0xff},
	{0x94, 0x67, 0xbd, 0xff}, {0x8c, 0x56, 0x4b, 0xff}, {0xe3, 0x77, 0xc2, 0xff}, {0x55, 0x55, 0x55, 0xff},
	{0xbc, 0xbd, 0x22, 0xff}, {0x17, 0xbe, 0xcf, 0xff}, {0x00, 0x3f, 0x5c, 0xff}, {0xff, 0xb3, 0x00, 0xff},
}

// groupColor is the colour of group k of n.
func groupColor(k, n int) color.Color {
	if n <= len(distinct) {
		return distinct[k]
	}
	// Around the circle of hues, light and dark in turn.
	h, v := 6*float64(k)/float64(n), 0.9-0.3*float64(k%2)
	channel := func(shift float64) uint8 {
		t := math.Mod(h+shift, 6)
		return uint8(255 * v * (1 - 0.85*max(0, min(t, 4-t, 1))))
	}
	return color.RGBA{channel(5), channel(3), channel(1), 0xff}
}

// dot is the sign of a group in the legend.
type dot struct{ color color.Color }

// Thumbnail implements plot.Thumbnailer.
func (d dot) Thumbnail(c *draw.Canvas) {
	c.DrawGlyph(draw.GlyphStyle{Color: d.color, Radius: vg.Points(4), Shape: draw.CircleGlyph{}}, c.Center())
}
