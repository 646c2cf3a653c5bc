package models

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models/onnx"
)

// A safetensors file is the length of its header (8 bytes, little endian), the
// header, a JSON object from names to types, shapes and positions, and the
// values, little endian in C order, one tensor behind the other:
// https://github.com/huggingface/safetensors

// safetensorsTypes are the element types that can be read.
var safetensorsTypes = map[string]onnx.DataType{
	"F64": onnx.Double, "F32": onnx.Float, "F16": onnx.Float16, "BF16": onnx.BFloat16,
	"I64": onnx.Int64, "I32": onnx.Int32, "I16": onnx.Int16, "I8": onnx.Int8,
	"U64": onnx.Uint64, "U32": onnx.Uint32, "U16": onnx.Uint16, "U8": onnx.Uint8, "BOOL": onnx.Bool,
}

const (
	metadataEntry = "__metadata__"
	maxHeader     = 100_000_000 // bytes, the limit of the format's own library
	chunk         = 1 << 16     // bytes converted at a time, a multiple of every element's size
)

// TensorInfo describes a tensor in a safetensors file.
type TensorInfo struct {
	Name  string
	DType string // as the file says: "F32", "BF16", "I64"
	Shape []int

	elems        int
	offset, size int64 // bytes, from the beginning of the file
}

// Extent returns where the values lie: offset from the beginning of the file and
// size, in bytes.
func (t TensorInfo) Extent() (offset, size int64) { return t.offset, t.size }

// safetensorsEntry is a value of the header.
type safetensorsEntry struct {
	DType   string  `json:"dtype"`
	Shape   []int   `json:"shape"`
	Offsets []int64 `json:"data_offsets"`
}

// WriteSafetensors writes a state dict and metadata, which may be nil. Either the
// whole file appears under its name or nothing changes. The same values always
// give the same bytes. Tensors must be float32 or int64.
func WriteSafetensors(path string, state StateDict, metadata map[string]string) error {
	temp := fmt.Sprintf("%s.%08x.tmp", path, rand.Uint32())
	defer os.Remove(temp)
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err == nil {
		w := bufio.NewWriterSize(f, chunk)
		err = encodeSafetensors(w, state, metadata)
		if err == nil {
			err = w.Flush()
		}
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return fmt.Errorf("models: write %s: %w", path, err)
	}
	return nil
}

func encodeSafetensors(w io.Writer, state StateDict, metadata map[string]string) error {
	header := map[string]any{}
	if metadata != nil {
		header[metadataEntry] = metadata
	}
	// The widest elements come first, so that all are aligned.
	var order []string
	for _, typ := range []tensor.Dtype{tensor.Int64, tensor.Float32} {
		for _, name := range state.Names() {
			if state[name].Dtype() == typ {
				order = append(order, name)
			}
		}
	}
	var end int64
	for _, name := range order {
		v := state[name]
		e := safetensorsEntry{DType: "F32", Shape: append([]int{}, v.Shape()...), Offsets: []int64{end}}
		if v.Dtype() == tensor.Int64 {
			e.DType = "I64"
		}
		end += int64(v.Shape().TotalSize()) * int64(v.Dtype().Size())
		e.Offsets = append(e.Offsets, end)
		header[name] = e
	}
	if len(order) != len(state) {
		for name, v := range state {
			if _, ok := header[name]; !ok || name == metadataEntry {
				return fmt.Errorf("tensor %q: got element type %v, want float32 or int64", name, v.Dtype())
			}
		}
	}
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	text = append(text, bytes.Repeat([]byte(" "), -len(text)&7)...)
	if len(text) > maxHeader {
		return fmt.Errorf("the header takes %d bytes, more than %d", len(text), maxHeader)
	}
	head := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	if _, err := w.Write(append(head, text...)); err != nil {
		return err
	}
	for _, name := range order {
		if err := writeValues(w, state[name]); err != nil {
			return err
		}
	}
	return nil
}

