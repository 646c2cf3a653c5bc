package probe

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/sslrt/sslrt/finetune/metrics"
)

// numbered is the largest number of classes whose counts are written into the cells.
const numbered = 25

// DrawConfusion draws a confusion matrix: a row for each true class, a column for each
// predicted one, darker where a larger share of the row is.
func DrawConfusion(c *metrics.Confusion, classes []string) (image.Image, error) {
	if len(classes) != c.Classes {
		return nil, fmt.Errorf("probe: %d names for a confusion matrix of %d classes", len(classes), c.Classes)
	}
	p := plot.New()
	p.Title.Text = "confusion matrix: share of each true class"
	p.X.Label.Text, p.Y.Label.Text = "predicted", "true"
	p.Add(cells{c})
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = -0.5, float64(c.Classes)-0.5, -0.5, float64(c.Classes)-0.5
	p.X.Padding, p.Y.Padding = 0, 0
	p.X.Tick.Length, p.Y.Tick.Length = 8, 0 // room for names that are turned
	p.X.Tick.LineStyle.Color = color.Transparent
	var x, y plot.ConstantTicks
	for k, name := range classes {
		x = append(x, plot.Tick{Value: float64(k), Label: name})
		y = append(y, plot.Tick{Value: float64(c.Classes - 1 - k), Label: name})
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = x, y
	for _, name := range classes {
		if len(name) > 3 { // does not fit below its column
			p.X.Tick.Label.Rotation = math.Pi / 2
			p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = draw.XRight, draw.YCenter
		}
	}
	side := vg.Length(c.Classes)*0.45*vg.Inch + 2*vg.Inch
	if c.Classes > numbered {
		side = 12 * vg.Inch
	}
	canvas := vgimg.New(side, side)
	p.Draw(draw.New(canvas))
	return canvas.Image(), nil
}

// cells draws the counts.
type cells struct{ *metrics.Confusion }

func (c cells) Plot(canvas draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&canvas)
	for t, r := range c.PerClass() {
		for k := range c.Classes {
			n := c.Counts[t*c.Classes+k]
			share := 0.0
			if r.Support > 0 {
				share = float64(n) / float64(r.Support)
			}
			at := plotter.XY{X: float64(k), Y: float64(c.Classes - 1 - t)}
			box := []vg.Point{
				{X: x(at.X - 0.5), Y: y(at.Y - 0.5)}, {X: x(at.X + 0.5), Y: y(at.Y - 0.5)},
				{X: x(at.X + 0.5), Y: y(at.Y + 0.5)}, {X: x(at.X - 0.5), Y: y(at.Y + 0.5)},
			}
			fade := func(to uint8) uint8 { return uint8(255 - share*float64(255-to) + 0.5) }
			canvas.FillPolygon(color.RGBA{fade(8), fade(48), fade(107), 255}, box)
			if c.Classes > numbered || n == 0 {
				continue
			}
			style := p.X.Tick.Label
			style.Rotation, style.XAlign, style.YAlign = 0, draw.XCenter, draw.YCenter
			if share > 0.5 {
				style.Color = color.White
			}
			canvas.FillText(style, vg.Point{X: x(at.X), Y: y(at.Y)}, strconv.Itoa(n))
		}
	}
}
