package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// File is a checkpoint that is open for reading.
type File struct {
	Path   string
	Format string // "PyTorch zip", "PyTorch legacy", "safetensors"
	Size   int64  // bytes, of all parts

	// Root is what the file holds besides tensors' values: *Dict, []any, *Tensor,
	// string, int, float64, bool, nil.
	Root any

	// Tensors are all tensors by their full names, in the order of the file.
	Tensors []*Tensor

	// Foreign are the Python classes and functions that the file names and that were
	// not needed: they are not executed.
	Foreign []string

	files []*os.File
}

// Close closes the file: tensors cannot be read any more.
func (f *File) Close() error {
	var errs []error
	for _, x := range f.files {
		errs = append(errs, x.Close())
	}
	return errors.Join(errs...)
}

// Open reads what a checkpoint holds, but for the values of its tensors: a file of
// PyTorch, of the zip format (since 1.6) or the one before, a safetensors file, the
// index of a checkpoint in several files (model.safetensors.index.json), or a folder
// with one of those by the names that transformers and timm use. The contents
// decide, not the name.
//
// Nothing in the file is executed. A file that is damaged or that claims more than
// it holds gives an error; no more memory is taken than the file's size justifies.
func Open(path string) (*File, error) {
	f, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	if err := f.index(); err != nil {
		f.Close()
		return nil, fmt.Errorf("checkpoint: read %s: %w", path, err)
	}
	return f, nil
}

// inFolder are the names that checkpoints have in a folder of a model.
var inFolder = []string{"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"}

func open(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		for _, name := range inFolder {
			if _, err := os.Stat(filepath.Join(path, name)); err == nil {
				return open(filepath.Join(path, name))
			}
		}
		return nil, fmt.Errorf("%s is a folder without %s: name a file", path, strings.Join(inFolder, ", "))
	}
	if strings.HasSuffix(path, ".index.json") {
		return openSharded(path)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	x, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{Path: path, Size: info.Size(), files: []*os.File{x}}
	if err := f.read(x); err != nil {
		x.Close()
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return f, nil
}

// read tells formats apart by the first bytes.
func (f *File) read(x io.ReaderAt) error {
	head := make([]byte, min(512, f.Size))
	n, err := x.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	head = head[:n]
	switch {
	case n == 0:
		return errors.New("the file is empty")
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return f.readZip(x)
	case n > 9 && head[8] == '{' && bytes.Equal(head[5:8], []byte{0, 0, 0}):
		return f.readSafetensors(x)
	case n > 262 && string(head[257:262]) == "ustar":
		return errors.New("it is a tar archive: files of PyTorch before 0.1.10 are not read; " +
			"load it with such a PyTorch and save it anew, or unpack the archive if it holds a checkpoint")
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return errors.New("it is compressed by gzip: unpack it first (gunzip)")
	case bytes.HasPrefix(head, []byte("version https://git-lfs")):
		return errors.New("it is a pointer of Git LFS, not the file itself: fetch it (git lfs pull)")
	case bytes.HasPrefix(head, []byte("\x89HDF")):
		return errors.New("it is an HDF5 file (Keras): those are not read; export it as ONNX")
	case head[0] == 0x80, head[0] == 'L': // a pickle: protocol 2 and up, or below
		return f.readLegacy(x)
	}
	// The last bytes of an index of TensorFlow, which is a LevelDB table.
	tail := make([]byte, 8)
	if _, err := x.ReadAt(tail, max(0, f.Size-8)); err == nil && bytes.Equal(tail, []byte{0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb}) {
		return errors.New("it is the index of a TensorFlow checkpoint: those are not read; convert it to PyTorch first (tonylins/simclr-converter)")
	}
	return errors.New("it is neither a file of PyTorch nor a safetensors file")
}

// index lists the tensors of the tree.
func (f *File) index() error {
	if f.Tensors == nil {
		w := walker{names: map[string]bool{}}
		if err := w.walk("", f.Root, 0); err != nil {
			return err
		}
		f.Tensors = w.tensors
	}
	return nil
}

// walker lists the tensors of a tree. What several dictionaries hold is listed in
// each, so the number of steps is limited.
type walker struct {
	tensors []*Tensor
	names   map[string]bool
	steps   int
}

func (w *walker) walk(name string, v any, depth int) error {
	if w.steps++; w.steps > maxObjects {
		return fmt.Errorf("it holds more than %d values", maxObjects)
	}
	if depth > maxDepth {
		return fmt.Errorf("nested more than %d deep", maxDepth)
	}
	sub := func(key string, v any) error {
		if name != "" {
			key = name + "." + key
		}
		return w.walk(key, v, depth+1)
	}
	switch v := v.(type) {
	case *Tensor:
		if name == "" {
			name = "tensor"
		}
		if w.names[name] {
			return fmt.Errorf("two tensors are called %q", name)
		}
		w.names[name] = true
		named := *v
		named.Name = name
		w.tensors = append(w.tensors, &named)
	case *Dict:
		for i, key := range v.Keys {
			// A module that was saved whole keeps its tensors in these.
			if v.Class != "" && (key == "_parameters" || key == "_buffers" || key == "_modules") {
				if err := w.walk(name, v.Values[i], depth+1); err != nil {
					return err
				}
				continue
			}
			if err := sub(key, v.Values[i]); err != nil {
				return err
			}
		}
	case []any:
		for i, item := range v {
			switch item.(type) {
			case *Tensor, *Dict, []any:
				if err := sub(fmt.Sprint(i), item); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// foreign sorts the names that became stubs.
func foreign(globals map[string]bool) []string { return slices.Sorted(maps.Keys(globals)) }
