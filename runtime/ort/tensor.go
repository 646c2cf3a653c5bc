package ort

import (
	"fmt"
	"runtime"
	"slices"
	"sync"

	ortgo "github.com/yalue/onnxruntime_go"
)

// Type is the element type of a tensor.
type Type int

// The element types with a Go type of their own. Others (float16, strings) are
// reported as Invalid and cannot be bound.
const (
	Invalid Type = iota
	Float32
	Float64
	Int8
	Int16
	Int32
	Int64
	Uint8
	Uint16
	Uint32
	Uint64
	Bool
)

var typeNames = [...]string{"invalid", "float32", "float64", "int8", "int16", "int32", "int64",
	"uint8", "uint16", "uint32", "uint64", "bool"}

// String returns the Go name of the element type.
func (t Type) String() string {
	if t < 0 || int(t) >= len(typeNames) {
		return fmt.Sprintf("Type(%d)", int(t))
	}
	return typeNames[t]
}

// Element is a Go type that a tensor can hold.
type Element interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | bool
}

// TypeOf returns the element type for T.
func TypeOf[T Element]() Type {
	switch any(*new(T)).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case int8:
		return Int8
	case int16:
		return Int16
	case int32:
		return Int32
	case int64:
		return Int64
	case uint8:
		return Uint8
	case uint16:
		return Uint16
	case uint32:
		return Uint32
	case uint64:
		return Uint64
	}
	return Bool
}

// fromORT translates the library's element type.
func fromORT(t ortgo.TensorElementDataType) Type {
	switch t {
	case ortgo.TensorElementDataTypeFloat:
		return Float32
	case ortgo.TensorElementDataTypeDouble:
		return Float64
	case ortgo.TensorElementDataTypeInt8:
		return Int8
	case ortgo.TensorElementDataTypeInt16:
		return Int16
	case ortgo.TensorElementDataTypeInt32:
		return Int32
	case ortgo.TensorElementDataTypeInt64:
		return Int64
	case ortgo.TensorElementDataTypeUint8:
		return Uint8
	case ortgo.TensorElementDataTypeUint16:
		return Uint16
	case ortgo.TensorElementDataTypeUint32:
		return Uint32
	case ortgo.TensorElementDataTypeUint64:
		return Uint64
	case ortgo.TensorElementDataTypeBool:
		return Bool
	}
	return Invalid
}

// Tensor is a Go slice with a shape, bound to ONNX Runtime without a copy: a run
// reads from and writes to the slice itself. It needs no Close; what the library
// holds for it is freed when the Tensor is garbage.
type Tensor struct {
	shape []int
	data  buffer

	once  sync.Once
	value ortgo.Value // made at first use, so that a Tensor may exist before the library is loaded
	err   error
}

// buffer is a typed slice behind a Tensor.
type buffer interface {
	elemType() Type
	value(shape []int64) (ortgo.Value, error)
	scalar() (ortgo.Value, error)
	readScalar(ortgo.Value)
}

// slice implements buffer.
type slice[T Element] []T

func (s slice[T]) elemType() Type { return TypeOf[T]() }

func (s slice[T]) value(shape []int64) (ortgo.Value, error) {
	return ortgo.NewTensor(ortgo.NewShape(shape...), []T(s))
}

func (s slice[T]) scalar() (ortgo.Value, error) { return ortgo.NewScalar(s[0]) }

func (s slice[T]) readScalar(v ortgo.Value) { s[0] = v.(*ortgo.Scalar[T]).GetData() }

// NewTensor returns a tensor over data, which it keeps. An empty shape is a
// scalar with one element. The error says when the shape is negative or does
// not have len(data) elements.
func NewTensor[T Element](shape []int, data []T) (*Tensor, error) {
	n, err := elements(shape)
	if err != nil {
		return nil, err
	}
	if n != len(data) {
		return nil, fmt.Errorf("ort: tensor of shape %v: got %d elements, want %d", shape, len(data), n)
	}
	return &Tensor{shape: slices.Clone(shape), data: slice[T](data)}, nil
}

