package probe

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Fraction draws a share of labelled images, stratified: of each class that share,
// rounded, and one image at least. It returns their indices in rising order. The same
// seed gives the same images, and a smaller share a subset of a larger one's.
func Fraction(labels []int, share float64, seed uint64) ([]int, error) {
	if !(share > 0 && share <= 1) {
		return nil, fmt.Errorf("probe: a share of %g of the labels: want more than 0 and at most 1", share)
	}
	kept, _ := stratify(labels, share, seed)
	return kept, nil
}

// stratify splits images by class: a share of each, one at least, and the rest.
func stratify(labels []int, share float64, seed uint64) (part, rest []int) {
	byClass := map[int][]int{}
	order := rand.New(rand.NewPCG(seed, 11)).Perm(len(labels))
	for _, i := range order {
		byClass[labels[i]] = append(byClass[labels[i]], i)
	}
	for _, members := range byClass {
		k := max(1, int(share*float64(len(members))+0.5))
		part = append(part, members[:k]...)
		rest = append(rest, members[k:]...)
	}
	slices.Sort(part)
	slices.Sort(rest)
	return part, rest
}

// ErrNothingHeld is the error of Split where every class has one image only.
var ErrNothingHeld = errors.New("probe: each class has one image only: nothing can be held back")

// Split holds a share of each class back, drawn from seed. One image of each class at
// least stays in training; ErrNothingHeld says that all do.
func Split(labels []int, share float64, seed uint64) (train, held []int, err error) {
	held, train = stratify(labels, share, seed)
	seen := map[int]bool{}
	for _, i := range train {
		seen[labels[i]] = true
	}
	held = slices.DeleteFunc(held, func(i int) bool {
		alone := !seen[labels[i]]
		if alone { // the first of a class of which the share is all
			train, seen[labels[i]] = append(train, i), true
		}
		return alone
	})
	slices.Sort(train)
	if len(held) == 0 {
		return nil, nil, ErrNothingHeld
	}
	return train, held, nil
}

// rows picks rows of x: [N, dim].
func rows[T any](x []T, dim int, index []int) []T {
	out := make([]T, 0, len(index)*dim)
	for _, i := range index {
		out = append(out, x[i*dim:(i+1)*dim]...)
	}
	return out
}
