package onnx

import "fmt"

// AttrType says which of an attribute's fields holds its value, numbered as in
// AttributeProto.
type AttrType int32

// The attribute types of ONNX.
const (
	AttrUndefined     AttrType = 0
	AttrFloat         AttrType = 1
	AttrInt           AttrType = 2
	AttrString        AttrType = 3
	AttrTensor        AttrType = 4
	AttrGraph         AttrType = 5
	AttrFloats        AttrType = 6
	AttrInts          AttrType = 7
	AttrStrings       AttrType = 8
	AttrTensors       AttrType = 9
	AttrGraphs        AttrType = 10
	AttrSparseTensor  AttrType = 11
	AttrSparseTensors AttrType = 12
	AttrTypeProto     AttrType = 13
	AttrTypeProtos    AttrType = 14
)

var attrTypes = [...]string{"undefined", "float", "int", "string", "tensor", "graph",
	"floats", "ints", "strings", "tensors", "graphs",
	"sparse_tensor", "sparse_tensors", "type_proto", "type_protos"}

// String returns the type's name in lower case.
func (t AttrType) String() string {
	if t >= 0 && int(t) < len(attrTypes) {
		return attrTypes[t]
	}
	return fmt.Sprintf("attribute type(%d)", int32(t))
}

// An Attr is a constant parameter of a node. Type says which field counts.
type Attr struct {
	Name    string
	Type    AttrType
	RefName string // inside a function: the function's attribute that gives the value
	Doc     string

	F       float32
	I       int64
	S       []byte
	T       *Tensor
	G       *Graph
	Floats  []float32
	Ints    []int64
	Strings [][]byte
	Tensors []*Tensor
	Graphs  []*Graph
	Sparse  *SparseTensor
	Sparses []*SparseTensor

	wire
}

func (a *Attr) visit(v *visitor) {
	value := a.RefName == ""
	v.text(1, "name", &a.Name)
	v.float(2, "f", &a.F, value && a.Type == AttrFloat)
	integer(v, 3, "i", &a.I, value && a.Type == AttrInt)
	v.blob(4, "s", &a.S, value && a.Type == AttrString)
	child(v, 5, "t", &a.T)
	child(v, 6, "g", &a.G)
	numbers(v, 7, "floats", &a.Floats, false, float32Scalar)
	numbers(v, 8, "ints", &a.Ints, false, int64Scalar)
	v.blobs(9, "strings", &a.Strings)
	children(v, 10, "tensors", &a.Tensors)
	children(v, 11, "graphs", &a.Graphs)
	v.text(13, "doc_string", &a.Doc)
	integer(v, 20, "type", &a.Type, false)
	v.text(21, "ref_attr_name", &a.RefName)
	child(v, 22, "sparse_tensor", &a.Sparse)
	children(v, 23, "sparse_tensors", &a.Sparses)
}

// IntAttr returns an attribute that holds one integer.
func IntAttr(name string, v int64) *Attr {
	return &Attr{Name: name, Type: AttrInt, I: v}
}

// IntsAttr returns an attribute that holds a list of integers.
func IntsAttr(name string, v ...int64) *Attr {
	return &Attr{Name: name, Type: AttrInts, Ints: v}
}

// FloatAttr returns an attribute that holds one float32.
func FloatAttr(name string, v float32) *Attr {
	return &Attr{Name: name, Type: AttrFloat, F: v}
}

// FloatsAttr returns an attribute that holds a list of float32.
func FloatsAttr(name string, v ...float32) *Attr {
	return &Attr{Name: name, Type: AttrFloats, Floats: v}
}

// StringAttr returns an attribute that holds a string.
func StringAttr(name, v string) *Attr {
	return &Attr{Name: name, Type: AttrString, S: []byte(v)}
}

// StringsAttr returns an attribute that holds a list of strings.
func StringsAttr(name string, v ...string) *Attr {
	a := &Attr{Name: name, Type: AttrStrings}
	for _, s := range v {
		a.Strings = append(a.Strings, []byte(s))
	}
	return a
}

// TensorAttr returns an attribute that holds a tensor.
func TensorAttr(name string, t *Tensor) *Attr {
	return &Attr{Name: name, Type: AttrTensor, T: t}
}

// GraphAttr returns an attribute that holds a subgraph.
func GraphAttr(name string, g *Graph) *Attr {
	return &Attr{Name: name, Type: AttrGraph, G: g}
}