// elements returns the number of elements of a shape.
func elements(shape []int) (int, error) {
	n := 1
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("ort: tensor of shape %v: negative size", shape)
		}
		if d > 0 && n > int(^uint(0)>>1)/d {
			return 0, fmt.Errorf("ort: tensor of shape %v: too large", shape)
		}
		n *= d
	}
	return n, nil
}

// Shape returns the sizes, outermost first; empty for a scalar. Do not modify it.
func (t *Tensor) Shape() []int { return t.shape }

// Type returns the element type.
func (t *Tensor) Type() Type { return t.data.elemType() }

// Data returns the slice behind t, in C order. The error names both types when T
// is not the tensor's element type.
func Data[T Element](t *Tensor) ([]T, error) {
	s, ok := t.data.(slice[T])
	if !ok {
		return nil, fmt.Errorf("ort: data of a %v tensor: asked for %v", t.Type(), TypeOf[T]())
	}
	return s, nil
}

// bind returns the library's view of t. The caller destroys it after the run if
// owned is true.
//
// The bindings cannot put a scalar over memory of the caller, so a scalar is
// copied: into a new value here, back by readScalar after the run.
func (t *Tensor) bind() (v ortgo.Value, owned bool, err error) {
	if len(t.shape) == 0 {
		v, err = t.data.scalar()
		return v, true, err
	}
	t.once.Do(func() {
		dims := make([]int64, len(t.shape))
		for i, d := range t.shape {
			dims[i] = int64(d)
		}
		t.value, t.err = t.data.value(dims)
		if t.err == nil {
			runtime.AddCleanup(t, func(v ortgo.Value) { v.Destroy() }, t.value)
		}
	})
	return t.value, false, t.err
}

// newTensorOf allocates a tensor of the given type.
func newTensorOf(typ Type, shape []int) (*Tensor, error) {
	n, err := elements(shape)
	if err != nil {
		return nil, err
	}
	switch typ {
	case Float32:
		return NewTensor(shape, make([]float32, n))
	case Float64:
		return NewTensor(shape, make([]float64, n))
	case Int8:
		return NewTensor(shape, make([]int8, n))
	case Int16:
		return NewTensor(shape, make([]int16, n))
	case Int32:
		return NewTensor(shape, make([]int32, n))
	case Int64:
		return NewTensor(shape, make([]int64, n))
	case Uint8:
		return NewTensor(shape, make([]uint8, n))
	case Uint16:
		return NewTensor(shape, make([]uint16, n))
	case Uint32:
		return NewTensor(shape, make([]uint32, n))
	case Uint64:
		return NewTensor(shape, make([]uint64, n))
	case Bool:
		return NewTensor(shape, make([]bool, n))
	}
	return nil, fmt.Errorf("ort: tensor of type %v is not supported", typ)
}

// fromValue wraps an output that the library allocated (and the bindings copied
// to Go memory).
func fromValue(v ortgo.Value) (*Tensor, error) {
	dims := v.GetShape()
	shape := make([]int, len(dims))
	for i, d := range dims {
		shape[i] = int(d)
	}
	switch v := v.(type) {
	case *ortgo.Tensor[float32]:
		return adopt(shape, v)
	case *ortgo.Tensor[float64]:
		return adopt(shape, v)
	case *ortgo.Tensor[int8]:
		return adopt(shape, v)
	case *ortgo.Tensor[int16]:
		return adopt(shape, v)
	case *ortgo.Tensor[int32]:
		return adopt(shape, v)
	case *ortgo.Tensor[int64]:
		return adopt(shape, v)
	case *ortgo.Tensor[uint8]:
		return adopt(shape, v)
	case *ortgo.Tensor[uint16]:
		return adopt(shape, v)
	case *ortgo.Tensor[uint32]:
		return adopt(shape, v)
	case *ortgo.Tensor[uint64]:
		return adopt(shape, v)
	case *ortgo.Tensor[bool]:
		return adopt(shape, v)
	}
	return nil, fmt.Errorf("is a %v, want a tensor of numbers", v.GetONNXType())
}

func adopt[T Element](shape []int, v *ortgo.Tensor[T]) (*Tensor, error) {
	data := v.GetData()
	v.Destroy()
	return NewTensor(shape, data)
}
