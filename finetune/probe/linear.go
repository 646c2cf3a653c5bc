package probe

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/sslrt/sslrt/finetune/linear"
	"github.com/sslrt/sslrt/finetune/metrics"
)

// LinearOptions are the settings of a linear probe; the zero value is usable.
type LinearOptions struct {
	Classes int       // number of classes; 0 is the largest label plus 1
	C       []float64 // inverse penalties to choose from; default 1e-4 to 1e3 by factors of 10
	HoldOut float64   // share of each class to choose by; default 0.2
	Seed    uint64
	// Progress, if set, is told what is fitted and how far it is.
	Progress func(what string, done, total int)
}

// sweepRows bounds the images of the sweep; the last fit takes all.
const sweepRows = 20000

// iterations bounds the work of one fit; embeddings that are standardised need far
// fewer.
const iterations = 300

// Trial is one penalty of the sweep.
type Trial struct {
	C, Accuracy float64 // on the images held back
}

// Linear is a linear probe: logistic regression on standardised embeddings, which are
// frozen.
type Linear struct {
	Model       *linear.Model
	Trials      []Trial
	C           float64 // the chosen one: the best on the images held back, the smallest of equals
	Temperature float64 // that calibrates the probabilities, fitted on the images held back
	Held        int     // images held back for that
	Images      int     // that the model was fitted with in the end: all
}

// Protocol describes the measure in one line, to be printed next to its number.
func (l *Linear) Protocol() string {
	tried := make([]string, len(l.Trials))
	for i, t := range l.Trials {
		tried[i] = fmt.Sprintf("%g", t.C)
	}
	return fmt.Sprintf("linear probe: logistic regression (L-BFGS) on frozen, standardised embeddings, L2 penalty 1/C with C %g chosen from %s on %d held-back training images, then fitted on all %d, %d classes",
		l.C, strings.Join(tried, ", "), l.Held, l.Images, l.Model.Classes)
}

// FitLinear fits a probe.
//
//	x: [N, dim], finite
//	labels: [N], 0 to Classes-1, at least two different ones
func FitLinear(ctx context.Context, x []float32, labels []int, dim int, opt LinearOptions) (*Linear, error) {
	if opt.C == nil {
		opt.C = []float64{1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100, 1000}
	}
	if opt.HoldOut == 0 {
		opt.HoldOut = 0.2
	}
	if opt.Classes == 0 {
		for _, l := range labels {
			opt.Classes = max(opt.Classes, l+1)
		}
	}
	if len(labels) == 0 || len(x) != len(labels)*dim {
		return nil, fmt.Errorf("probe: %d labels for %d values of width %d", len(labels), len(x), dim)
	}
	train, held, err := Split(labels, opt.HoldOut, opt.Seed)
	if err != nil {
		return nil, err
	}
	if len(train) > sweepRows {
		some, _ := stratify(rows(labels, 1, train), float64(sweepRows)/float64(len(train)), opt.Seed+1)
		train = rows(train, 1, some)
	}
	fit := func(c float64, x []float32, labels []int) (*linear.Model, error) {
		return linear.Fit(ctx, x, labels, dim, linear.Options{C: c, Classes: opt.Classes, Standardize: true, MaxIterations: iterations})
	}
	trainX, trainY := rows(x, dim, train), rows(labels, 1, train)
	heldX, heldY := rows(x, dim, held), rows(labels, 1, held)
	l := &Linear{Held: len(held), Images: len(labels), Temperature: 1}
	best := math.Inf(-1)
	for k, c := range opt.C {
		if opt.Progress != nil {
			opt.Progress("penalty", k, len(opt.C))
		}
		m, err := fit(c, trainX, trainY)
		if err != nil {
			return nil, err
		}
		logits, err := linear.Logits(m, heldX)
		if err != nil {
			return nil, err
		}
		accuracy, err := metrics.TopK(logits, opt.Classes, heldY, 1)
		if err != nil {
			return nil, err
		}
		l.Trials = append(l.Trials, Trial{c, accuracy})
		if accuracy > best {
			best, l.C = accuracy, c
			if l.Temperature, _, err = metrics.FitTemperature(logits, opt.Classes, heldY); err != nil {
				return nil, err
			}
		}
	}
	if opt.Progress != nil {
		opt.Progress("penalty", len(opt.C), len(opt.C))
	}
	l.Model, err = fit(l.C, x, labels)
	return l, err
}
