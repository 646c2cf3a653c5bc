package op

import "math"

// tap is one element that a linear map along an axis reads, and its weight.
type tap struct {
	at     int
	weight float64
}

// taps lists for each of out positions along axis i what it reads of in.
func (o resize) taps(i, in, out int) [][]tap {
	rows := make([][]tap, out)
	for j := range rows {
		at := o.position(i, j, in, out)
		if o.Interpolation == Nearest {
			rows[j] = []tap{{nearby(o.round(at), in), 1}}
			continue
		}
		if o.Interpolation == Bilinear {
			at = min(max(at, 0), float64(in-1))
		}
		first := math.Floor(at)
		for k, w := range o.weights(at - first) {
			if w != 0 {
				rows[j] = append(rows[j], tap{nearby(int(first)+k-o.before(), in), w})
			}
		}
	}
	return rows
}

// position returns where position j of the result lies in the original.
func (o resize) position(i, j, in, out int) float64 {
	scale := o.Scale[i]
	if scale == 0 {
		scale = float64(out) / float64(in)
	}
	switch o.Coordinates {
	case AlignCorners:
		if out == 1 {
			return 0
		}
		if o.Scale[i] != 0 { // the size that the scale stands for need not be whole
			return float64(j) * float64(in-1) / (float64(in)*scale - 1)
		}
		return float64(j*(in-1)) / float64(out-1)
	case Asymmetric:
		if o.Scale[i] == 0 {
			return float64(j*in) / float64(out) // whole numbers stay whole
		}
		return float64(j) / scale
	case PyTorchHalfPixel:
		if out == 1 {
			return 0
		}
	}
	return (float64(j)+0.5)/scale - 0.5
}

func (o resize) round(at float64) int {
	switch o.Rounding {
	case RoundUp:
		return int(math.Ceil(at))
	case RoundPreferDown:
		return int(math.Ceil(at - 0.5))
	case RoundPreferUp:
		return int(math.Floor(at + 0.5))
	}
	return int(math.Floor(at))
}

// before returns how many taps lie before the one at a position rounded down.
func (o resize) before() int {
	if o.Interpolation == Bicubic {
		return 1
	}
	return 0
}

// weights are those of the taps around a position that lies f behind a pixel.
func (o resize) weights(f float64) []float64 {
	if o.Interpolation == Bilinear {
		return []float64{1 - f, f}
	}
	a := o.CubicA
	near := func(d float64) float64 { return ((a+2)*d-(a+3))*d*d + 1 }  // up to 1 away
	far := func(d float64) float64 { return ((a*d-5*a)*d+8*a)*d - 4*a } // 1 to 2 away
	return []float64{far(1 + f), near(f), near(1 - f), far(2 - f)}
}

// nearby moves a position that lies beyond the borders to the outermost element.
func nearby(at, size int) int { return min(max(at, 0), size-1) }

// transposeTaps turns a map from in positions around: for each of them, who reads
// it.
func transposeTaps(rows [][]tap, in int) [][]tap {
	out := make([][]tap, in)
	for i, taps := range rows {
		for _, t := range taps {
			out[t.at] = append(out[t.at], tap{i, t.weight})
		}
	}
	return out
}

// mapPlane applies one linear map to the columns and one to the rows of each
// plane of x: [N, C, H, W], as products with two constant matrices.
func mapPlane(x *Node, down, right [][]tap) *Node {
	matrix := func(rows [][]tap, in int, transposed bool) *Node {
		m := make([]float32, len(rows)*in)
		for i, taps := range rows {
			for _, t := range taps {
				if transposed {
					m[t.at*len(rows)+i] += float32(t.weight)
				} else {
					m[i*in+t.at] += float32(t.weight)
				}
			}
		}
		if transposed {
			return x.graph.Const(m, in, len(rows))
		}
		return x.graph.Const(m, len(rows), in)
	}
	y := MatMul(x, matrix(right, x.Dims[3], true))
	return MatMul(matrix(down, x.Dims[2], false), y)
}
