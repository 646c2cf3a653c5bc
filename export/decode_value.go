package export

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// value is what a name of the file stands for: a node of the graph, a constant,
// which becomes a node when it is first used as data, or an initialiser that may be
// trained.
type value struct {
	node     *op.Node
	constant *constant
	param    *onnx.Tensor

	// shadow is what the constant would be with one image more in the batch, nil
	// where that makes no difference. It tells which sizes depend on the batch.
	shadow *constant
}

func (v value) defined() bool { return v.node != nil || v.constant != nil || v.param != nil }

// constant is a value that is known when the model is decoded. Unlike a node it may
// have no elements at all, as lists of sizes do.
type constant struct {
	dtype op.DType
	dims  []int
	dense *tensor.Dense // nil without elements

	// wide marks float64, rounded: only Cast and Identity take it.
	wide bool
}

// ZeroSize is the error for a tensor without elements where one is data.
type ZeroSize struct{ Dims []int }

func (e *ZeroSize) Error() string {
	return fmt.Sprintf("a tensor of shape %v has no elements, which is not supported", e.Dims)
}

// Unbound is the error for a value that must be known when the model is decoded and
// depends on inputs that are not.
type Unbound struct{ Inputs []string }

func (e *Unbound) Error() string {
	return fmt.Sprintf("is computed while the model runs, which is not supported: give the value of the inputs %q", e.Inputs)
}

// dtype returns the element type of the graph for one of ONNX.
func (d *decoder) dtype(t onnx.DataType) (op.DType, error) { return elementType(t, d.half) }

func elementType(t onnx.DataType, half bool) (op.DType, error) {
	switch t {
	case onnx.Float:
		return op.Float32, nil
	case onnx.Int64:
		return op.Int64, nil
	case onnx.Int32:
		return op.Int32, nil
	case onnx.Bool:
		return op.Bool, nil
	case onnx.Float16:
		if half {
			return op.Float32, nil
		}
	}
	return 0, fmt.Errorf("element type %v is not supported", t)
}

// initial is the value of an initialiser: a parameter if it is floating-point.
func (d *decoder) initial(t *onnx.Tensor) value {
	if t.Type == onnx.Float || t.Type == onnx.Float16 && d.half {
		return value{param: t}
	}
	c, err := d.constant(t)
	if err != nil {
		return value{param: t} // reported when it is used
	}
	return value{constant: c}
}

// constant reads a tensor of the file.
func (d *decoder) constant(t *onnx.Tensor) (*constant, error) {
	dims := make([]int, len(t.Dims))
	for i, n := range t.Dims {
		if n > maxElements {
			return nil, fmt.Errorf("%q of shape %v is too large", t.Name, t.Dims)
		}
		dims[i] = int(n)
	}
	c := &constant{dims: dims, wide: t.Type == onnx.Double}
	if !c.wide {
		var err error
		if c.dtype, err = d.dtype(t.Type); err != nil {
			return nil, fmt.Errorf("%q: %w", t.Name, err)
		}
	}
	switch c.dtype {
	case op.Float32:
		v, err := t.Floats()
		return fill(c, v), err
	case op.Int64:
		v, err := t.Int64s()
		return fill(c, v), err
	case op.Int32:
		v, err := t.Int64s()
		return fill(c, convert(v, func(x int64) int32 { return int32(x) })), err
	}
	v, err := t.Int64s()
	return fill(c, convert(v, func(x int64) bool { return x != 0 })), err
}

func fill[T float32 | int64 | int32 | bool](c *constant, v []T) *constant {
	if len(v) > 0 {
		c.dense = tensor.New(tensor.WithShape(c.dims...), tensor.WithBacking(v))
	}
	return c
}

func convert[T, R any](x []T, f func(T) R) []R {
	y := make([]R, len(x))
	for i, v := range x {
		y[i] = f(v)
	}
	return y
}

// integers is a constant list.
func integers(v []int64) *constant {
	return fill(&constant{dtype: op.Int64, dims: []int{len(v)}}, v)
}

// ints returns the elements of a constant of integers.
func (c *constant) ints() ([]int64, error) {
	switch {
	case c.dtype != op.Int64 && c.dtype != op.Int32:
		return nil, fmt.Errorf("is %v, want integers", c.dtype)
	case c.dense == nil:
		return nil, nil
	case c.dtype == op.Int32:
		return convert(c.dense.Int32s(), func(x int32) int64 { return int64(x) }), nil
	}
	return c.dense.Int64s(), nil
}

