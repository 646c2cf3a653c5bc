package onnx

import "slices"

// A ValueInfo names a value and gives its type and shape.
type ValueInfo struct {
	Name string
	Type DataType // Undefined when the value is not a tensor
	// Dims is the shape of a tensor: nil when not even the rank is known, empty
	// for a scalar.
	Dims     []Dim
	Doc      string
	Metadata []StringEntry

	// typ is the type as it stood in the file. It is written again while Type and
	// Dims say the same, which keeps what they cannot say: sequences, maps and
	// optional values, denotations.
	typ []byte
	wire
}

// A Dim is one dimension of a shape: a name ("N") when Param is set, else the size
// Value, else, when that is negative, unknown.
type Dim struct {
	Value int64
	Param string
}

// Fixed returns a dimension of a known size.
func Fixed(n int64) Dim { return Dim{Value: n} }

// Symbol returns a dimension of a size that is open until the model runs.
func Symbol(name string) Dim { return Dim{Param: name} }

// TensorInfo describes a tensor value. Without dims it is a scalar.
func TensorInfo(name string, t DataType, dims ...Dim) *ValueInfo {
	if dims == nil {
		dims = []Dim{}
	}
	return &ValueInfo{Name: name, Type: t, Dims: dims}
}

// HasType reports whether the value's type is stated, be it a tensor or not.
func (i *ValueInfo) HasType() bool {
	return i.Type != Undefined || len(i.typ) > 0
}

func (i *ValueInfo) visit(v *visitor) {
	v.text(1, "name", &i.Name)
	if !v.reading {
		typ := i.typeBytes()
		v.blob(2, "type", &typ, false)
	} else if v.blob(2, "type", &i.typ, false); v.known && v.num == 2 && v.err == nil {
		var err error
		if i.Type, i.Dims, err = parseType(i.typ); err != nil {
			v.fail("type", err)
		}
	}
	v.text(3, "doc_string", &i.Doc)
	values(v, 4, "metadata_props", &i.Metadata)
}

func (i *ValueInfo) typeBytes() []byte {
	if i.typ != nil {
		t, dims, err := parseType(i.typ)
		same := (dims == nil) == (i.Dims == nil) && slices.Equal(dims, i.Dims)
		if err == nil && t == i.Type && same {
			return i.typ
		}
	}
	if i.Type == Undefined {
		return nil
	}
	tt := &tensorType{Elem: i.Type}
	if i.Dims != nil {
		tt.Shape = new(tensorShape)
	}
	for _, d := range i.Dims {
		w := dimension{Value: max(d.Value, 0), Param: d.Param}
		if d.Param != "" {
			w.Value = 0
		} else if d.Value == 0 {
			w.seen |= 1 << 1
		}
		tt.Shape.Dims = append(tt.Shape.Dims, w)
	}
	b, _ := marshal(&typeProto{Tensor: tt})
	return b
}

func parseType(b []byte) (DataType, []Dim, error) {
	var t typeProto
	if err := decode(&t, b); err != nil {
		return 0, nil, err
	}
	if t.Tensor == nil {
		return Undefined, nil, nil
	}
	if t.Tensor.Shape == nil {
		return t.Tensor.Elem, nil, nil
	}
	dims := make([]Dim, len(t.Tensor.Shape.Dims))
	for i, d := range t.Tensor.Shape.Dims {
		dims[i] = Dim{Value: d.Value, Param: d.Param}
		if d.Param == "" && d.Value == 0 && !d.has(1) {
			dims[i].Value = -1
		}
	}
	return t.Tensor.Elem, dims, nil
}

// typeProto and the three below are the messages between a value and its dims.
type typeProto struct {
	Tensor *tensorType
	wire
}

type tensorType struct {
	Elem  DataType
	Shape *tensorShape
	wire
}

type tensorShape struct {
	Dims []dimension
	wire
}

type dimension struct {
	Value int64
	Param string
	wire
}

func (t *typeProto) visit(v *visitor) {
	child(v, 1, "tensor_type", &t.Tensor)
}

func (t *tensorType) visit(v *visitor) {
	integer(v, 1, "elem_type", &t.Elem, false)
	child(v, 2, "shape", &t.Shape)
}

func (s *tensorShape) visit(v *visitor) {
	values(v, 1, "dim", &s.Dims)
}

func (d *dimension) visit(v *visitor) {
	integer(v, 1, "dim_value", &d.Value, false)
	v.text(2, "dim_param", &d.Param)
}
