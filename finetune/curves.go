package finetune

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// curveOrder is what stands first in a picture of curves; others follow by name.
var curveOrder = []string{"loss", "alignment", "uniformity", "knn"}

// maxEpoch keeps a damaged file from asking for more than an axis can show.
const maxEpoch = 1_000_000_000

// Size of one plot in the picture of curves; vgimg draws 96 pixels an inch.
const (
	curveWidth  = 4.5 * vg.Inch
	curveHeight = 3 * vg.Inch
	curveGap    = 0.25 * vg.Inch
)

// PlotMetrics draws each of the run's metrics over its epochs, as curves.png in the
// run directory. Of an epoch that was recorded twice, by a run that was killed and
// resumed, the last counts. A run without metrics gets no picture.
func (r *Run) PlotMetrics() error {
	lines, err := r.readMetrics()
	if err != nil {
		return err
	}
	curves, err := metricCurves(lines)
	if err == nil && len(curves) > 0 {
		var picture []byte
		if picture, err = drawCurves(curves); err == nil {
			err = writeFile(r.path(fileCurves), picture)
		}
	}
	if err != nil {
		return fmt.Errorf("finetune: plot metrics %s: %w", r.path(fileMetrics), err)
	}
	return nil
}

// curve is a metric over epochs.
type curve struct {
	name   string
	points plotter.XYs
}

// metricCurves gathers the values of each metric, in the order of the epochs.
func metricCurves(lines []map[string]float64) ([]curve, error) {
	epochs := map[float64]map[string]float64{}
	names := map[string]bool{}
	for i, line := range lines {
		epoch, ok := line["epoch"]
		if !ok {
			return nil, fmt.Errorf("entry %d has no epoch", i+1)
		}
		if epoch < 0 || epoch > maxEpoch || epoch != math.Trunc(epoch) {
			return nil, fmt.Errorf("entry %d is of epoch %g, want a whole number up to %d", i+1, epoch, maxEpoch)
		}
		epochs[epoch] = line
	}
	for _, line := range epochs {
		for name := range line {
			names[name] = true
		}
	}
	delete(names, "epoch")
	delete(names, "step")
	var curves []curve
	for _, name := range slices.SortedFunc(maps.Keys(names), compareCurves) {
		c := curve{name: name}
		for _, epoch := range slices.Sorted(maps.Keys(epochs)) {
			if v, ok := epochs[epoch][name]; ok {
				if math.Abs(v) > math.MaxFloat32 {
					return nil, fmt.Errorf("%s is %g in epoch %g, more than a float32 holds", name, v, epoch)
				}
				c.points = append(c.points, plotter.XY{X: epoch, Y: v})
			}
		}
		curves = append(curves, c)
	}
	return curves, nil
}

// compareCurves orders metrics by curveOrder, then by name.
func compareCurves(a, b string) int {
	rank := func(name string) int {
		if i := slices.Index(curveOrder, name); i >= 0 {
			return i
		}
		return len(curveOrder)
	}
	return cmp.Or(rank(a)-rank(b), strings.Compare(a, b))
}

// drawCurves returns a PNG with a plot for each curve, side by side.
func drawCurves(curves []curve) ([]byte, error) {
	cols := min(2, len(curves))
	if len(curves) > 4 {
		cols = 3
	}
	rows := (len(curves) + cols - 1) / cols
	plots := make([][]*plot.Plot, rows)
	for i := range plots {
		plots[i] = make([]*plot.Plot, cols)
	}
	for i, c := range curves {
		p, err := plotCurve(c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		plots[i/cols][i%cols] = p
	}
	canvas := vgimg.New(vg.Length(cols)*curveWidth, vg.Length(rows)*curveHeight)
	tiles := draw.Tiles{Rows: rows, Cols: cols, PadX: curveGap, PadY: curveGap,
		PadTop: curveGap, PadBottom: curveGap, PadLeft: curveGap, PadRight: curveGap}
	for i, row := range plot.Align(plots, tiles, draw.New(canvas)) {
		for k, at := range row {
			if plots[i][k] != nil {
				plots[i][k].Draw(at)
			}
		}
	}
	var b bytes.Buffer
	_, err := vgimg.PngCanvas{Canvas: canvas}.WriteTo(&b)
	return b.Bytes(), err
}

func plotCurve(c curve) (*plot.Plot, error) {
	line, points, err := plotter.NewLinePoints(c.points)
	if err != nil {
		return nil, err
	}
	blue := color.RGBA{R: 0x1f, G: 0x5f, B: 0xa8, A: 0xff}
	line.Color, line.Width = blue, vg.Points(1.5)
	points.Color, points.Shape, points.Radius = blue, draw.CircleGlyph{}, vg.Points(2)
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{Y: 0xdd}, color.Gray{Y: 0xdd}

	p := plot.New()
	p.Title.Text, p.X.Label.Text = c.name, "epoch"
	p.Title.Padding = vg.Points(4)
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(epochTicks), plot.TickerFunc(valueTicks)
	p.Add(grid, line)
	if len(c.points) <= 50 { // more would hide the line
		p.Add(points)
	}
	p.X.Min, p.X.Max = widen(p.X.Min, p.X.Max, 0.5)
	p.Y.Min, p.Y.Max = widen(p.Y.Min, p.Y.Max, 0.1)
	return p, nil
}

// widen makes a range that an axis can show out of one that holds a single value.
func widen(lo, hi, by float64) (float64, float64) {
	size := max(math.Abs(lo), math.Abs(hi))
	if hi-lo > max(1e-6*size, 1e-30) {
		return lo, hi
	}
	by = max(by, 0.01*size)
	return lo - by, hi + by
}

// epochTicks puts ticks at whole numbers.
func epochTicks(lo, hi float64) []plot.Tick { return ticks(lo, hi, 1) }

// valueTicks replaces plot.DefaultTicks, which rounds its labels: of ticks at 4.55
// and 4.8 it writes the first as 4.5.
func valueTicks(lo, hi float64) []plot.Tick { return ticks(lo, hi, 0) }

// ticks puts up to seven ticks at multiples of 1, 2 or 5 times a power of ten, which
// is at least smallest, and labels them with the digits that these need.
func ticks(lo, hi, smallest float64) []plot.Tick {
	raw := max((hi-lo)/6, smallest)
	power := int(math.Floor(math.Log10(raw)))
	factor := 1.0
	for _, f := range []float64{2, 5, 10} {
		if factor*math.Pow10(power) < raw {
			factor = f
		}
	}
	if factor == 10 {
		factor, power = 1, power+1
	}
	step := factor * math.Pow10(power)
	var all []plot.Tick
	for i := math.Ceil(lo / step); i*step <= hi; i++ {
		all = append(all, plot.Tick{Value: i * step, Label: tickLabel(i*step, power)})
	}
	return all
}

// tickLabel writes a multiple of 10^power.
func tickLabel(x float64, power int) string {
	if power >= -4 && power <= 5 {
		return strconv.FormatFloat(x, 'f', max(0, -power), 64)
	}
	if x == 0 {
		return "0"
	}
	digits := int(math.Floor(math.Log10(math.Abs(x)))) - power
	return strconv.FormatFloat(x, 'e', max(0, digits), 64)
}
