package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// A Tensor is a constant: an initialiser of a graph or the value of an attribute.
// Its data are in exactly one place: Raw (little endian, C order), one of the typed
// lists, or, when Location is External, a file named by External. Read them with
// Floats, Int64s, Strings or Bytes, which know all of these.
type Tensor struct {
	Name string
	Type DataType
	Dims []int64
	Doc  string

	Raw         []byte // nil when the data are elsewhere
	FloatData   []float32
	Int32Data   []int32 // also the types of 16 bits and less, one element each
	Int64Data   []int64
	DoubleData  []float64
	Uint64Data  []uint64 // also uint32
	StringsData [][]byte

	Location DataLocation
	External []StringEntry // keys location, offset, length, checksum
	Metadata []StringEntry

	wire
}

// DataLocation says where a tensor's data are.
type DataLocation int32

// The locations of TensorProto.
const (
	Inline   DataLocation = 0
	External DataLocation = 1
)

func (t *Tensor) visit(v *visitor) {
	if r, ok := v.detach[t]; ok {
		t = r.refer(t)
	}
	numbers(v, 1, "dims", &t.Dims, false, int64Scalar)
	integer(v, 2, "data_type", &t.Type, false)
	numbers(v, 4, "float_data", &t.FloatData, true, float32Scalar)
	numbers(v, 5, "int32_data", &t.Int32Data, true, int32Scalar)
	v.blobs(6, "string_data", &t.StringsData)
	numbers(v, 7, "int64_data", &t.Int64Data, true, int64Scalar)
	v.text(8, "name", &t.Name)
	v.blob(9, "raw_data", &t.Raw, false)
	numbers(v, 10, "double_data", &t.DoubleData, true, float64Scalar)
	numbers(v, 11, "uint64_data", &t.Uint64Data, true, uint64Scalar)
	v.text(12, "doc_string", &t.Doc)
	values(v, 13, "external_data", &t.External)
	integer(v, 14, "data_location", &t.Location, false)
	values(v, 16, "metadata_props", &t.Metadata)
}

// FloatTensor returns a float32 tensor that holds a copy of data. It panics when
// data and dims disagree in size, as do the other constructors.
func FloatTensor(name string, dims []int64, data []float32) *Tensor {
	raw := make([]byte, 0, 4*len(data))
	for _, x := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return rawTensor(name, Float, dims, raw, len(data))
}

// Int64Tensor returns an int64 tensor that holds a copy of data.
func Int64Tensor(name string, dims []int64, data []int64) *Tensor {
	raw := make([]byte, 0, 8*len(data))
	for _, x := range data {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	return rawTensor(name, Int64, dims, raw, len(data))
}

// Int32Tensor returns an int32 tensor that holds a copy of data.
func Int32Tensor(name string, dims []int64, data []int32) *Tensor {
	raw := make([]byte, 0, 4*len(data))
	for _, x := range data {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(x))
	}
	return rawTensor(name, Int32, dims, raw, len(data))
}

// Uint8Tensor returns a uint8 tensor that holds a copy of data.
func Uint8Tensor(name string, dims []int64, data []uint8) *Tensor {
	return rawTensor(name, Uint8, dims, append([]byte{}, data...), len(data))
}

// BoolTensor returns a bool tensor that holds a copy of data.
func BoolTensor(name string, dims []int64, data []bool) *Tensor {
	raw := make([]byte, len(data))
	for i, x := range data {
		if x {
			raw[i] = 1
		}
	}
	return rawTensor(name, Bool, dims, raw, len(data))
}

// StringTensor returns a tensor of strings.
func StringTensor(name string, dims []int64, data []string) *Tensor {
	t := rawTensor(name, String, dims, nil, len(data))
	for _, s := range data {
		t.StringsData = append(t.StringsData, []byte(s))
	}
	return t
}

func rawTensor(name string, typ DataType, dims []int64, raw []byte, n int) *Tensor {
	t := &Tensor{Name: name, Type: typ, Dims: append([]int64(nil), dims...), Raw: raw}
	if want, err := t.Elems(); err != nil || want != int64(n) {
		panic(fmt.Sprintf("onnx: tensor %q: %d values for shape %v", name, n, dims))
	}
	return t
}

// Elems returns the number of elements that Dims asks for, 1 for a scalar.
func (t *Tensor) Elems() (int64, error) {
	n := int64(1)
	for _, d := range t.Dims {
		if d < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", t.Dims)
		}
		if d > 0 && n > math.MaxInt64/128/d { // leave room for the widest type, in bits
			return 0, fmt.Errorf("shape %v is too large", t.Dims)
		}
		n *= d
	}
	return n, nil
}

