package detector

import (
	"errors"
	"fmt"

	"gonum.org/v1/gonum/mat"
)

// padim is PaDiM (Defard et al., 2021, "PaDiM: a patch distribution modeling
// framework for anomaly detection and localization"): at each place of the image
// the features of normal images are a Gaussian; a patch scores by its Mahalanobis
// distance.
type padim struct {
	grid  grid
	ridge float64 // added to the variances

	n     int
	shift []float32   // the first image's features, [C, P]: sums stay small beside it
	sum   [][]float64 // per place: [C]
	outer [][]float64 // per place: sums of products, [C, C], the lower half
}

func newPadim(g grid, ridge float64) *padim {
	p := &padim{grid: g, ridge: ridge, sum: make([][]float64, g.places()), outer: make([][]float64, g.places())}
	for i := range p.sum {
		p.sum[i] = make([]float64, g.C)
		p.outer[i] = make([]float64, g.C*(g.C+1)/2)
	}
	return p
}

// add takes the features of images, [n, C, H, W].
func (p *padim) add(x []float32) error {
	c, places := p.grid.C, p.grid.places()
	if p.shift == nil {
		p.shift = append([]float32(nil), x[:c*places]...)
	}
	for ; len(x) > 0; x = x[c*places:] {
		p.n++
		parallel(places, func(lo, hi int) {
			d := make([]float64, c)
			for at := lo; at < hi; at++ {
				sum, outer := p.sum[at], p.outer[at]
				k := 0
				for i := range c {
					v := float64(x[i*places+at]) - float64(p.shift[i*places+at])
					d[i] = v
					sum[i] += v
					for j, u := range d[:i+1] {
						outer[k+j] += v * u
					}
					k += i + 1
				}
			}
		})
	}
	return nil
}

// gaussian returns the mean [C] and the covariance of a place, unbiased, with the
// ridge.
func (p *padim) gaussian(at int) ([]float64, *mat.SymDense) {
	c, n := p.grid.C, float64(p.n)
	mean := make([]float64, c)
	cov := mat.NewSymDense(c, nil)
	k := 0
	for i := range c {
		mean[i] = float64(p.shift[i*p.grid.places()+at]) + p.sum[at][i]/n
		for j := range i + 1 {
			cov.SetSym(i, j, (p.outer[at][k+j]-p.sum[at][i]*p.sum[at][j]/n)/(n-1))
		}
		k += i + 1
		cov.SetSym(i, i, cov.At(i, i)+p.ridge)
	}
	return mean, cov
}

// fit returns, for each place, the mean [P, C] and the matrix [P, C, C] that turns
// a row of differences from it into one whose length is the Mahalanobis distance.
func (p *padim) fit() (means, whiten []float32, err error) {
	if p.n < 2 {
		return nil, nil, errors.New("padim needs two images or more")
	}
	c, places := p.grid.C, p.grid.places()
	means, whiten = make([]float32, places*c), make([]float32, places*c*c)
	failed := make([]bool, places)
	parallel(places, func(lo, hi int) {
		for at := lo; at < hi; at++ {
			mean, cov := p.gaussian(at)
			for i, v := range mean {
				means[at*c+i] = float32(v)
			}
			failed[at] = !whitening(cov, whiten[at*c*c:(at+1)*c*c])
		}
	})
	for at, bad := range failed {
		if bad {
			return nil, nil, fmt.Errorf("padim: the features at place %d, %d of the map have no covariance: are they finite?", at/p.grid.W, at%p.grid.W)
		}
	}
	return means, whiten, nil
}

// whitening writes W into dst, [C, C], with W W^T the inverse of cov: the length of
// the row d W is the Mahalanobis distance of d. It reports whether cov has one.
func whitening(cov *mat.SymDense, dst []float32) bool {
	c := cov.SymmetricDim()
	var chol mat.Cholesky
	if !chol.Factorize(cov) {
		return false
	}
	var l, inverse mat.TriDense
	chol.LTo(&l)
	if err := inverse.InverseTri(&l); err != nil {
		var condition mat.Condition
		if !errors.As(err, &condition) {
			return false
		}
	}
	for i := range c {
		for j := range c {
			dst[i*c+j] = float32(inverse.At(j, i)) // cov = L L^T, W = L^-T
		}
	}
	return true
}

// nodes writes the scores of x: [N, C, H, W], as a map [N, 1, H, W].
func (p *padim) nodes(w writer, x string, means, whiten []float32) string {
	c, places := int64(p.grid.C), int64(p.grid.places())
	d := w.transpose(w.reshape(x, 0, c, places), 2, 0, 1) // [P, N, C]
	d = w.Node("Sub", []string{d, w.matrix("detector.mean", means, places, 1, c)})
	d = w.Node("MatMul", []string{d, w.matrix("detector.whitening", whiten, places, c, c)})
	distance := w.transpose(w.root(w.squareSum(d, 2)), 1, 0) // [N, P]
	return w.reshape(distance, -1, 1, int64(p.grid.H), int64(p.grid.W))
}
