package augment

import (
	"fmt"
	"math"
	"strconv"
)

// FlipVertical mirrors m top to bottom, in place.
func (m *Image) FlipVertical() {
	n := m.W * 3
	for i, j := 0, m.H-1; i < j; i, j = i+1, j-1 {
		a, b := m.Pix[i*n:(i+1)*n], m.Pix[j*n:(j+1)*n]
		for k := range a {
			a[k], b[k] = b[k], a[k]
		}
	}
}

// Erase fills the box [x0,x1) x [y0,y1) with a colour, in place. The box must lie inside m.
func (m *Image) Erase(x0, y0, x1, y1 int, fill RGB) {
	m.checkBox(x0, y0, x1, y1)
	for y := y0; y < y1; y++ {
		fillPixels(m.Pix[(y*m.W+x0)*3:(y*m.W+x1)*3], fill)
	}
}

// RGB is a colour.
type RGB [3]uint8

func fillPixels(pix []uint8, c RGB) {
	for i := 0; i+2 < len(pix); i += 3 {
		pix[i], pix[i+1], pix[i+2] = c[0], c[1], c[2]
	}
}

// PadMode says what [Image.Pad] puts around an image.
type PadMode string

const (
	PadConstant  PadMode = "constant"  // one colour
	PadEdge      PadMode = "edge"      // the outermost pixel, repeated
	PadReflect   PadMode = "reflect"   // mirrored without repeating the outermost pixel
	PadSymmetric PadMode = "symmetric" // mirrored, the outermost pixel twice
)

// Pad returns m with pixels added on the four sides; a negative number takes pixels away. fill is the
// colour of PadConstant, any number of pixels may be added in any mode.
func (m *Image) Pad(left, top, right, bottom int, mode PadMode, fill RGB) *Image {
	out := NewImage(m.W+left+right, m.H+top+bottom)
	m.padInto(out, left, top, mode, fill)
	return out
}

func (m *Image) padInto(out *Image, left, top int, mode PadMode, fill RGB) {
	index := func(i, n int) int {
		switch mode {
		case PadEdge:
			return min(max(i, 0), n-1)
		case PadReflect:
			return mirror(i, n)
		case PadSymmetric:
			i %= 2 * n
			if i < 0 {
				i += 2 * n
			}
			return min(i, 2*n-1-i)
		}
		return i
	}
	for y := range out.H {
		row := out.Pix[y*out.W*3 : (y+1)*out.W*3]
		sy := index(y-top, m.H)
		if sy < 0 || sy >= m.H {
			fillPixels(row, fill)
			continue
		}
		src := m.Pix[sy*m.W*3 : (sy+1)*m.W*3]
		lo, hi := min(max(left, 0), out.W), min(max(left+m.W, 0), out.W)
		copy(row[lo*3:hi*3], src[(lo-left)*3:])
		for x := 0; x < out.W; x++ {
			if x == lo && hi > lo {
				if x = hi; x == out.W {
					break
				}
			}
			sx := index(x-left, m.W)
			if sx < 0 || sx >= m.W {
				fillPixels(row[x*3:x*3+3], fill)
				continue
			}
			copy(row[x*3:x*3+3], src[sx*3:])
		}
	}
}

// Rotation describes how [Image.Rotate] turns.
type Rotation struct {
	Angle         float64 // degrees, counter-clockwise
	Interpolation Filter  // Nearest, Bilinear or Bicubic
	Expand        bool    // make the result large enough for all of the image
	Center        []float64
	Fill          RGB // outside the image
}

// Rotate returns m turned about its centre, or about Center (x, y in pixels from the top left corner),
// value for value as Pillow's Image.rotate. Turns by quarters move pixels unchanged where the result's
// shape allows it.
func (m *Image) Rotate(o Rotation) *Image { return m.rotate(o, nil) }

