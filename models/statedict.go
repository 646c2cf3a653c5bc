package models

import (
	"slices"

	"gorgonia.org/tensor"
)

// StateDict holds the values of parameters by name.
type StateDict map[string]*tensor.Dense

// Names returns the names in order.
func (d StateDict) Names() []string {
	names := make([]string, 0, len(d))
	for n := range d {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Count returns the number of values of all tensors together.
func (d StateDict) Count() int {
	n := 0
	for _, t := range d {
		n += t.Shape().TotalSize()
	}
	return n
}
