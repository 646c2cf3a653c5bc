package onnx

import (
	"bytes"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// field returns the bytes of a length-delimited field.
func field(num protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
}

// TestKeepsBytes reads and writes messages whose bytes the Go values alone do not
// determine.
func TestKeepsBytes(t *testing.T) {
	varint := func(num protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
	}
	for name, attr := range map[string][]byte{
		"explicit zeros":       slices.Concat(varint(3, 0), field(13, nil)),
		"packed ints":          slices.Concat(field(8, []byte{1, 2, 3}), varint(20, 7)),
		"unpacked ints":        slices.Concat(varint(8, 1), varint(8, math.MaxUint64), varint(20, 7)),
		"empty packed ints":    field(8, nil),
		"empty string":         slices.Concat(field(4, nil), varint(20, 3)),
		"unknown before known": slices.Concat(field(14, []byte("type")), varint(20, 13)),
		"unknown at the end":   slices.Concat(varint(20, 2), varint(99, 5), field(100, []byte("x"))),
		"tensor": slices.Concat(field(5, slices.Concat(varint(1, 2), varint(1, 0), field(4, nil),
			field(9, nil), varint(14, 0))), varint(20, 4)),
		"unpacked float data": field(5, protowire.AppendFixed32(protowire.AppendTag(nil, 4, protowire.Fixed32Type), 0x3f800000)),
		"negative int32 data": field(5, field(5, protowire.AppendVarint(nil, math.MaxUint64))),
	} {
		file := field(7, field(1, field(5, attr)))
		m, err := Unmarshal(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := m.Marshal()
		if err != nil || !bytes.Equal(got, file) {
			t.Errorf("%s: got %x, want %x (%v)", name, got, file, err)
		}
	}
	for name, typ := range map[string][]byte{
		"no type at all":     nil,
		"empty type":         field(2, nil),
		"sequence":           field(2, field(4, field(1, varint(1, 1)))),
		"no shape":           field(2, field(1, varint(1, 1))),
		"scalar":             field(2, field(1, slices.Concat(varint(1, 1), field(2, nil)))),
		"dims":               field(2, field(1, slices.Concat(varint(1, 1), field(2, slices.Concat(field(1, varint(1, 0)), field(1, nil), field(1, field(2, []byte("N")))))))),
		"minus one":          field(2, field(1, slices.Concat(varint(1, 1), field(2, field(1, varint(1, math.MaxUint64)))))),
		"denotation of dims": field(2, field(1, slices.Concat(varint(1, 1), field(2, field(1, slices.Concat(varint(1, 3), field(3, []byte("C")))))))),
	} {
		file := field(7, field(11, slices.Concat(field(1, []byte("x")), typ)))
		m, err := Unmarshal(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := m.Marshal(); err != nil || !bytes.Equal(got, file) {
			t.Errorf("%s: got %x, want %x (%v)", name, got, file, err)
		}
	}
}

// TestShapes checks what the values of a shape mean.
func TestShapes(t *testing.T) {
	want := []Dim{Symbol("N"), Fixed(3), Fixed(0), {Value: -1}}
	m := &Model{Graph: &Graph{Inputs: []*ValueInfo{TensorInfo("x", Float16, want...), TensorInfo("s", Int64), {Name: "r", Type: Float}}}}
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	in := got.Graph.Inputs
	if in[0].Type != Float16 || !slices.Equal(in[0].Dims, want) {
		t.Errorf("x is %v %v", in[0].Type, in[0].Dims)
	}
	if in[1].Dims == nil || len(in[1].Dims) != 0 {
		t.Errorf("the scalar has dims %v", in[1].Dims)
	}
	if in[2].Dims != nil {
		t.Errorf("the value of unknown rank has dims %v", in[2].Dims)
	}
	in[0].Dims[0] = Fixed(8) // what was read must not stick
	if data, err = got.Marshal(); err != nil {
		t.Fatal(err)
	}
	if got, err = Unmarshal(data); err != nil || got.Graph.Inputs[0].Dims[0] != Fixed(8) {
		t.Errorf("a changed dimension is written as %v (%v)", got.Graph.Inputs[0].Dims[0], err)
	}
}

func TestNestingIsBounded(t *testing.T) {
	g := []byte{}
	for range 10000 { // graph > node > attribute > graph
		g = field(1, field(5, field(6, g)))
	}
	if _, err := Unmarshal(field(7, g)); err == nil || !strings.Contains(err.Error(), "nest deeper") {
		t.Errorf("error %.200v", err)
	}
}

// TestLengthsAreNotBelieved gives a field a length far beyond the bytes there.
func TestLengthsAreNotBelieved(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, num := range []protowire.Number{7, 8, 14, 25, 99} {
		b := protowire.AppendTag(nil, num, protowire.BytesType)
		b = protowire.AppendVarint(b, 1<<40)
		if _, err := Unmarshal(append(b, 0x0a)); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
			t.Errorf("field %d: error %v", num, err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes allocated for a few bytes of input", n)
	}
}

func TestErrorsSayWhere(t *testing.T) {
	bad := field(9, nil)
	bad[0] &^= 7 // raw_data as a varint
	_, err := Unmarshal(field(7, slices.Concat(field(1, nil), field(1, field(5, field(5, bad))))))
	want := "onnx: not an ONNX model, or a damaged one: graph: node 1: attribute 0: t: raw_data: wire type 0, want 2"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestMergesGraphs(t *testing.T) {
	m, err := Unmarshal(slices.Concat(field(7, field(2, []byte("a"))), field(7, field(10, []byte("doc")))))
	if err != nil || m.Graph.Name != "a" || m.Graph.Doc != "doc" {
		t.Errorf("%+v, %v", m, err)
	}
}
