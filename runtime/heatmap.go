package runtime

import (
	"image"
	"image/color"

	"github.com/sslrt/sslrt/augment"
)

// Heatmap says how far each pixel of a detector's input is from normal: Values is
// [H, W], row by row. Of an image that was looked at in tiles it has the image's size.
type Heatmap struct {
	W, H   int
	Values []float32

	pre *augment.Preprocess // how the image became the input; nil when the map covers it as it is
}

// Window returns the part of an image of w x h pixels that the map covers, in pixels
// of the image.
func (h *Heatmap) Window(w, height int) (x0, y0, x1, y1 float64) {
	if h.pre == nil {
		return 0, 0, float64(w), float64(height)
	}
	return h.pre.Window(w, height)
}

// Max returns the largest value.
func (h *Heatmap) Max() float32 {
	best := h.Values[0]
	for _, v := range h.Values {
		best = max(best, v)
	}
	return best
}

// at returns the value at a place given in pixels of the map, between them by
// bilinear interpolation.
func (h *Heatmap) at(x, y float64) float32 {
	x, y = min(max(x, 0), float64(h.W-1)), min(max(y, 0), float64(h.H-1))
	x0, y0 := int(x), int(y)
	x1, y1 := min(x0+1, h.W-1), min(y0+1, h.H-1)
	fx, fy := float32(x-float64(x0)), float32(y-float64(y0))
	top := h.Values[y0*h.W+x0]*(1-fx) + h.Values[y0*h.W+x1]*fx
	below := h.Values[y1*h.W+x0]*(1-fx) + h.Values[y1*h.W+x1]*fx
	return top*(1-fy) + below*fy
}

// Over scales the map to the image, of w x h pixels. Outside of the part that the map
// covers the result is unseen.
func (h *Heatmap) Over(w, height int, unseen float32) *Heatmap {
	out := &Heatmap{W: w, H: height, Values: make([]float32, w*height)}
	x0, y0, x1, y1 := h.Window(w, height)
	for y := range height {
		for x := range w {
			u, v := (float64(x)+0.5-x0)/(x1-x0), (float64(y)+0.5-y0)/(y1-y0)
			if u < 0 || v < 0 || u > 1 || v > 1 {
				out.Values[y*w+x] = unseen
				continue
			}
			out.Values[y*w+x] = h.at(u*float64(h.W)-0.5, v*float64(h.H)-0.5)
		}
	}
	return out
}

// paste puts h, of a tile, into the map of the image at a place. Where
// tiles overlap the larger value stays.
func (h *Heatmap) paste(into *Heatmap, at image.Point) {
	for y := range h.H {
		row := into.Values[(at.Y+y)*into.W+at.X:][:h.W]
		for x, v := range h.Values[y*h.W : (y+1)*h.W] {
			row[x] = max(row[x], v)
		}
	}
}

// Overlay draws the map over a picture of its size: values from low, which leave it
// as it is, to high are blue to red. The range is the caller's, the same for a whole
// data set, so that a normal image does not glow.
func (h *Heatmap) Overlay(m *augment.Image, low, high float64) *augment.Image {
	out := m.Clone()
	for i, v := range h.Values {
		t := min(max((float64(v)-low)/(high-low), 0), 1)
		c := heat(t)
		share := 0.15 + 0.45*t
		for k, to := range [3]uint8{c.R, c.G, c.B} {
			out.Pix[3*i+k] = uint8((1-share)*float64(out.Pix[3*i+k]) + share*float64(to) + 0.5)
		}
	}
	return out
}

// heat is the colour of t in 0 to 1: blue, cyan, green, yellow, red.
func heat(t float64) color.RGBA {
	channel := func(centre float64) uint8 {
		return uint8(255 * min(max(1.5-abs(4*t-centre), 0), 1))
	}
	return color.RGBA{channel(3), channel(2), channel(1), 255}
}

func abs(x float64) float64 { return max(x, -x) }

// Gray16 returns the map as a 16-bit picture: low is 0, high is 65535.
func (h *Heatmap) Gray16(low, high float64) *image.Gray16 {
	out := image.NewGray16(image.Rect(0, 0, h.W, h.H))
	for i, v := range h.Values {
		t := min(max((float64(v)-low)/(high-low), 0), 1)
		out.SetGray16(i%h.W, i/h.W, color.Gray16{Y: uint16(t*65535 + 0.5)})
	}
	return out
}

// Mask returns the pixels above a threshold: 255, the others 0.
func (h *Heatmap) Mask(threshold float64) *image.Gray {
	out := image.NewGray(image.Rect(0, 0, h.W, h.H))
	for i, v := range h.Values {
		if float64(v) > threshold {
			out.Pix[i] = 255
		}
	}
	return out
}
