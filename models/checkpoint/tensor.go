package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/sslrt/sslrt/models/onnx"
)

// DType is the type of a tensor's elements, by PyTorch's name: "float32",
// "bfloat16", "int64".
type DType string

// dtypes are the element types with their sizes in bytes. Those with a type of
// models/onnx can be read; of the others, a file's listing says that they are there.
var dtypes = map[DType]struct {
	size int
	onnx onnx.DataType
}{
	"float64": {8, onnx.Double}, "float32": {4, onnx.Float}, "float16": {2, onnx.Float16}, "bfloat16": {2, onnx.BFloat16},
	"int64": {8, onnx.Int64}, "int32": {4, onnx.Int32}, "int16": {2, onnx.Int16}, "int8": {1, onnx.Int8},
	"uint64": {8, onnx.Uint64}, "uint32": {4, onnx.Uint32}, "uint16": {2, onnx.Uint16}, "uint8": {1, onnx.Uint8},
	"bool":      {1, onnx.Bool},
	"complex64": {8, 0}, "complex128": {16, 0},
	"qint8": {1, 0}, "quint8": {1, 0}, "qint32": {4, 0},
	"float8_e4m3fn": {1, 0}, "float8_e5m2": {1, 0}, "float8_e4m3fnuz": {1, 0}, "float8_e5m2fnuz": {1, 0},
}

// Float reports whether the elements are floating-point numbers.
func (d DType) Float() bool {
	return d == "float64" || d == "float32" || d == "float16" || d == "bfloat16"
}

// Tensor is a tensor of a file. Its values are read when they are asked for.
type Tensor struct {
	Name  string // in the file, with the dictionaries it lies in: "state_dict.encoder.conv1.weight"
	DType DType
	Shape []int

	// It is a view of a storage, which others may share: element i, j is number
	// offset + i*stride[0] + j*stride[1] of the storage.
	storage *storage
	offset  int
	stride  []int
}

// storage is a run of elements in a file.
type storage struct {
	key   string
	dtype DType
	count int // elements
	read  func() ([]byte, error)
	big   bool // big endian
}

// Len returns the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// extra is what a tensor whose elements share memory may take beyond the size of
// its file.
const extra = 64 << 20

// newTensor checks that a view lies within its storage. file is the size of the
// file in bytes.
func newTensor(s *storage, offset int, shape, stride []int, file int64) (*Tensor, error) {
	if len(shape) != len(stride) {
		return nil, fmt.Errorf("a tensor of sizes %v has strides %v", shape, stride)
	}
	if offset < 0 {
		return nil, fmt.Errorf("a tensor starts at element %d", offset)
	}
	elems, last, most := 1, offset, int(file)+extra
	for i, d := range shape {
		if d < 0 || stride[i] < 0 {
			return nil, fmt.Errorf("a tensor of sizes %v has strides %v: both must not be negative", shape, stride)
		}
		if d > 0 && elems > most/d {
			return nil, fmt.Errorf("a tensor of sizes %v needs more memory than its file of %d bytes can fill", shape, file)
		}
		elems *= d
		if d > 1 {
			if stride[i] > (math.MaxInt-last)/(d-1) {
				return nil, fmt.Errorf("a tensor of sizes %v and strides %v reaches beyond its storage", shape, stride)
			}
			last += (d - 1) * stride[i]
		}
	}
	if elems > 0 && last >= s.count {
		return nil, fmt.Errorf("a tensor of sizes %v, strides %v and offset %d needs %d elements, and its storage %q has %d",
			shape, stride, offset, last+1, s.key, s.count)
	}
	if elems > most/max(1, dtypes[s.dtype].size) {
		return nil, fmt.Errorf("a tensor of sizes %v needs more memory than its file of %d bytes can fill", shape, file)
	}
	return &Tensor{DType: s.dtype, Shape: slices.Clone(shape), storage: s, offset: offset, stride: slices.Clone(stride)}, nil
}

