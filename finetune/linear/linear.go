// Package linear fits a linear classifier on feature vectors: multinomial logistic
// regression with an L2 penalty, by L-BFGS. On frozen embeddings this is the linear
// probe, the usual measure of a self-supervised encoder beside nearest neighbours.
//
// It minimises 0.5 ||W||^2 + C sum_i NLL_i, where NLL_i is the negative
// log-likelihood of softmax(W x_i + b); b is not penalised. That is scikit-learn's
// LogisticRegression, so that C means the same.
package linear

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/optimize"

	"github.com/sslrt/sslrt/finetune/distance"
)

// Options are the settings of a fit; the zero value is usable.
type Options struct {
	C             float64 // inverse strength of the penalty; 0 is 1
	Classes       int     // number of classes; 0 is the largest label plus 1
	Standardize   bool    // fit on features of mean 0 and deviation 1; the penalty acts on those
	MaxIterations int     // 0 is 1000
	// Tolerance ends the fit when no entry of the gradient, of the objective divided
	// by C N, is larger; 0 is 1e-6.
	Tolerance float64
	// Progress, if set, is called after each iteration with the objective divided by C N.
	Progress func(iteration int, objective float64)
}

// Model is a linear classifier on features as they are: standardising is folded in.
type Model struct {
	Dim, Classes int
	W            []float64 // [Classes, Dim]
	B            []float64 // [Classes], of sum 0

	Objective  float64 // 0.5 ||W||^2 + C sum NLL, W that of the standardised features
	Iterations int
	Converged  bool // false: MaxIterations came first; the model is usable
}

// Fit learns a classifier.
//
//	x: [N, dim], finite
//	labels: [N], 0 to Classes-1; at least two different ones
//
// When ctx ends it returns the cause.
func Fit[F distance.Float](ctx context.Context, x []F, labels []int, dim int, opt Options) (*Model, error) {
	n, err := distance.Rows(x, dim)
	if err != nil {
		return nil, fmt.Errorf("linear: %w", err)
	}
	if opt.C == 0 {
		opt.C = 1
	}
	if opt.Tolerance == 0 {
		opt.Tolerance = 1e-6
	}
	if opt.MaxIterations == 0 {
		opt.MaxIterations = 1000
	}
	if !(opt.C > 0) || math.IsInf(opt.C, 0) || !(opt.Tolerance > 0) || opt.MaxIterations < 1 {
		return nil, fmt.Errorf("linear: got C %g, tolerance %g, %d iterations, want all positive", opt.C, opt.Tolerance, opt.MaxIterations)
	}
	if err := checkLabels(labels, n, &opt.Classes); err != nil {
		return nil, err
	}
	p := newProblem(x, labels, dim, opt)
	settings := &optimize.Settings{
		GradientThreshold: opt.Tolerance,
		MajorIterations:   opt.MaxIterations,
		Recorder:          &recorder{progress: opt.Progress},
		Converger:         optimize.NeverTerminate{},
	}
	problem := optimize.Problem{
		Func: func(w []float64) float64 { p.evaluate(w); return p.value },
		Grad: func(grad, w []float64) { p.evaluate(w); copy(grad, p.grad) },
		Status: func() (optimize.Status, error) {
			if ctx.Err() != nil {
				return optimize.Failure, context.Cause(ctx)
			}
			return optimize.NotTerminated, nil
		},
	}
	start := make([]float64, opt.Classes*(dim+1))
	result, err := optimize.Minimize(problem, start, settings, &optimize.LBFGS{Store: 20})
	if ctx.Err() != nil {
		return nil, fmt.Errorf("linear: %w", context.Cause(ctx))
	}
	if result == nil {
		return nil, fmt.Errorf("linear: %w", err)
	}
	// A line search that finds no lower point has reached the end of float64's digits.
	m := p.model(result.X)
	m.Iterations = result.Stats.MajorIterations
	m.Converged = result.Status != optimize.IterationLimit
	return m, nil
}

func checkLabels(labels []int, n int, classes *int) error {
	if len(labels) != n || n == 0 {
		return fmt.Errorf("linear: got %d labels for %d vectors, want as many and some", len(labels), n)
	}
	most := 0
	different := false
	for i, l := range labels {
		if l < 0 || *classes > 0 && l >= *classes {
			return fmt.Errorf("linear: vector %d has label %d, want 0 or more and less than the number of classes", i, l)
		}
		most = max(most, l)
		different = different || l != labels[0]
	}
	if !different {
		return errors.New("linear: all vectors are of one class, want two or more")
	}
	if *classes == 0 {
		*classes = most + 1
	}
	return nil
}

// problem is the objective divided by C N.
type problem struct {
	x            blas64.General // [N, dim], standardised if asked for
	labels       []int
	mean, scale  []float64 // x = (features - mean) * scale
	classes, dim int
	c            float64

	// The last point evaluated: value and gradient come from one pass.
	at, grad []float64
	value    float64
	scores   blas64.General // [N, classes]
}

