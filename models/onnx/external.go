package onnx

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// region is a piece of a data file.
type region struct {
	file   string
	offset int64
	length int64 // -1: to the end
}

// reference returns where an external tensor says its data are.
func (t *Tensor) reference() (region, error) {
	r := region{length: -1}
	for i := range t.External {
		var err error
		switch e := &t.External[i]; e.Key {
		case "location":
			r.file = e.Value
		case "offset":
			r.offset, err = strconv.ParseInt(e.Value, 10, 64)
		case "length":
			r.length, err = strconv.ParseInt(e.Value, 10, 64)
			if err == nil && r.length < 0 {
				err = errors.New("is negative")
			}
		}
		if err != nil || r.offset < 0 {
			return r, fmt.Errorf("%s %q is not a size in bytes", t.External[i].Key, t.External[i].Value)
		}
	}
	if r.file == "" {
		return r, errors.New("no location is given")
	}
	if !filepath.IsLocal(r.file) {
		return r, fmt.Errorf("%q is outside the model's folder", r.file)
	}
	r.file = filepath.Clean(r.file)
	return r, nil
}

// refer returns t without its data and with a reference to r instead.
func (r region) refer(t *Tensor) *Tensor {
	ref := &Tensor{Name: t.Name, Type: t.Type, Dims: t.Dims, Doc: t.Doc, Metadata: t.Metadata, Location: External}
	ref.External = []StringEntry{
		{Key: "location", Value: r.file},
		{Key: "offset", Value: strconv.FormatInt(r.offset, 10)},
		{Key: "length", Value: strconv.FormatInt(r.length, 10)},
	}
	return ref
}

// LoadExternal reads the tensors whose data are in other files into memory. The
// files must be in the folder dir or below it: absolute names, "..", and symbolic
// links that lead out are errors. Each file is read once, and the tensors share
// its bytes.
func (m *Model) LoadExternal(dir string) error {
	if err := m.loadExternal(dir); err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	return nil
}

func (m *Model) loadExternal(dir string) error {
	var root *os.Root
	files := map[string][]byte{}
	err := m.tensors(func(t *Tensor) error {
		if t.Location != External {
			return nil
		}
		if root == nil {
			var err error
			if root, err = os.OpenRoot(dir); err != nil {
				return err
			}
		}
		if err := t.load(root, files); err != nil {
			return fmt.Errorf("tensor %q: external data: %w", t.Name, err)
		}
		return nil
	})
	if root != nil {
		root.Close()
	}
	return err
}

func (t *Tensor) load(root *os.Root, files map[string][]byte) error {
	r, err := t.reference()
	if err != nil {
		return err
	}
	want, err := t.byteSize()
	if err != nil {
		return err
	}
	data, ok := files[r.file]
	if !ok {
		if data, err = readRegular(root, r.file); err != nil {
			return err
		}
		files[r.file] = data
	}
	size := int64(len(data))
	if r.offset > size {
		return fmt.Errorf("offset %d is beyond the %d bytes of %s", r.offset, size, r.file)
	}
	if r.length < 0 {
		r.length = min(want, size-r.offset)
	}
	if r.length != want {
		return fmt.Errorf("%d bytes at offset %d of %s, want %d for %v%v",
			r.length, r.offset, r.file, want, t.Type, t.Dims)
	}
	if r.length > size-r.offset {
		return fmt.Errorf("%d bytes at offset %d are more than the %d bytes of %s",
			r.length, r.offset, size, r.file)
	}
	end := r.offset + r.length
	t.Raw = data[r.offset:end:end]
	t.Location, t.External = Inline, nil
	return nil
}

// readRegular reads a whole file; a device or a pipe might never end.
func readRegular(root *os.Root, name string) ([]byte, error) {
	info, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// tensors calls f for every tensor of the model, those of subgraphs, attributes and
// functions included.
func (m *Model) tensors(f func(*Tensor) error) error {
	w := walker{f}
	if err := w.graph(m.Graph); err != nil {
		return err
	}
	for _, fn := range m.Functions {
		if err := w.nodes(fn.Nodes); err != nil {
			return err
		}
		if err := w.attrs(fn.Defaults); err != nil {
			return err
		}
	}
	return nil
}

type walker struct{ tensor func(*Tensor) error }

func (w walker) graph(g *Graph) error {
	if g == nil {
		return nil
	}
	for _, t := range g.Initializers {
		if err := w.tensor(t); err != nil {
			return err
		}
	}
	for _, s := range g.Sparse {
		if err := w.sparse(s); err != nil {
			return err
		}
	}
	return w.nodes(g.Nodes)
}

func (w walker) nodes(nodes []*Node) error {
	for _, n := range nodes {
		if err := w.attrs(n.Attrs); err != nil {
			return err
		}
	}
	return nil
}

func (w walker) attrs(attrs []*Attr) error {
	for _, a := range attrs {
		for _, t := range append([]*Tensor{a.T}, a.Tensors...) {
			if t != nil {
				if err := w.tensor(t); err != nil {
					return err
				}
			}
		}
		for _, s := range append([]*SparseTensor{a.Sparse}, a.Sparses...) {
			if err := w.sparse(s); err != nil {
				return err
			}
		}
		for _, g := range append([]*Graph{a.G}, a.Graphs...) {
			if err := w.graph(g); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w walker) sparse(s *SparseTensor) error {
	if s == nil {
		return nil
	}
	for _, t := range []*Tensor{s.Values, s.Indices} {
		if t != nil {
			if err := w.tensor(t); err != nil {
				return err
			}
		}
	}
	return nil
}