func (m *Image) rotate(o Rotation, s *Scratch) *Image {
	angle := math.Mod(o.Angle, 360)
	if angle < 0 {
		angle += 360
	}
	if o.Center == nil {
		switch {
		case angle == 0:
			return s.copyOf(m)
		case angle == 180:
			out := s.copyOf(m)
			out.FlipHorizontal()
			out.FlipVertical()
			return out
		case (angle == 90 || angle == 270) && (o.Expand || m.W == m.H):
			return m.quarter(angle == 90, s)
		}
	}
	w, h := float64(m.W), float64(m.H)
	cx, cy := w/2, h/2
	if o.Center != nil {
		cx, cy = o.Center[0], o.Center[1]
	}
	t := -angle * (math.Pi / 180)
	cos, sin := round15(math.Cos(t)), round15(math.Sin(t))
	a := matrix{cos, sin, 0, round15(-math.Sin(t)), cos, 0}
	a[2], a[5] = a.at(-cx, -cy)
	a[2] += cx
	a[5] += cy
	if o.Expand {
		lo, hi := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
		for _, c := range [4][2]float64{{0, 0}, {w, 0}, {w, h}, {0, h}} {
			x, y := a.at(c[0], c[1])
			lo, hi = [2]float64{min(lo[0], x), min(lo[1], y)}, [2]float64{max(hi[0], x), max(hi[1], y)}
		}
		nw, nh := math.Ceil(hi[0])-math.Floor(lo[0]), math.Ceil(hi[1])-math.Floor(lo[1])
		a[2], a[5] = a.at(-(nw-w)/2, -(nh-h)/2)
		w, h = nw, nh
	}
	out := s.Image(int(w), int(h))
	m.transform(out, a, o.Interpolation, o.Fill)
	return out
}

// round15 is Python's round(v, 15): exact in decimal, half to even.
func round15(v float64) float64 {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'f', 15, 64), 64)
	return r
}

// quarter turns by 90 degrees, left (counter-clockwise) or right.
func (m *Image) quarter(left bool, s *Scratch) *Image {
	out := s.Image(m.H, m.W)
	for y := range out.H {
		for x := range out.W {
			sx, sy := y, m.H-1-x
			if left {
				sx, sy = m.W-1-y, x
			}
			copy(out.Pix[(y*out.W+x)*3:(y*out.W+x)*3+3], m.Pix[(sy*m.W+sx)*3:])
		}
	}
	return out
}

// matrix takes a position in the result to one in the source: x' = m0 x + m1 y + m2, y' = m3 x + m4 y + m5.
type matrix [6]float64

func (a *matrix) at(x, y float64) (float64, float64) {
	return a[0]*x + a[1]*y + a[2], a[3]*x + a[4]*y + a[5]
}

// Affine describes how [Image.Affine] maps an image, about its centre or about Center.
type Affine struct {
	Angle         float64    // degrees, clockwise
	Translate     [2]float64 // right and down, in pixels
	Scale         float64
	Shear         [2]float64 // degrees, along x and along y
	Interpolation Filter     // Nearest, Bilinear or Bicubic
	Center        []float64  // x, y in pixels from the top left corner; nil for the centre
	Fill          RGB        // outside the image
}

// Affine returns m rotated, sheared, scaled and moved on a canvas of the same size, as torchvision's
// functional affine does with a Pillow image.
func (m *Image) Affine(o Affine) *Image {
	out := NewImage(m.W, m.H)
	m.affineInto(out, o)
	return out
}

func (m *Image) affineInto(out *Image, o Affine) {
	const degree = math.Pi / 180
	rot, sx, sy := o.Angle*degree, o.Shear[0]*degree, o.Shear[1]*degree
	cx, cy := float64(m.W)*0.5, float64(m.H)*0.5
	if o.Center != nil {
		cx, cy = o.Center[0], o.Center[1]
	}
	// The inverse of T * C * RotationScaleShear * C^-1, torchvision's _get_inverse_affine_matrix.
	a := math.Cos(rot-sy) / math.Cos(sy)
	b := -math.Cos(rot-sy)*math.Tan(sx)/math.Cos(sy) - math.Sin(rot)
	c := math.Sin(rot-sy) / math.Cos(sy)
	d := -math.Sin(rot-sy)*math.Tan(sx)/math.Cos(sy) + math.Cos(rot)
	t := matrix{d / o.Scale, -b / o.Scale, 0, -c / o.Scale, a / o.Scale, 0}
	t[2] += t[0]*(-cx-o.Translate[0]) + t[1]*(-cy-o.Translate[1]) + cx
	t[5] += t[3]*(-cx-o.Translate[0]) + t[4]*(-cy-o.Translate[1]) + cy
	m.transform(out, t, o.Interpolation, o.Fill)
}

// transform fills out with the pixels of m that a leads to, with the rules of Pillow's Image.transform.
func (m *Image) transform(out *Image, a matrix, f Filter, fill RGB) {
	fillPixels(out.Pix, fill)
	switch f {
	case Nearest:
		m.transformNearest(out, a)
	case Bilinear:
		m.transformSmooth(out, a, m.bilinearAt)
	case Bicubic:
		m.transformSmooth(out, a, m.bicubicAt)
	default:
		panic(fmt.Sprintf("augment: transform with %v: want nearest, bilinear or bicubic", f))
	}
}

