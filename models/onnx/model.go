package onnx

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// A Model is an ONNX file: a graph, the operator sets its nodes come from and
// free-form metadata.
type Model struct {
	IRVersion       int64 // version of the file format; 8 goes with opset 17
	ProducerName    string
	ProducerVersion string
	Domain          string
	ModelVersion    int64
	Doc             string
	Graph           *Graph
	Opsets          []Opset
	Metadata        []StringEntry // in file order; see Meta and SetMeta
	Functions       []*Function

	wire
}

// An Opset says which version of a domain's operators the model uses. The empty
// domain is ONNX's own, also written "ai.onnx".
type Opset struct {
	Domain  string
	Version int64

	wire
}

// A StringEntry is a key and its value.
type StringEntry struct {
	Key, Value string

	wire
}

// A Graph is a list of nodes in topological order between named inputs and
// outputs. Names of values are unique within it (static single assignment).
type Graph struct {
	Name         string
	Doc          string
	Nodes        []*Node
	Initializers []*Tensor
	Sparse       []*SparseTensor // sparse initialisers
	Inputs       []*ValueInfo
	Outputs      []*ValueInfo
	ValueInfo    []*ValueInfo // shapes of values in between, as a hint
	Metadata     []StringEntry

	wire
}

// A Node applies one operator. An empty string among Inputs or Outputs leaves an
// optional one out.
type Node struct {
	Name     string
	OpType   string
	Domain   string
	Overload string // selects among functions of one name
	Doc      string
	Inputs   []string
	Outputs  []string
	Attrs    []*Attr
	Metadata []StringEntry

	wire
}

// A Function is an operator defined by the model itself through other operators.
type Function struct {
	Name     string
	Domain   string
	Overload string
	Doc      string
	Inputs   []string
	Outputs  []string
	Params   []string // names of attributes without a default
	Defaults []*Attr  // attributes with a default
	Nodes    []*Node
	Opsets   []Opset
	Values   []*ValueInfo
	Metadata []StringEntry

	wire
}

// A SparseTensor gives the non-zero values of a tensor and where they stand:
// Indices is [NNZ] (linear) or [NNZ, rank].
type SparseTensor struct {
	Values  *Tensor
	Indices *Tensor
	Dims    []int64

	wire
}

func (m *Model) visit(v *visitor) {
	integer(v, 1, "ir_version", &m.IRVersion, false)
	v.text(2, "producer_name", &m.ProducerName)
	v.text(3, "producer_version", &m.ProducerVersion)
	v.text(4, "domain", &m.Domain)
	integer(v, 5, "model_version", &m.ModelVersion, false)
	v.text(6, "doc_string", &m.Doc)
	child(v, 7, "graph", &m.Graph)
	values(v, 8, "opset_import", &m.Opsets)
	values(v, 14, "metadata_props", &m.Metadata)
	children(v, 25, "function", &m.Functions)
}

func (o *Opset) visit(v *visitor) {
	v.text(1, "domain", &o.Domain)
	integer(v, 2, "version", &o.Version, false)
}

func (s *StringEntry) visit(v *visitor) {
	v.text(1, "key", &s.Key)
	v.text(2, "value", &s.Value)
}

func (g *Graph) visit(v *visitor) {
	children(v, 1, "node", &g.Nodes)
	v.text(2, "name", &g.Name)
	children(v, 5, "initializer", &g.Initializers)
	v.text(10, "doc_string", &g.Doc)
	children(v, 11, "input", &g.Inputs)
	children(v, 12, "output", &g.Outputs)
	children(v, 13, "value_info", &g.ValueInfo)
	children(v, 15, "sparse_initializer", &g.Sparse)
	values(v, 16, "metadata_props", &g.Metadata)
}

func (n *Node) visit(v *visitor) {
	v.texts(1, "input", &n.Inputs)
	v.texts(2, "output", &n.Outputs)
	v.text(3, "name", &n.Name)
	v.text(4, "op_type", &n.OpType)
	children(v, 5, "attribute", &n.Attrs)
	v.text(6, "doc_string", &n.Doc)
	v.text(7, "domain", &n.Domain)
	v.text(8, "overload", &n.Overload)
	values(v, 9, "metadata_props", &n.Metadata)
}

