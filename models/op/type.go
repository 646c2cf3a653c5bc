package op

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// DType is the element type of a node.
type DType int

// The element types that operations work on. Labels and indices are Int64, the
// results of comparisons Bool. Only Float32 has gradients.
const (
	Float32 DType = iota
	Int64
	Int32
	Bool
)

var dtypes = [...]struct {
	name   string
	tensor tensor.Dtype
	onnx   onnx.DataType
}{
	Float32: {"float32", tensor.Float32, onnx.Float},
	Int64:   {"int64", tensor.Int64, onnx.Int64},
	Int32:   {"int32", tensor.Int32, onnx.Int32},
	Bool:    {"bool", tensor.Bool, onnx.Bool},
}

func (d DType) String() string { return dtypes[d].name }

// Tensor returns the element type of tensors of this type.
func (d DType) Tensor() tensor.Dtype { return dtypes[d].tensor }

// ONNX returns the element type in an ONNX file.
func (d DType) ONNX() onnx.DataType { return dtypes[d].onnx }

// DTypeOf returns the type of a tensor's elements. ok is false for a type that
// operations do not work on.
func DTypeOf(t *tensor.Dense) (d DType, ok bool) {
	for i, known := range dtypes {
		if t.Dtype() == known.tensor {
			return DType(i), true
		}
	}
	return 0, false
}

// Shape is the size of each axis and which axis, if any, is the batch.
type Shape struct {
	Dims  []int
	Batch int // index of the batch axis; -1 when no axis depends on the batch
}

// Dims returns a shape that does not depend on the batch. No sizes: a scalar.
func Dims(sizes ...int) Shape { return Shape{Dims: sizes, Batch: -1} }

// Batched returns a shape whose first axis is the batch.
func Batched(sizes ...int) Shape { return Shape{Dims: sizes, Batch: 0} }

// Size returns the number of elements.
func (s Shape) Size() int {
	n := 1
	for _, d := range s.Dims {
		n *= d
	}
	return n
}

// Equal reports whether both shapes have the same sizes and the same batch axis.
func (s Shape) Equal(t Shape) bool { return s.Batch == t.Batch && slices.Equal(s.Dims, t.Dims) }

func (s Shape) String() string {
	parts := make([]string, len(s.Dims))
	for i, d := range s.Dims {
		parts[i] = strconv.Itoa(d)
		if i == s.Batch {
			parts[i] = "N=" + parts[i]
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// Type is what a shape rule computes: element type and shape.
type Type struct {
	DType DType
	Shape
}

func (t Type) String() string { return t.DType.String() + t.Shape.String() }

// like returns a type with the element type of t and other sizes.
func (t Type) like(batch int, sizes ...int) Type {
	return Type{t.DType, Shape{sizes, batch}}
}

// axis turns a possibly negative axis into 0..rank-1.
func (s Shape) axis(a int) (int, error) {
	n := len(s.Dims)
	if a < -n || a >= n {
		return 0, fmt.Errorf("axis %d is outside the %d axes of %v", a, n, s)
	}
	if a < 0 {
		a += n
	}
	return a, nil
}

// broadcast returns the shape that NumPy's broadcasting gives for a and b.
func broadcast(a, b Shape) (Shape, error) {
	n := max(len(a.Dims), len(b.Dims))
	out := Shape{make([]int, n), -1}
	for i := range n {
		da, ia := fromRight(a, n, i)
		db, ib := fromRight(b, n, i)
		switch {
		case da == db || db == 1:
			out.Dims[i] = da
		case da == 1:
			out.Dims[i] = db
		default:
			return Shape{}, fmt.Errorf("%v and %v do not broadcast: axis %d has sizes %d and %d", a, b, i, da, db)
		}
		if ia || ib {
			out.Batch = i
		}
	}
	return out, nil
}

// fromRight returns the size of axis i of s once s is padded on the left to n
// axes, and whether it is the batch axis.
func fromRight(s Shape, n, i int) (size int, isBatch bool) {
	j := i - (n - len(s.Dims))
	if j < 0 {
		return 1, false
	}
	return s.Dims[j], j == s.Batch
}
