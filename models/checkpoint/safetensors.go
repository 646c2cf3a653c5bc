package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/models"
)

// safetensorsTypes are the names of element types in safetensors files.
var safetensorsTypes = map[string]DType{
	"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
	"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
	"U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}

func (f *File) readSafetensors(x io.ReaderAt) error {
	f.Format = "safetensors"
	infos, meta, err := models.ListSafetensors(f.Path)
	if err != nil {
		return err
	}
	root := &Dict{}
	for _, info := range infos {
		offset, size := info.Extent()
		s := &storage{key: info.Name, dtype: safetensorsTypes[info.DType]}
		s.count = int(size) / dtypes[s.dtype].size
		s.read = func() ([]byte, error) {
			data := make([]byte, size)
			_, err := x.ReadAt(data, offset)
			return data, err
		}
		t, err := newTensor(s, 0, info.Shape, contiguous(info.Shape), f.Size)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", info.Name, err)
		}
		root.Keys, root.Values = append(root.Keys, info.Name), append(root.Values, t)
	}
	if len(meta) > 0 {
		m := &Dict{}
		for k, v := range meta {
			m.Keys, m.Values = append(m.Keys, k), append(m.Values, v)
		}
		root.Keys, root.Values = append(root.Keys, "__metadata__"), append(root.Values, m)
	}
	f.Root = root
	return nil
}

// maxIndex bounds the index of a checkpoint in several files.
const maxIndex = 64 << 20 // bytes

// openSharded opens a checkpoint in several files by its index: a JSON object whose
// weight_map says in which file, of the same folder, each tensor is.
func openSharded(path string) (*File, error) {
	fail := func(err error) (*File, error) { return nil, fmt.Errorf("read %s: %w", path, err) }
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxIndex {
		return fail(fmt.Errorf("an index of %d bytes, want %d at most", info.Size(), maxIndex))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return fail(err)
	}
	if len(index.WeightMap) == 0 {
		return fail(errors.New("it has no weight_map: it is not the index of a checkpoint"))
	}
	var names []string
	for tensor, name := range index.WeightMap {
		if name != filepath.Base(name) || name == "." || name == ".." || strings.HasSuffix(name, ".index.json") {
			return fail(fmt.Errorf("tensor %q is said to be in %q, which is not a file of this folder", shorten(tensor), shorten(name)))
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	f := &File{Path: path, Size: info.Size(), Root: &Dict{}}
	held := map[string]bool{}
	for _, name := range names {
		part, err := open(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			f.Close()
			return fail(err)
		}
		f.files = append(f.files, part.files...)
		if err := part.index(); err != nil {
			f.Close()
			return fail(fmt.Errorf("%s: %w", name, err))
		}
		f.Size += part.Size
		f.Format = part.Format + fmt.Sprintf(" in %d files", len(names))
		f.Foreign = append(f.Foreign, part.Foreign...)
		for _, t := range part.Tensors {
			if held[t.Name] {
				f.Close()
				return fail(fmt.Errorf("tensor %q is in two of its files", shorten(t.Name)))
			}
			held[t.Name] = true
			f.Tensors = append(f.Tensors, t)
		}
	}
	for tensor := range index.WeightMap {
		if !held[tensor] {
			f.Close()
			return fail(fmt.Errorf("tensor %q is in none of its files", shorten(tensor)))
		}
	}
	return f, nil
}