func (m *Image) transformNearest(out *Image, a matrix) {
	put := func(x, y, sx, sy int) {
		if sx >= 0 && sx < m.W && sy >= 0 && sy < m.H {
			copy(out.Pix[(y*out.W+x)*3:(y*out.W+x)*3+3], m.Pix[(sy*m.W+sx)*3:])
		}
	}
	if a[1] == 0 && a[3] == 0 { // no rotation: positions add up along each axis
		yo := a[5] + a[4]*0.5
		for y := range out.H {
			xo := a[2] + a[0]*0.5
			for x := range out.W {
				put(x, y, truncated(xo), truncated(yo))
				xo += a[0]
			}
			yo += a[4]
		}
		return
	}
	// 16.16 fixed point, as Pillow does wherever the numbers fit.
	fix := func(v float64) int { return int(math.Floor(v*65536 + 0.5)) }
	xx, yy := fix(a[2]+a[0]*0.5+a[1]*0.5), fix(a[5]+a[3]*0.5+a[4]*0.5)
	a0, a1, a3, a4 := fix(a[0]), fix(a[1]), fix(a[3]), fix(a[4])
	for y := range out.H {
		sx, sy := xx, yy
		for x := range out.W {
			put(x, y, sx>>16, sy>>16)
			sx += a0
			sy += a3
		}
		xx += a1
		yy += a4
	}
}

func truncated(v float64) int {
	if v < 0 {
		return -1
	}
	return int(v)
}

// transformSmooth asks at for the colour at each position that lies in the source.
func (m *Image) transformSmooth(out *Image, a matrix, at func(dst []uint8, x, y float64)) {
	w, h := float64(m.W), float64(m.H)
	for y := range out.H {
		for x := range out.W {
			sx, sy := a.at(float64(x)+0.5, float64(y)+0.5)
			if sx >= 0 && sx < w && sy >= 0 && sy < h {
				at(out.Pix[(y*out.W+x)*3:(y*out.W+x)*3+3], sx-0.5, sy-0.5)
			}
		}
	}
}

func (m *Image) bilinearAt(dst []uint8, x, y float64) {
	fx, fy := math.Floor(x), math.Floor(y)
	dx, dy := x-fx, y-fy
	ix, iy := int(fx), int(fy)
	x0, x1 := min(max(ix, 0), m.W-1)*3, min(max(ix+1, 0), m.W-1)*3
	row := m.Pix[min(max(iy, 0), m.H-1)*m.W*3:]
	next := row
	if iy+1 >= 0 && iy+1 < m.H {
		next = m.Pix[(iy+1)*m.W*3:]
	}
	for c := range 3 {
		a, b := float64(row[x0+c]), float64(row[x1+c])
		v1 := a + float64((b-a)*dx)
		a, b = float64(next[x0+c]), float64(next[x1+c])
		v2 := a + float64((b-a)*dx)
		dst[c] = uint8(v1 + float64((v2-v1)*dy))
	}
}

func (m *Image) bicubicAt(dst []uint8, x, y float64) {
	fx, fy := math.Floor(x), math.Floor(y)
	dx, dy := x-fx, y-fy
	ix, iy := int(fx)-1, int(fy)-1
	var cols [4]int
	for k := range cols {
		cols[k] = min(max(ix+k, 0), m.W-1) * 3
	}
	for c := range 3 {
		var v [4]float64
		for k := range v {
			// Only the first row is clamped; where a later one is outside, Pillow repeats the value it has.
			if k > 0 && (iy+k < 0 || iy+k >= m.H) {
				v[k] = v[k-1]
				continue
			}
			row := m.Pix[min(max(iy+k, 0), m.H-1)*m.W*3+c:]
			v[k] = cubic(float64(row[cols[0]]), float64(row[cols[1]]), float64(row[cols[2]]), float64(row[cols[3]]), dx)
		}
		dst[c] = clip8(int(cubic(v[0], v[1], v[2], v[3], dy)))
	}
}

// cubic is Pillow's: Keys' cubic with a = -1.
func cubic(v1, v2, v3, v4, d float64) float64 {
	p2 := v3 - v1
	p3 := 2*(v1-v2) + v3 - v4
	p4 := v2 - v1 - v3 + v4
	return v2 + float64(d*(p2+float64(d*(p3+float64(d*p4)))))
}