// same tells whether two constants are alike.
func (c *constant) same(o *constant) bool {
	if c.dtype != o.dtype || !slices.Equal(c.dims, o.dims) {
		return false
	}
	if c.dense == nil {
		return true
	}
	switch c.dtype {
	case op.Int64:
		return slices.Equal(c.dense.Int64s(), o.dense.Int64s())
	case op.Int32:
		return slices.Equal(c.dense.Int32s(), o.dense.Int32s())
	case op.Bool:
		return slices.Equal(c.dense.Bools(), o.dense.Bools())
	}
	return slices.EqualFunc(c.dense.Float32s(), o.dense.Float32s(), sameBits)
}

// uniform returns the one element that the constant repeats, nil if there are two.
func (c *constant) uniform() *constant {
	if c.dense == nil {
		return nil
	}
	one := &constant{dtype: c.dtype}
	ok := false
	switch c.dtype {
	case op.Int64:
		one, ok = repeated(one, c.dense.Int64s())
	case op.Int32:
		one, ok = repeated(one, c.dense.Int32s())
	case op.Bool:
		one, ok = repeated(one, c.dense.Bools())
	default:
		one, ok = repeated(one, c.dense.Float32s())
	}
	if !ok {
		return nil
	}
	return one
}

func repeated[T float32 | int64 | int32 | bool](to *constant, v []T) (*constant, bool) {
	for _, x := range v[1:] {
		if x != v[0] {
			return nil, false
		}
	}
	to.dense = tensor.New(tensor.FromScalar(v[0]))
	return fill(to, v[:1:1]), true
}

// maxElements bounds the values that a file can ask for, far above what fits a
// machine and far below where sizes overflow: 2^40, or 2^30 where an int has 32 bits.
const maxElements = 1 << (20 + 10*(strconv.IntSize/32))

func sizeFits(s op.Shape) error {
	n := 1
	for _, d := range s.Dims {
		if d > maxElements/n {
			return fmt.Errorf("a value of shape %v is too large", s)
		}
		n *= max(d, 1)
	}
	return nil
}

// data returns the node for a name of the file.
func (d *decoder) data(name string) (*op.Node, error) {
	v, ok := d.values[name]
	if !ok {
		return nil, fmt.Errorf("%q is given by no node", name)
	}
	if v.node != nil {
		return v.node, nil
	}
	var err error
	if v.param != nil {
		v.node, err = d.parameter(v.param)
	} else {
		v.node, err = d.known1(v)
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	if v.node == nil {
		return nil, d.graph.Err()
	}
	d.values[name] = v
	return v.node, nil
}

func (d *decoder) parameter(t *onnx.Tensor) (*op.Node, error) {
	c, err := d.constant(t)
	if err != nil {
		return nil, err
	}
	if c.dense == nil {
		return nil, &ZeroSize{c.dims}
	}
	return d.param(t, c.dims, c.dense.Float32s()), nil
}

var errBatch = errors.New("depends on the size of the batch: give the model's inputs shapes without a batch axis")

// known1 makes a constant a node. One whose shape depends on the batch can be one
// if all its elements are alike, as those of ConstantOfShape are.
func (d *decoder) known1(v value) (*op.Node, error) {
	c := v.constant
	switch {
	case c.wide:
		return nil, fmt.Errorf("element type float64 is not supported")
	case c.dense == nil:
		return nil, &ZeroSize{c.dims}
	case v.shadow == nil:
		return d.graph.ConstOf(c.dense), nil
	}
	one := c.uniform()
	to, err := d.open(c.dims, v.shadow.dims)
	if err != nil || to.Batch < 0 || one == nil || d.like == nil {
		return nil, errBatch
	}
	if other := v.shadow.uniform(); other == nil || !one.same(other) {
		return nil, errBatch
	}
	return op.Expand(d.graph.ConstOf(one.dense), to, d.like), nil
}

// open returns the shape whose batch axis is where sizes differ from what they would
// be with one image more.
func (d *decoder) open(sizes, shadow []int) (op.Shape, error) {
	s := op.Dims(sizes...)
	for i := range sizes {
		if sizes[i] == shadow[i] {
			continue
		}
		if s.Batch >= 0 {
			return s, fmt.Errorf("two axes of %v depend on the batch", sizes)
		}
		if sizes[i]%d.batch != 0 || sizes[i]/d.batch*(d.batch+1) != shadow[i] {
			return s, fmt.Errorf("axis %d of %v is no multiple of the batch, but depends on it", i, sizes)
		}
		s.Batch = i
	}
	return s, nil
}

// shadowDims returns the sizes that x would have with one image more.
func (d *decoder) shadowDims(x *op.Node) []int {
	dims := slices.Clone(x.Dims)
	if x.Batch >= 0 && d.batch > 0 {
		dims[x.Batch] = dims[x.Batch] / d.batch * (d.batch + 1)
	}
	return dims
}

const maxInt = math.MaxInt32
