package op

// convDims are the sizes of one convolution, for the kernels.
type convDims struct {
	Conv
	n, c, h, w, k, kh, kw, ho, wo int

	cg, kg       int // channels in and out, per group
	rows, pixels int // of the column matrix: cg*kh*kw and ho*wo
}

func (c Conv) dims(x, w []int) convDims {
	d := convDims{Conv: c, n: x[0], c: x[1], h: x[2], w: x[3], k: w[0], kh: w[2], kw: w[3]}
	d.ho, _ = c.outSize(0, d.h, d.kh)
	d.wo, _ = c.outSize(1, d.w, d.kw)
	d.cg, d.kg = d.c/c.Groups, d.k/c.Groups
	d.rows, d.pixels = d.cg*d.kh*d.kw, d.ho*d.wo
	return d
}

// flops counts the multiplications for one image.
func (d convDims) flops() int { return d.k * d.rows * d.pixels }

// image, kernel and result return the part of one image and group.
func (d convDims) image(x []float32, i, g int) []float32 {
	n := d.cg * d.h * d.w
	at := (i*d.Groups + g) * n
	return x[at : at+n]
}

func (d convDims) kernel(w []float32, g int) []float32 {
	n := d.kg * d.rows
	return w[g*n : (g+1)*n]
}

func (d convDims) result(y []float32, i, g int) []float32 {
	n := d.kg * d.pixels
	at := (i*d.Groups + g) * n
	return y[at : at+n]
}

// pointwise reports whether the column matrix is the image itself.
func (d convDims) pointwise() bool {
	return d.kh == 1 && d.kw == 1 && d.Stride == [2]int{1, 1} && d.Pad == [4]int{}
}

func (d convDims) newColumns() []float32 {
	if d.pointwise() {
		return nil
	}
	return make([]float32, d.rows*d.pixels)
}

// im2col lays out the input values under each kernel position: [rows, pixels].
func (d convDims) im2col(col, image []float32) []float32 {
	if d.pointwise() {
		return image
	}
	d.walk(col, image, false)
	return col
}

// col2im adds the column matrix back to the input values it came from.
func (d convDims) col2im(image, col []float32) { d.walk(col, image, true) }

// walk visits each row of the column matrix with the image row it stands for.
func (d convDims) walk(col, image []float32, back bool) {
	row := 0
	for c := range d.cg {
		plane := image[c*d.h*d.w : (c+1)*d.h*d.w]
		for u := range d.kh {
			for v := range d.kw {
				to := col[row*d.pixels : (row+1)*d.pixels]
				row++
				for i := range d.ho {
					line := to[i*d.wo : (i+1)*d.wo]
					y := i*d.Stride[0] + u*d.Dilation[0] - d.Pad[0]
					if y < 0 || y >= d.h {
						if !back {
							clear(line)
						}
						continue
					}
					d.line(line, plane[y*d.w:(y+1)*d.w], v*d.Dilation[1]-d.Pad[1], back)
				}
			}
		}
	}
}

// line copies the values at shift, shift+stride, ... of an image row into a row
// of the column matrix, zeros outside; back adds them the other way.
func (d convDims) line(col, row []float32, shift int, back bool) {
	s := d.Stride[1]
	lo := 0 // first step that lies inside
	if shift < 0 {
		lo = min((-shift+s-1)/s, len(col))
	}
	hi := lo // first step after the last that does
	if last := len(row) - 1 - shift; last >= 0 {
		hi = max(lo, min(last/s+1, len(col)))
	}
	if back {
		for j := lo; j < hi; j++ {
			row[j*s+shift] += col[j]
		}
		return
	}
	clear(col[:lo])
	clear(col[hi:])
	if s == 1 && lo < hi {
		copy(col[lo:hi], row[lo+shift:])
		return
	}
	for j := lo; j < hi; j++ {
		col[j] = row[j*s+shift]
	}
}