func writeValues(w io.Writer, v *tensor.Dense) error {
	le, buf := binary.LittleEndian, make([]byte, 0, chunk)
	if v.Dtype() == tensor.Int64 {
		for part := range slices.Chunk(v.Int64s(), chunk/8) {
			buf = buf[:0]
			for _, x := range part {
				buf = le.AppendUint64(buf, uint64(x))
			}
			if _, err := w.Write(buf); err != nil {
				return err
			}
		}
		return nil
	}
	for part := range slices.Chunk(v.Float32s(), chunk/4) {
		buf = buf[:0]
		for _, x := range part {
			buf = le.AppendUint32(buf, math.Float32bits(x))
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// ReadSafetensors reads all tensors of a file and its metadata, nil when it has
// none. Floating-point types become float32, integers and bool int64. It needs no
// more memory than the values it returns.
func ReadSafetensors(path string) (StateDict, map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("models: %w", err)
	}
	defer f.Close()
	infos, metadata, err := listSafetensors(f)
	if err != nil {
		return nil, nil, fmt.Errorf("models: read %s: %w", path, err)
	}
	state := StateDict{}
	for _, info := range infos {
		if state[info.Name], err = info.read(f); err != nil {
			return nil, nil, fmt.Errorf("models: read %s: tensor %q: %w", path, info.Name, err)
		}
	}
	return state, metadata, nil
}

// ListSafetensors returns what a file holds, sorted by name, without reading the
// values.
func ListSafetensors(path string) ([]TensorInfo, map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("models: %w", err)
	}
	defer f.Close()
	infos, metadata, err := listSafetensors(f)
	if err != nil {
		return nil, nil, fmt.Errorf("models: read %s: %w", path, err)
	}
	slices.SortFunc(infos, func(a, b TensorInfo) int { return cmp.Compare(a.Name, b.Name) })
	return infos, metadata, nil
}

func listSafetensors(f *os.File) ([]TensorInfo, map[string]string, error) {
	stat, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !stat.Mode().IsRegular() {
		return nil, nil, errors.New("is not a regular file")
	}
	return readHeader(f, stat.Size())
}

// readHeader reads and checks the header of a file of size bytes. The tensors are
// in the order of their values.
func readHeader(r io.ReaderAt, size int64) ([]TensorInfo, map[string]string, error) {
	var head [8]byte
	if size < 8 {
		return nil, nil, fmt.Errorf("not a safetensors file: %d bytes are too few", size)
	}
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return nil, nil, err
	}
	n := binary.LittleEndian.Uint64(head[:])
	if n > maxHeader || n > uint64(size-8) {
		return nil, nil, fmt.Errorf("not a safetensors file, or cut short: a header of %d bytes in a file of %d", n, size)
	}
	text := make([]byte, n)
	if _, err := r.ReadAt(text, 8); err != nil {
		return nil, nil, err
	}
	infos, metadata, err := parseHeader(text)
	if err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	slices.SortStableFunc(infos, func(a, b TensorInfo) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.size, b.size), cmp.Compare(a.Name, b.Name))
	})
	// The values must lie one behind the other, without holes or overlaps.
	at, data := int64(0), size-8-int64(n)
	for i := range infos {
		t := &infos[i]
		if t.offset != at || t.size > data-at {
			return nil, nil, fmt.Errorf("tensor %q: its %d bytes start at %d, want %d, and there are %d", t.Name, t.size, t.offset, at, data)
		}
		at += t.size
		t.offset += 8 + int64(n)
	}
	if at != data {
		return nil, nil, fmt.Errorf("%d bytes behind the last tensor", data-at)
	}
	return infos, metadata, nil
}

func parseHeader(text []byte) (infos []TensorInfo, metadata map[string]string, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, errors.New("is not a JSON object")
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, nil, err
		}
		name := t.(string) // a key
		if seen[name] {
			return nil, nil, fmt.Errorf("tensor %q comes twice", name)
		}
		seen[name] = true
		if name == metadataEntry {
			if err := dec.Decode(&metadata); err != nil {
				return nil, nil, fmt.Errorf("metadata: %w", err)
			}
			continue
		}
		var e safetensorsEntry
		if err := dec.Decode(&e); err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		info, err := e.info(name)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		infos = append(infos, info)
	}
	if _, err := dec.Token(); err != nil {
		return nil, nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, nil, errors.New("text behind the JSON object")
	}
	return infos, metadata, nil
}

func (e safetensorsEntry) info(name string) (TensorInfo, error) {
	bits := safetensorsTypes[e.DType].Bits()
	if bits == 0 {
		return TensorInfo{}, fmt.Errorf("element type %q cannot be read", e.DType)
	}
	if len(e.Offsets) != 2 || e.Offsets[0] < 0 || e.Offsets[1] < e.Offsets[0] {
		return TensorInfo{}, fmt.Errorf("data_offsets %v: want begin and end", e.Offsets)
	}
	t := TensorInfo{Name: name, DType: e.DType, Shape: e.Shape, elems: 1,
		offset: e.Offsets[0], size: e.Offsets[1] - e.Offsets[0]}
	for _, d := range e.Shape {
		if d < 0 || d > 0 && t.elems > math.MaxInt/8/d {
			return TensorInfo{}, fmt.Errorf("shape %v: sizes must not be negative and fit memory", e.Shape)
		}
		t.elems *= d
	}
	if want := int64(t.elems) * bits / 8; t.size != want {
		return TensorInfo{}, fmt.Errorf("%s%v takes %d bytes, got %d", e.DType, e.Shape, want, t.size)
	}
	return t, nil
}

// read returns the values, converted piece by piece.
func (t TensorInfo) read(r io.ReaderAt) (*tensor.Dense, error) {
	if t.elems == 0 {
		return nil, fmt.Errorf("shape %v: a tensor without values cannot be used", t.Shape)
	}
	floats := t.DType == "F64" || t.DType == "F32" || t.DType == "F16" || t.DType == "BF16"
	var f []float32
	var i []int64
	if floats {
		f = make([]float32, 0, t.elems)
	} else {
		i = make([]int64, 0, t.elems)
	}
	piece := onnx.Tensor{Name: t.Name, Type: safetensorsTypes[t.DType], Dims: []int64{0}}
	buf := make([]byte, min(chunk, t.size))
	for at := int64(0); at < t.size; at += int64(len(buf)) {
		piece.Raw = buf[:min(int64(len(buf)), t.size-at)]
		piece.Dims[0] = int64(len(piece.Raw)) * 8 / piece.Type.Bits()
		if _, err := r.ReadAt(piece.Raw, t.offset+at); err != nil {
			return nil, err
		}
		if floats {
			v, err := piece.Floats()
			if err != nil {
				return nil, err
			}
			f = append(f, v...)
			continue
		}
		v, err := piece.Int64s()
		if err != nil {
			return nil, err
		}
		i = append(i, v...)
	}
	if floats {
		return tensor.New(tensor.WithShape(t.Shape...), tensor.WithBacking(f)), nil
	}
	return tensor.New(tensor.WithShape(t.Shape...), tensor.WithBacking(i)), nil
}
