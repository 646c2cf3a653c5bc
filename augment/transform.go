package augment

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
)

// A Transform is one step of a [Policy]. Apply draws its parameters from r and returns the result: m
// itself, changed in place or not, or another image that shares no memory with m. s lends memory for
// it and may be nil. The transforms of this package have torchvision's names and arguments, and those
// of a policy file; most have a Draw method, which draws the parameters without touching pixels.
type Transform interface {
	Apply(m *Image, r *rand.Rand, s *Scratch) *Image
}

// Policy is a list of transforms, applied in order.
type Policy []Transform

// Apply returns an augmented view of m, drawn from r. m itself is left as it is.
func (p Policy) Apply(m *Image, r *rand.Rand) *Image { return p.view(m, r, nil) }

// view is Apply with the memory of s, to which the result is to be released.
func (p Policy) view(m *Image, r *rand.Rand, s *Scratch) *Image {
	if len(p) == 0 || !alwaysNew(p[0]) {
		return p.run(s.copyOf(m), r, s)
	}
	return p.run(m, r, s)
}

// run applies the transforms to m, which may change.
func (p Policy) run(m *Image, r *rand.Rand, s *Scratch) *Image {
	for _, t := range p {
		next := t.Apply(m, r, s)
		if next != m {
			s.Release(m)
		}
		m = next
	}
	return m
}

// alwaysNew reports whether t never changes, nor returns, its argument: then a view needs no copy.
func alwaysNew(t Transform) bool {
	switch t.(type) {
	case RandomResizedCrop, RandomCrop, Resized, CenterCrop, Pad:
		return true
	}
	return false
}

// RandomApply applies a list of transforms, all or none of it, with probability P.
type RandomApply struct {
	Transforms Policy  `arg:"transforms,required"`
	P          float64 `arg:"p"`
}

// Apply implements [Transform].
func (t RandomApply) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	if r.Float64() < t.P {
		return t.Transforms.run(m, r, s)
	}
	return m
}

func (t RandomApply) check() error { return checkP(t.P) }

// RandomChoice applies one of its transforms; P gives their shares, nil equal ones.
type RandomChoice struct {
	Transforms Policy    `arg:"transforms,required"`
	P          []float64 `arg:"p"`
}

// Draw returns the place of the transform that is applied.
func (t RandomChoice) Draw(r *rand.Rand) int {
	if t.P == nil {
		return r.IntN(len(t.Transforms))
	}
	total := 0.0
	for _, p := range t.P {
		total += p
	}
	at := r.Float64() * total
	for i, p := range t.P {
		if at -= p; at < 0 {
			return i
		}
	}
	return len(t.P) - 1
}

// Apply implements [Transform].
func (t RandomChoice) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	return t.Transforms[t.Draw(r)].Apply(m, r, s)
}

func (t RandomChoice) check() error {
	if len(t.Transforms) == 0 {
		return errors.New("transforms: got none, want one or more")
	}
	if t.P == nil {
		return nil
	}
	if len(t.P) != len(t.Transforms) {
		return fmt.Errorf("p: got %d shares for %d transforms", len(t.P), len(t.Transforms))
	}
	total := 0.0
	for _, p := range t.P {
		if !(p >= 0) {
			return fmt.Errorf("p: got %g, want shares of 0 or more", p)
		}
		total += p
	}
	if !(total > 0) {
		return errors.New("p: got no share above 0")
	}
	return nil
}

// RandomOrder applies all its transforms, in random order.
type RandomOrder struct {
	Transforms Policy `arg:"transforms,required"`
}

// Apply implements [Transform].
func (t RandomOrder) Apply(m *Image, r *rand.Rand, s *Scratch) *Image {
	var fixed [16]int
	order := fixed[:0]
	for i := range t.Transforms {
		order = append(order, i)
	}
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, i := range order {
		m = t.Transforms[i:i+1].run(m, r, s)
	}
	return m
}

func uniform(r *rand.Rand, lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }

// The checks below are of arguments in a policy file; each names what is wrong.

func checkP(p float64) error {
	if !(p >= 0 && p <= 1) {
		return fmt.Errorf("p: got %g, want a probability, 0 to 1", p)
	}
	return nil
}

func checkRange(name string, v [2]float64, lo, hi float64) error {
	if !(v[0] >= lo && v[1] <= hi && v[0] <= v[1]) {
		return fmt.Errorf("%s: got [%g, %g], want two numbers from %g to %g, the smaller first", name, v[0], v[1], lo, hi)
	}
	return nil
}

func checkOneOf[T comparable](name string, v T, choices ...T) error {
	if slices.Contains(choices, v) {
		return nil
	}
	return fmt.Errorf("%s: got %v, want one of %v", name, v, choices)
}