// contiguous returns the strides of a tensor in C order.
func contiguous(shape []int) []int {
	stride, n := make([]int, len(shape)), 1
	for i := len(shape) - 1; i >= 0; i-- {
		stride[i] = n
		n *= max(1, shape[i])
	}
	return stride
}

// Floats returns the values of a floating-point tensor in C order. NaN and
// infinity are values like others.
func (t *Tensor) Floats() ([]float32, error) {
	if !t.DType.Float() {
		return nil, fmt.Errorf("checkpoint: tensor %q: it is %s, want floating point", t.Name, t.DType)
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: tensor %q: %w", t.Name, err)
	}
	out := make([]float32, 0, t.Len())
	err = t.pieces(raw, func(p *onnx.Tensor) error {
		v, err := p.Floats()
		out = append(out, v...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("checkpoint: tensor %q: %w", t.Name, err)
	}
	return out, nil
}

// Ints returns the values of an integer or boolean tensor in C order.
func (t *Tensor) Ints() ([]int64, error) {
	if t.DType.Float() || dtypes[t.DType].onnx == 0 {
		return nil, fmt.Errorf("checkpoint: tensor %q: it is %s, want integers", t.Name, t.DType)
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: tensor %q: %w", t.Name, err)
	}
	out := make([]int64, 0, t.Len())
	err = t.pieces(raw, func(p *onnx.Tensor) error {
		v, err := p.Int64s()
		out = append(out, v...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("checkpoint: tensor %q: %w", t.Name, err)
	}
	return out, nil
}

// pieces converts little-endian bytes a piece at a time, so that the converted
// values are the only copy.
func (t *Tensor) pieces(raw []byte, convert func(*onnx.Tensor) error) error {
	const chunk = 1 << 16 // bytes, a multiple of every size
	d := dtypes[t.DType]
	for part := range slices.Chunk(raw, chunk) {
		p := &onnx.Tensor{Name: t.Name, Type: d.onnx, Dims: []int64{int64(len(part) / d.size)}, Raw: part}
		if err := convert(p); err != nil {
			return err
		}
	}
	return nil
}

// Bytes returns the elements in C order, little endian, in their own type. It must
// not be changed: it may be the storage itself.
func (t *Tensor) Bytes() ([]byte, error) {
	if t.Len() == 0 {
		return nil, nil
	}
	if dtypes[t.DType].onnx == 0 {
		return nil, fmt.Errorf("elements of type %s cannot be read", t.DType)
	}
	raw, err := t.storage.read()
	if err != nil {
		return nil, err
	}
	size := dtypes[t.DType].size
	if len(raw) < t.storage.count*size {
		return nil, errors.New("its storage is cut short")
	}
	if slices.Equal(t.stride, contiguous(t.Shape)) || t.Len() == 1 {
		raw = raw[t.offset*size : (t.offset+t.Len())*size]
	} else {
		raw = t.gather(raw, size)
	}
	if t.storage.big && size > 1 {
		return swapped(raw, size), nil
	}
	return raw, nil
}

// gather copies a strided view.
func (t *Tensor) gather(raw []byte, size int) []byte {
	out := make([]byte, 0, t.Len()*size)
	index, at := make([]int, len(t.Shape)), t.offset
	for range t.Len() {
		out = append(out, raw[at*size:(at+1)*size]...)
		for d := len(index) - 1; d >= 0; d-- {
			index[d]++
			at += t.stride[d]
			if index[d] < t.Shape[d] {
				break
			}
			at -= index[d] * t.stride[d]
			index[d] = 0
		}
	}
	return out
}

// swapped returns elements of size bytes in the other byte order.
func swapped(raw []byte, size int) []byte {
	out := make([]byte, len(raw))
	for i := 0; i+size <= len(raw); i += size {
		switch size {
		case 2:
			binary.LittleEndian.PutUint16(out[i:], binary.BigEndian.Uint16(raw[i:]))
		case 4:
			binary.LittleEndian.PutUint32(out[i:], binary.BigEndian.Uint32(raw[i:]))
		default:
			binary.LittleEndian.PutUint64(out[i:], binary.BigEndian.Uint64(raw[i:]))
		}
	}
	return out
}