// byteSize returns the size of the tensor's elements in little-endian C order.
func (t *Tensor) byteSize() (int64, error) {
	n, err := t.Elems()
	if err != nil {
		return 0, err
	}
	bits := t.Type.Bits()
	if bits == 0 {
		return 0, fmt.Errorf("elements of type %v have no fixed size", t.Type)
	}
	return (n*bits + 7) / 8, nil
}

var errExternal = errors.New("its data are in another file: read the model with ReadFile or call LoadExternal")

// storage checks that the tensor's data are in one place, fit its type, and are as
// many as its shape says.
func (t *Tensor) storage() error {
	if !t.Type.known() {
		return fmt.Errorf("has element type %v", t.Type)
	}
	if _, err := t.Elems(); err != nil {
		return err
	}
	places := 0
	for _, used := range []bool{t.Raw != nil, len(t.FloatData) > 0, len(t.Int32Data) > 0, len(t.Int64Data) > 0,
		len(t.DoubleData) > 0, len(t.Uint64Data) > 0, len(t.StringsData) > 0, t.Location == External} {
		if used {
			places++
		}
	}
	if places > 1 {
		return errors.New("has data in more than one place")
	}
	if t.Location == External {
		if _, err := t.reference(); err != nil {
			return fmt.Errorf("external data: %w", err)
		}
		return nil
	}
	want, err := t.typedLen()
	if err != nil {
		return err
	}
	var got int64
	switch {
	case t.Raw != nil && t.Type == String:
		return errors.New("holds strings as raw bytes")
	case t.Raw != nil:
		if want, err = t.byteSize(); err != nil {
			return err
		}
		if got = int64(len(t.Raw)); got != want {
			return fmt.Errorf("%v%v has %d bytes of data, want %d", t.Type, t.Dims, got, want)
		}
		return nil
	case t.Type == Float || t.Type == Complex64:
		got = int64(len(t.FloatData))
	case t.Type == Double || t.Type == Complex128:
		got = int64(len(t.DoubleData))
	case t.Type == Int64:
		got = int64(len(t.Int64Data))
	case t.Type == Uint32 || t.Type == Uint64:
		got = int64(len(t.Uint64Data))
	case t.Type == String:
		got = int64(len(t.StringsData))
	default:
		got = int64(len(t.Int32Data))
	}
	if got != want {
		return fmt.Errorf("%v%v has %d values, want %d", t.Type, t.Dims, got, want)
	}
	return nil
}

// typedLen returns how long the typed list must be that holds the data.
func (t *Tensor) typedLen() (int64, error) {
	n, err := t.Elems()
	if err != nil {
		return 0, err
	}
	switch bits := t.Type.Bits(); {
	case t.Type == Complex64 || t.Type == Complex128:
		return 2 * n, nil
	case bits > 0 && bits < 8: // several elements in each byte, one byte in each int32
		return (n*bits + 7) / 8, nil
	}
	return n, nil
}

// Bytes returns the elements in little-endian C order. The result may alias Raw.
func (t *Tensor) Bytes() ([]byte, error) {
	if t.Location == External {
		return nil, t.wrap(errExternal)
	}
	if err := t.storage(); err != nil {
		return nil, t.wrap(err)
	}
	if t.Raw != nil {
		return t.Raw, nil
	}
	size, err := t.byteSize()
	if err != nil {
		return nil, t.wrap(err)
	}
	b := make([]byte, 0, size)
	for _, x := range t.FloatData {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	for _, x := range t.DoubleData {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	for _, x := range t.Int64Data {
		b = binary.LittleEndian.AppendUint64(b, uint64(x))
	}
	for _, x := range t.Uint64Data {
		if t.Type == Uint32 {
			b = binary.LittleEndian.AppendUint32(b, uint32(x))
		} else {
			b = binary.LittleEndian.AppendUint64(b, x)
		}
	}
	for _, x := range t.Int32Data {
		switch t.Type.Bits() {
		case 32:
			b = binary.LittleEndian.AppendUint32(b, uint32(x))
		case 16:
			b = binary.LittleEndian.AppendUint16(b, uint16(x))
		default:
			b = append(b, byte(x))
		}
	}
	return b, nil
}

func (t *Tensor) wrap(err error) error {
	return fmt.Errorf("onnx: tensor %q: %w", t.Name, err)
}