func newProblem[F distance.Float](x []F, labels []int, dim int, opt Options) *problem {
	n := len(labels)
	p := &problem{labels: labels, dim: dim, classes: opt.Classes, c: opt.C,
		mean: make([]float64, dim), scale: make([]float64, dim),
		x:      blas64.General{Rows: n, Cols: dim, Stride: dim, Data: make([]float64, len(x))},
		scores: blas64.General{Rows: n, Cols: opt.Classes, Stride: opt.Classes, Data: make([]float64, n*opt.Classes)},
		grad:   make([]float64, opt.Classes*(dim+1)),
	}
	for k := range p.scale {
		p.scale[k] = 1
	}
	if opt.Standardize {
		p.mean = distance.Mean(x, dim)
		variance := make([]float64, dim)
		for i, v := range x {
			d := float64(v) - p.mean[i%dim]
			variance[i%dim] += d * d / float64(n)
		}
		for k, v := range variance {
			if v > 0 { // a feature that never changes stays at 0
				p.scale[k] = 1 / math.Sqrt(v)
			}
		}
	}
	for i, v := range x {
		p.x.Data[i] = (float64(v) - p.mean[i%dim]) * p.scale[i%dim]
	}
	return p
}

// evaluate computes value and gradient at w: W [classes, dim], then b [classes].
func (p *problem) evaluate(w []float64) {
	if p.at != nil && equal(p.at, w) {
		return
	}
	p.at = append(p.at[:0], w...)
	weights := blas64.General{Rows: p.classes, Cols: p.dim, Stride: p.dim, Data: w[:p.classes*p.dim]}
	bias := w[p.classes*p.dim:]
	blas64.Gemm(blas.NoTrans, blas.Trans, 1, p.x, weights, 0, p.scores)
	clear(p.grad)
	gradBias := p.grad[p.classes*p.dim:]
	scale := 1 / float64(len(p.labels))
	p.value = 0
	for i, label := range p.labels {
		row := p.scores.Data[i*p.classes : (i+1)*p.classes]
		top := math.Inf(-1)
		for k := range row {
			row[k] += bias[k]
			top = max(top, row[k])
		}
		own, sum := row[label], 0.0
		for k, s := range row {
			row[k] = math.Exp(s - top)
			sum += row[k]
		}
		p.value += (math.Log(sum) - (own - top)) * scale
		for k := range row { // d value / d score
			row[k] *= scale / sum
			if k == label {
				row[k] -= scale
			}
			gradBias[k] += row[k]
		}
	}
	gradW := blas64.General{Rows: p.classes, Cols: p.dim, Stride: p.dim, Data: p.grad[:p.classes*p.dim]}
	blas64.Gemm(blas.Trans, blas.NoTrans, 1, p.scores, p.x, 0, gradW)
	penalty := scale / p.c
	for i, v := range weights.Data {
		p.value += penalty * v * v / 2
		gradW.Data[i] += penalty * v
	}
}

func equal(a, b []float64) bool {
	for i, v := range a {
		if v != b[i] {
			return false
		}
	}
	return true
}

// model turns the solution into weights for features as they are.
func (p *problem) model(w []float64) *Model {
	p.evaluate(w)
	m := &Model{Dim: p.dim, Classes: p.classes, Objective: p.value * p.c * float64(len(p.labels)),
		W: make([]float64, p.classes*p.dim), B: make([]float64, p.classes)}
	middle := 0.0
	for k := range p.classes {
		m.B[k] = w[p.classes*p.dim+k]
		for j := range p.dim {
			v := w[k*p.dim+j] * p.scale[j]
			m.W[k*p.dim+j] = v
			m.B[k] -= v * p.mean[j]
		}
		middle += m.B[k] / float64(p.classes)
	}
	for k := range m.B {
		m.B[k] -= middle // a common offset changes nothing
	}
	return m
}

// Logits returns W x + b for each row.
//
//	x: [N, Dim]
//	result: [N, Classes]
func Logits[F distance.Float](m *Model, x []F) ([]float64, error) {
	n, err := distance.Rows(x, m.Dim)
	if err != nil {
		return nil, fmt.Errorf("linear: %w", err)
	}
	out := make([]float64, n*m.Classes)
	for i := range n {
		for k := range m.Classes {
			sum := m.B[k]
			for j, v := range x[i*m.Dim : (i+1)*m.Dim] {
				sum += float64(v) * m.W[k*m.Dim+j]
			}
			out[i*m.Classes+k] = sum
		}
	}
	return out, nil
}

// recorder passes progress on.
type recorder struct {
	progress func(int, float64)
}

func (r *recorder) Init() error { return nil }

func (r *recorder) Record(loc *optimize.Location, op optimize.Operation, stats *optimize.Stats) error {
	if op == optimize.MajorIteration && r.progress != nil {
		r.progress(stats.MajorIterations, loc.F)
	}
	return nil
}