func (f *Function) visit(v *visitor) {
	v.text(1, "name", &f.Name)
	v.texts(4, "input", &f.Inputs)
	v.texts(5, "output", &f.Outputs)
	v.texts(6, "attribute", &f.Params)
	children(v, 7, "node", &f.Nodes)
	v.text(8, "doc_string", &f.Doc)
	values(v, 9, "opset_import", &f.Opsets)
	v.text(10, "domain", &f.Domain)
	children(v, 11, "attribute_proto", &f.Defaults)
	children(v, 12, "value_info", &f.Values)
	v.text(13, "overload", &f.Overload)
	values(v, 14, "metadata_props", &f.Metadata)
}

func (s *SparseTensor) visit(v *visitor) {
	child(v, 1, "values", &s.Values)
	child(v, 2, "indices", &s.Indices)
	numbers(v, 3, "dims", &s.Dims, false, int64Scalar)
}

// Meta returns the value of a metadata key and whether it is there.
func (m *Model) Meta(key string) (string, bool) {
	for i := range m.Metadata {
		if m.Metadata[i].Key == key {
			return m.Metadata[i].Value, true
		}
	}
	return "", false
}

// SetMeta sets a metadata key, in its place when it is there and at the end when
// it is new.
func (m *Model) SetMeta(key, value string) {
	for i := range m.Metadata {
		if m.Metadata[i].Key == key {
			m.Metadata[i].Value = value
			return
		}
	}
	m.Metadata = append(m.Metadata, StringEntry{Key: key, Value: value})
}

// Opset returns the version of a domain's operator set that the model imports, 0
// for none. "" and "ai.onnx" are the same domain.
func (m *Model) Opset(domain string) int64 {
	return opsetOf(m.Opsets, domain)
}

func opsetOf(opsets []Opset, domain string) int64 {
	for _, o := range opsets {
		if canonicalDomain(o.Domain) == canonicalDomain(domain) {
			return o.Version
		}
	}
	return 0
}

func canonicalDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

// Attr returns the attribute of that name, nil when the node has none.
func (n *Node) Attr(name string) *Attr {
	for _, a := range n.Attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// Initializer returns the initialiser of that name, nil when there is none.
func (g *Graph) Initializer(name string) *Tensor {
	for _, t := range g.Initializers {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// Unmarshal reads a model from the bytes of an ONNX file. Tensor data and fields
// it does not know alias data, which must not change afterwards. Tensors in other
// files stay references, see [Model.LoadExternal].
func Unmarshal(data []byte) (*Model, error) {
	m, err := unmarshal(data)
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	return m, nil
}

func unmarshal(data []byte) (*Model, error) {
	m := new(Model)
	if err := decode(m, data); err != nil {
		return nil, fmt.Errorf("not an ONNX model, or a damaged one: %w", err)
	}
	if m.Graph == nil {
		return nil, errors.New("not an ONNX model: there is no graph in it")
	}
	return m, nil
}

// UnmarshalTensor reads a tensor that stands in a file of its own, as ONNX's test
// data do (input_0.pb). It aliases data like Unmarshal.
func UnmarshalTensor(data []byte) (*Tensor, error) {
	t := new(Tensor)
	if err := decode(t, data); err != nil {
		return nil, fmt.Errorf("onnx: not a valid tensor: %w", err)
	}
	return t, nil
}

// maxMessage is protobuf's limit on the size of a message.
const maxMessage = math.MaxInt32

// Marshal returns the bytes of the model as an ONNX file. The same model always
// gives the same bytes. A model over 2 GiB, the limit of protobuf, is an error:
// WriteFile puts its tensors in a second file.
func (m *Model) Marshal() ([]byte, error) {
	return marshal(m)
}

func marshal(m message) ([]byte, error) {
	size, _ := encodeTo(nil, m, nil)
	if size > maxMessage {
		return nil, fmt.Errorf("onnx: model of %d bytes does not fit one protobuf message of 2 GiB: use WriteFile", size)
	}
	buf := bytes.NewBuffer(make([]byte, 0, size))
	_, err := encodeTo(buf, m, nil)
	return buf.Bytes(), err
}
