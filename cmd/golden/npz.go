package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sbinet/npyio/npz"
	"gorgonia.org/tensor"
)

// arrays are the arrays of an .npz file by name.
type arrays struct {
	path string
	r    *npz.Reader
}

func openArrays(path string) (*arrays, error) {
	r, err := npz.Open(path)
	if err != nil {
		return nil, err // names the file
	}
	return &arrays{path, r}, nil
}

func (a *arrays) Close() error { return a.r.Close() }

// names lists the arrays, in the order of the file.
func (a *arrays) names() []string {
	var out []string
	for _, k := range a.r.Keys() {
		out = append(out, strings.TrimSuffix(k, ".npy"))
	}
	return out
}

func (a *arrays) has(name string) bool { return slices.Contains(a.r.Keys(), name+".npy") }

// shape returns the sizes of an array, none for a scalar.
func (a *arrays) shape(name string) []int { return a.r.Header(name + ".npy").Descr.Shape }

// integer reports whether an array holds labels or indices.
func (a *arrays) integer(name string) bool {
	t := a.r.Header(name + ".npy").Descr.Type
	return strings.HasPrefix(t, "<i") || strings.HasPrefix(t, "|u") || strings.HasPrefix(t, "<u")
}

// floats reads an array of any element type as float64.
func (a *arrays) floats(name string) ([]float64, error) {
	if err := a.readable(name); err != nil {
		return nil, err
	}
	switch t := a.r.Header(name + ".npy").Descr.Type; t {
	case "<f8":
		return read[float64](a, name)
	case "<f4":
		return convert[float32, float64](a, name)
	case "<i8":
		return convert[int64, float64](a, name)
	case "<i4":
		return convert[int32, float64](a, name)
	case "<u2":
		return convert[uint16, float64](a, name)
	case "|u1":
		return convert[uint8, float64](a, name)
	default:
		return nil, fmt.Errorf("%s: %s: cannot read elements of type %q", a.path, name, t)
	}
}

// floats32 reads an array of any element type as float32.
func (a *arrays) floats32(name string) ([]float32, error) {
	v, err := a.floats(name)
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out, err
}

// ints reads labels or indices.
func (a *arrays) ints(name string) ([]int64, error) {
	if err := a.readable(name); err != nil {
		return nil, err
	}
	if a.r.Header(name+".npy").Descr.Type == "<i4" {
		return convert[int32, int64](a, name)
	}
	return read[int64](a, name)
}

// dense reads an array as a float32 tensor.
func (a *arrays) dense(name string) (*tensor.Dense, error) {
	v, err := a.floats32(name)
	if err != nil {
		return nil, err
	}
	return tensor.New(tensor.WithShape(a.shape(name)...), tensor.WithBacking(v)), nil
}

func (a *arrays) readable(name string) error {
	switch {
	case !a.has(name):
		return fmt.Errorf("%s has no array %q", a.path, name)
	case a.r.Header(name+".npy").Descr.Fortran && len(a.shape(name)) > 1:
		return fmt.Errorf("%s: %s is in Fortran order", a.path, name)
	}
	return nil
}

func read[T any](a *arrays, name string) ([]T, error) {
	var out []T
	if err := a.r.Read(name+".npy", &out); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", a.path, name, err)
	}
	return out, nil
}

func convert[From, To float32 | float64 | int64 | int32 | uint16 | uint8](a *arrays, name string) ([]To, error) {
	v, err := read[From](a, name)
	out := make([]To, len(v))
	for i, x := range v {
		out[i] = To(x)
	}
	return out, err
}
