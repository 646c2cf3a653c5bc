package detector

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/sslrt/sslrt/models/onnx"
)

// rows collects the embeddings of images, [n, D], for the methods that judge an
// image as a whole.
type rows struct {
	dim int
	x   []float32
}

func (r *rows) add(x []float32) error {
	r.x = append(r.x, x...)
	return nil
}

func (r *rows) count() int { return len(r.x) / r.dim }

// knnNodes writes the mean Euclidean distance of embeddings x: [N, D] to their k
// nearest neighbours among those of normal images, all scaled to length 1 (Bergman,
// Cohen and Hoshen, 2020, "Deep nearest neighbor anomaly detection"): [N].
func (r *rows) knnNodes(w writer, x string, k int) (string, error) {
	if err := knnNeighbours(k, r.count()); err != nil { // fewer images than were asked for may be readable
		return "", err
	}
	for i := 0; i < len(r.x); i += r.dim {
		length := 0.0
		for _, v := range r.x[i : i+r.dim] {
			length += float64(v) * float64(v)
		}
		length = max(math.Sqrt(length), 1e-12)
		for j := range r.dim {
			r.x[i+j] = float32(float64(r.x[i+j]) / length)
		}
	}
	length := w.Node("Max", []string{w.root(w.reduce("ReduceSum", w.Node("Mul", []string{x, x}), true, 1)), w.Float(1e-12)})
	x = w.Node("Div", []string{x, length})
	mean := centre(r.x, r.dim)
	x = w.Node("Sub", []string{x, w.matrix("detector.mean", mean, int64(r.dim))})
	b := newBank(w, r.x, int64(r.count()), int64(r.dim))
	near := w.Node("Gather", []string{b.rows, b.closest(w, x, int64(k))}, onnx.IntAttr("axis", 0)) // [N, k, D]
	distances := w.root(w.squareSum(w.Node("Sub", []string{near, w.reshape(x, -1, 1, int64(r.dim))}), 2))
	return w.reduce("ReduceMean", distances, false, 1), nil
}

func knnNeighbours(k, images int) error {
	if k > images {
		return fmt.Errorf("knn: %d neighbours of %d images: choose fewer", k, images)
	}
	return nil
}

// mahalanobisNodes writes the Mahalanobis distance of embeddings x: [N, D] from
// those of normal images (Rippel, Mertens and Merhof, 2021, "Modeling the
// distribution of normal data in pre-trained deep features"), with the covariance
// of LedoitWolf: [N].
func (r *rows) mahalanobisNodes(w writer, x string) (string, error) {
	mean, cov, err := ledoitWolf(r.x, r.dim)
	if err != nil {
		return "", fmt.Errorf("mahalanobis: %w", err)
	}
	whiten := make([]float32, r.dim*r.dim)
	if !whitening(cov, whiten) {
		return "", errors.New("mahalanobis: the embeddings have no covariance: are they all alike, or not finite?")
	}
	d := int64(r.dim)
	x = w.Node("Sub", []string{x, w.matrix("detector.mean", mean, d)})
	x = w.Node("MatMul", []string{x, w.matrix("detector.whitening", whiten, d, d)})
	return w.root(w.squareSum(x, 1)), nil
}

// ledoitWolf returns the mean and the covariance of rows x: [n, d], shrunk towards a
// multiple of the identity by the amount that Ledoit and Wolf (2004, "A
// well-conditioned estimator for large-dimensional covariance matrices") give, so
// that it has an inverse also for fewer rows than columns.
func ledoitWolf(x []float32, d int) ([]float32, *mat.SymDense, error) {
	n := len(x) / d
	if n < 2 {
		return nil, nil, errors.New("needs two images or more")
	}
	data := append([]float32(nil), x...)
	mean := centre(data, d)
	m := mat.NewDense(n, d, nil)
	squares := mat.NewDense(n, d, nil)
	for i, v := range data {
		m.Set(i/d, i%d, float64(v))
		squares.Set(i/d, i%d, float64(v)*float64(v))
	}
	cov := mat.NewSymDense(d, nil)
	cov.SymOuterK(1/float64(n), m.T())
	trace := mat.Trace(cov)
	mu := trace / float64(d)
	// beta: how uncertain the entries are; delta: how far from the identity.
	var fourth mat.Dense
	fourth.Mul(squares.T(), squares)
	delta := 0.0
	for i := range d {
		for j := range d {
			delta += sq(cov.At(i, j))
		}
	}
	beta := (mat.Sum(&fourth)/float64(n) - delta) / (float64(d) * float64(n))
	delta = (delta - 2*mu*trace + float64(d)*mu*mu) / float64(d)
	shrink := 0.0
	if delta > 0 {
		shrink = min(beta, delta) / delta
	}
	for i := range d {
		for j := i; j < d; j++ {
			v := (1 - shrink) * cov.At(i, j)
			if i == j {
				v += shrink * mu
			}
			cov.SetSym(i, j, v)
		}
	}
	return mean, cov, nil
}
