package anomaly

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/sslrt/sslrt/finetune/distance"
)

// Gaussian is a normal distribution of feature vectors.
type Gaussian struct {
	Dim        int
	Mean       []float64 // [Dim]
	Covariance []float64 // [Dim, Dim], the ridge included
	chol       mat.Cholesky
}

// FitGaussian estimates mean and covariance, the latter with 1/(N-1) and ridge added to
// its diagonal: a ridge of 0.01 is PaDiM's, and lets N be smaller than dim.
//
//	x: [N, dim], N at least 2
func FitGaussian[F distance.Float](x []F, dim int, ridge float64) (*Gaussian, error) {
	n, err := rows("gaussian", x, dim)
	if err != nil {
		return nil, err
	}
	if n < 2 {
		return nil, fmt.Errorf("anomaly: gaussian: got %d vectors, want 2 or more", n)
	}
	g := &Gaussian{Dim: dim, Mean: distance.Mean(x, dim)}
	g.Covariance = scatter(x, dim, func(int) []float64 { return g.Mean }, 1/float64(n-1))
	return g, g.factorize(ridge)
}

// scatter returns weight times the sum of the outer products of x - mean(i).
func scatter[F distance.Float](x []F, dim int, mean func(i int) []float64, weight float64) []float64 {
	centred := mat.NewDense(len(x)/dim, dim, nil)
	raw := centred.RawMatrix().Data
	for i := range len(x) / dim {
		for k, m := range mean(i) {
			raw[i*dim+k] = float64(x[i*dim+k]) - m
		}
	}
	out := make([]float64, dim*dim)
	var product mat.SymDense
	product.SymOuterK(weight, centred.T())
	for i := range dim {
		for j := range dim {
			out[i*dim+j] = product.At(i, j)
		}
	}
	return out
}

// factorize adds the ridge and prepares distances.
func (g *Gaussian) factorize(ridge float64) error {
	if !(ridge >= 0) || math.IsInf(ridge, 0) {
		return fmt.Errorf("anomaly: gaussian: got a ridge of %g, want 0 or more", ridge)
	}
	for i := range g.Dim {
		g.Covariance[i*g.Dim+i] += ridge
	}
	if !g.chol.Factorize(mat.NewSymDense(g.Dim, g.Covariance)) {
		return fmt.Errorf("anomaly: gaussian: the covariance of %d dimensions is not positive definite: raise the ridge (it is %g) or take more vectors", g.Dim, ridge)
	}
	return nil
}

// SquaredDistance is the squared Mahalanobis distance of x: [Dim] from the mean.
func (g *Gaussian) SquaredDistance(x []float64) float64 {
	centred, solved := mat.NewVecDense(g.Dim, nil), mat.NewVecDense(g.Dim, nil)
	for k, m := range g.Mean {
		centred.SetVec(k, x[k]-m)
	}
	// A condition so bad that it is reported still gives the best answer there is.
	_ = g.chol.SolveVecTo(solved, centred)
	return max(mat.Dot(centred, solved), 0)
}

// Precision returns the inverse of the covariance: [Dim, Dim]. A detector computes
// (x-Mean)^T Precision (x-Mean) with it.
func (g *Gaussian) Precision() ([]float64, error) {
	var inverse mat.SymDense
	if err := g.chol.InverseTo(&inverse); err != nil {
		return nil, fmt.Errorf("anomaly: gaussian: the covariance cannot be inverted: %w: raise the ridge", err)
	}
	out := make([]float64, g.Dim*g.Dim)
	for i := range g.Dim {
		for j := range g.Dim {
			out[i*g.Dim+j] = inverse.At(i, j)
		}
	}
	return out, nil
}

// ClassGaussians are normal distributions with a mean for each class and one
// covariance for all (Lee et al., "A Simple Unified Framework for Detecting
// Out-of-Distribution Samples", NeurIPS 2018).
type ClassGaussians struct {
	Classes, Dim int
	Means        []float64 // [Classes, Dim]
	Covariance   []float64 // [Dim, Dim], with 1/N
	tied         Gaussian
}

// FitClassGaussians estimates them.
//
//	x: [N, dim]; labels: [N], 0 to classes-1, each at least once
func FitClassGaussians[F distance.Float](x []F, dim int, labels []int, classes int, ridge float64) (*ClassGaussians, error) {
	n, err := rows("class gaussians", x, dim)
	if err != nil {
		return nil, err
	}
	if len(labels) != n || classes < 1 {
		return nil, fmt.Errorf("anomaly: class gaussians: got %d labels of %d classes for %d vectors", len(labels), classes, n)
	}
	c := &ClassGaussians{Classes: classes, Dim: dim, Means: make([]float64, classes*dim)}
	size := make([]float64, classes)
	for i, l := range labels {
		if l < 0 || l >= classes {
			return nil, fmt.Errorf("anomaly: class gaussians: vector %d is of class %d, want 0 to %d", i, l, classes-1)
		}
		size[l]++
		for k, v := range x[i*dim : (i+1)*dim] {
			c.Means[l*dim+k] += float64(v)
		}
	}
	for l, s := range size {
		if s == 0 {
			return nil, fmt.Errorf("anomaly: class gaussians: class %d has no vectors", l)
		}
		for k := range dim {
			c.Means[l*dim+k] /= s
		}
	}
	c.Covariance = scatter(x, dim, func(i int) []float64 { return c.Means[labels[i]*dim : (labels[i]+1)*dim] }, 1/float64(n))
	c.tied = Gaussian{Dim: dim, Mean: make([]float64, dim), Covariance: c.Covariance}
	return c, c.tied.factorize(ridge)
}

// SquaredDistances returns the squared Mahalanobis distance of x: [Dim] to each class:
// [Classes]. The score is the least of them.
func (c *ClassGaussians) SquaredDistances(x []float64) []float64 {
	out, centred := make([]float64, c.Classes), make([]float64, c.Dim)
	for l := range out {
		for k, m := range c.Means[l*c.Dim : (l+1)*c.Dim] {
			centred[k] = x[k] - m
		}
		out[l] = c.tied.SquaredDistance(centred)
	}
	return out
}
