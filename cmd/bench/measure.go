package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/sslrt/sslrt/finetune/metrics"
)

// sample is what one run of a side measured.
type sample struct {
	value float64 // in the unit of the case
	alone float64 // the same without the start of the process; 0: not measured
	peak  int64   // bytes; 0: not measured
}

// benchCase is something to measure on both sides.
type benchCase struct {
	name, title string
	unit        string
	rate        bool    // a larger value is better
	target      float64 // that the ratio should reach; 0: none
	weight      float64 // of the pairs; 0: all of them
	memory      float64 // that the ratio of the peaks should reach; 0: not compared
	alone       string  // the title of the ratio of sample.alone

	prepare func(ctx context.Context) error
	ours    func(ctx context.Context, first bool) (sample, error)
	theirs  func(ctx context.Context, p python, first bool) (sample, error) // nil: nothing to compare with
	against func(p python) string                                           // names what of a Python it is compared with; "" where that lacks it
	command [2]string                                                       // what is run, for the page
}

// series are the samples of both sides in pairs.
type series struct {
	python       python
	ours, theirs []sample
}

type result struct {
	*benchCase
	values []float64 // values of a case that is compared with nothing
	series []series
	err    error
}

// measure runs a case.
func (s *suite) measure(ctx context.Context, c *benchCase) *result {
	r := &result{benchCase: c}
	fmt.Printf("\n%s: %s\n", c.name, c.title)
	if r.err = s.measureInto(ctx, r); r.err != nil {
		fmt.Println("  failed:", r.err)
	}
	return r
}

func (s *suite) measureInto(ctx context.Context, r *result) error {
	c := r.benchCase
	if c.prepare != nil {
		if err := c.prepare(ctx); err != nil {
			return err
		}
	}
	pairs := s.pairs
	if c.weight > 0 {
		pairs = max(1, int(math.Round(c.weight*float64(pairs))))
	}
	if c.theirs == nil || !slices.ContainsFunc(s.pythons, func(p python) bool { return c.against(p) != "" }) {
		for k := range pairs {
			o, err := c.ours(ctx, k == 0)
			if err != nil {
				return err
			}
			r.values = append(r.values, o.value)
			fmt.Printf("  %d/%d: %.4g %s\n", k+1, pairs, o.value, c.unit)
		}
		return nil
	}
	n := pairs
	for _, p := range s.pythons {
		if c.against(p) == "" {
			continue
		}
		sr, err := s.pairsWith(ctx, c, p, n)
		if err != nil {
			return err
		}
		r.series = append(r.series, sr)
		n = max(1, pairs/5) // of the others
	}
	return nil
}

// pairsWith runs both sides in turn; each is the first one of every second pair.
func (s *suite) pairsWith(ctx context.Context, c *benchCase, p python, pairs int) (series, error) {
	out := series{python: p}
	for k := range pairs {
		var o, t sample
		ours := func() (err error) { o, err = c.ours(ctx, k == 0); return err }
		theirs := func() (err error) { t, err = c.theirs(ctx, p, k == 0); return err }
		order := []func() error{ours, theirs}
		if k%2 == 1 {
			slices.Reverse(order)
		}
		if err := errors.Join(order[0](), order[1]()); err != nil {
			return out, err
		}
		out.ours, out.theirs = append(out.ours, o), append(out.theirs, t)
		fmt.Printf("  %d/%d: sslrt %.4g, %s %.4g %s: %.2f\n", k+1, pairs, o.value, c.against(p), t.value, c.unit, c.ratio(o, t))
	}
	return out, nil
}

// ratio tells how many times faster sslrt is.
func (c *benchCase) ratio(ours, theirs sample) float64 {
	if c.rate {
		return ours.value / theirs.value
	}
	return theirs.value / ours.value
}

func (c *benchCase) aloneRatio(ours, theirs sample) float64 {
	if c.rate {
		return ours.alone / theirs.alone
	}
	return theirs.alone / ours.alone
}

// fastest returns the best sample of a side.
func (c *benchCase) fastest(samples []sample) sample {
	return slices.MaxFunc(samples, func(a, b sample) int {
		if c.rate {
			return cmp.Compare(a.value, b.value)
		}
		return cmp.Compare(b.value, a.value)
	})
}

// quartiles returns the median, and the values that the middle half lies between.
func quartiles(x []float64) (low, median, high float64) {
	return metrics.Quantile(x, 0.25), metrics.Quantile(x, 0.5), metrics.Quantile(x, 0.75)
}

func medianOf(samples []sample, of func(sample) float64) float64 {
	var x []float64
	for _, s := range samples {
		x = append(x, of(s))
	}
	return metrics.Quantile(x, 0.5)
}

func (s series) ratios(of func(ours, theirs sample) float64) []float64 {
	var out []float64
	for i := range s.ours {
		out = append(out, of(s.ours[i], s.theirs[i]))
	}
	return out
}
