package engine

import (
	"context"
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/models/op"
)

// Tensors are values by name. Their element types are those of package op.
type Tensors map[string]*tensor.Dense

// Function is what a machine compiles.
type Function struct {
	Outputs []export.Output

	// Carry lists the parameters that a run replaces. All others keep the value
	// they were loaded with.
	Carry []Carry

	// LargeConstants says that constants are as large as what is computed. ONNX Runtime
	// then computes what depends on constants alone in each run, and keeps none of it.
	LargeConstants bool
}

// Carry says that after a run the parameter Param has the value of Next.
type Carry struct {
	Param, Next *op.Node
}

// Machine compiles functions.
type Machine interface {
	Name() string // "go" or "ort"
	Compile(f Function) (Program, error)
}

// Program is a compiled function and the values of its parameters. It is used by
// one goroutine at a time, and must be closed.
type Program interface {
	// Load sets the values of all parameters that the function reads. Tensors
	// that it does not know are ignored; the values are copied.
	Load(params Tensors) error

	// Run computes the outputs. The result may be overwritten by the next Run.
	Run(ctx context.Context, in Tensors) (Tensors, error)

	// State returns copies of the parameters' current values.
	State() Tensors

	// Values returns the current values themselves, which may be overwritten by the
	// next Run or Load and must not be changed.
	Values() Tensors

	// Before returns copies of their values before the last Run.
	Before() Tensors

	Close() error
}

// signature is what both machines need to know of a function.
type signature struct {
	Function
	inputs, params []*op.Node // in the order in which they were made
	next           map[*op.Node]*op.Node
}

func newSignature(f Function) (signature, error) {
	s := signature{Function: f, next: map[*op.Node]*op.Node{}}
	roots := make([]*op.Node, 0, len(f.Outputs)+len(f.Carry))
	for _, o := range f.Outputs {
		if o.Node == nil {
			return s, fmt.Errorf("engine: output %q has no node", o.Name)
		}
		roots = append(roots, o.Node)
	}
	for _, c := range f.Carry {
		if c.Param == nil || c.Next == nil || c.Param.Kind != op.Param {
			return s, fmt.Errorf("engine: cannot carry %v to %v: want a parameter and its next value", c.Next, c.Param)
		}
		if c.Param.DType != c.Next.DType || !slices.Equal(c.Param.Dims, c.Next.Dims) {
			return s, fmt.Errorf("engine: parameter %q is %v, its next value %v", c.Param.Name, c.Param.Type, c.Next.Type)
		}
		s.next[c.Param] = c.Next
		roots = append(roots, c.Param, c.Next)
	}
	if len(roots) == 0 {
		return s, fmt.Errorf("engine: a function without outputs")
	}
	if err := roots[0].Graph().Err(); err != nil {
		return s, err
	}
	for _, n := range op.Reachable(roots...) {
		switch n.Kind {
		case op.Input:
			s.inputs = append(s.inputs, n)
		case op.Param:
			s.params = append(s.params, n)
		}
	}
	names := map[string]bool{}
	for _, o := range f.Outputs {
		if names[o.Name] || s.leaf(o.Name) != nil {
			return s, fmt.Errorf("engine: the name of output %q is taken by another output, an input or a parameter", o.Name)
		}
		names[o.Name] = true
	}
	return s, nil
}

// roots returns the nodes of the outputs and of the carried parameters.
func (s signature) roots() []*op.Node {
	var roots []*op.Node
	for _, o := range s.Outputs {
		roots = append(roots, o.Node)
	}
	for _, c := range s.Carry {
		roots = append(roots, c.Next)
	}
	return roots
}

// leaf returns the input or parameter with this name, nil if there is none.
func (s signature) leaf(name string) *op.Node {
	for _, n := range slices.Concat(s.inputs, s.params) {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// value returns the tensor for a leaf after checking its type and shape.
func value(what string, n *op.Node, from Tensors) (*tensor.Dense, error) {
	v := from[n.Name]
	if v == nil {
		return nil, fmt.Errorf("engine: %s %q: no value given, want %v", what, n.Name, n.Type)
	}
	if v.Dtype() != n.DType.Tensor() || !slices.Equal([]int(v.Shape()), n.Dims) {
		return nil, fmt.Errorf("engine: %s %q: got %v%v, want %v", what, n.Name, v.Dtype(), v.Shape(), n.Type)
	}
	return v, nil
}

func clone(v *tensor.Dense) *tensor.Dense { return v.Clone().(*tensor.Dense) }

func clones(values Tensors) Tensors {
	out := Tensors{}
	for name, v := range values {
		out[name] = clone(v)
	}
	return out
}

// NewTensor returns a tensor over data. It panics when the sizes do not fit.
func NewTensor[T float32 | int64 | int32 | bool](data []T, sizes ...int) *tensor.Dense {
	return tensor.New(tensor.WithShape(sizes...), tensor.WithBacking(data))
}
