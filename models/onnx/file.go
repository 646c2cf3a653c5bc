package onnx

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Read reads a model from r, which holds an ONNX file. Tensors in other files stay
// references, see [Model.LoadExternal].
func Read(r io.Reader) (*Model, error) {
	data, err := readAll(r)
	if err != nil {
		return nil, fmt.Errorf("onnx: read: %w", err)
	}
	return Unmarshal(data)
}

func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
	if err == nil && len(data) > maxMessage {
		err = errTooLarge
	}
	return data, err
}

var errTooLarge = errors.New("is over 2 GiB, the limit of an ONNX file")

// ReadFile reads a model and the data files beside it into memory.
func ReadFile(path string) (*Model, error) {
	data, err := readModelFile(path)
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	m, err := unmarshal(data)
	if err != nil {
		return nil, fmt.Errorf("onnx: %s: %w", path, err)
	}
	if err := m.loadExternal(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("onnx: %s: %w", path, err)
	}
	return m, nil
}

func readModelFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var data []byte
	switch {
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder, want an ONNX file", path)
	case !info.Mode().IsRegular(): // a pipe tells no size
		data, err = readAll(f)
	case info.Size() > maxMessage:
		err = errTooLarge
	default:
		data = make([]byte, info.Size())
		_, err = io.ReadFull(f, data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// WriteFile writes a model. Either the whole file appears under its name or
// nothing changes. A model over 2 GiB keeps its large tensors in a second file,
// path + ".data"; both are complete on the disk before either gets its name.
func WriteFile(path string, m *Model) error {
	return WriteFileLimit(path, m, maxMessage)
}

const (
	detachSize  = 1024 // tensors smaller than this stay in the model file
	detachAlign = 4096 // so that a runtime can map the data file
)

// WriteFileLimit is WriteFile with another limit, in bytes, above which the large
// tensors go to the second file. A limit of 0 always makes one if there is a
// tensor of 1 KiB or more.
func WriteFileLimit(path string, m *Model, limit int64) error {
	var detached []*Tensor
	regions := map[*Tensor]region{}
	size, _ := encodeTo(nil, m, nil)
	if size > limit {
		var offset int64
		err := m.tensors(func(t *Tensor) error {
			if t.Location == External {
				return t.wrap(errExternal)
			}
			n, err := t.byteSize()
			if _, done := regions[t]; done || err != nil || n < detachSize {
				return nil
			}
			if err := t.storage(); err != nil {
				return t.wrap(err)
			}
			offset = (offset + detachAlign - 1) / detachAlign * detachAlign
			regions[t] = region{filepath.Base(path) + ".data", offset, n}
			detached = append(detached, t)
			offset += n
			return nil
		})
		if err != nil {
			return err
		}
		if size, _ = encodeTo(nil, m, regions); size > maxMessage {
			return fmt.Errorf("onnx: write %s: %d bytes without tensor data, more than 2 GiB", path, size)
		}
	}
	model := output{path: path, write: func(w io.Writer) error {
		_, err := encodeTo(w, m, regions)
		return err
	}}
	if len(detached) == 0 {
		return writeAtomic(model)
	}
	data := output{path: path + ".data", write: func(w io.Writer) error {
		return writeData(w, detached, regions)
	}}
	return writeAtomic(data, model)
}

func writeData(w io.Writer, tensors []*Tensor, regions map[*Tensor]region) error {
	var offset int64
	zeros := make([]byte, detachAlign)
	for _, t := range tensors {
		r := regions[t]
		if _, err := w.Write(zeros[:r.offset-offset]); err != nil {
			return err
		}
		b, err := t.Bytes()
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		offset = r.offset + r.length
	}
	return nil
}

// output is a file to be written.
type output struct {
	path  string
	write func(io.Writer) error
}

// writeAtomic writes temporary files beside the outputs and gives them their names,
// in order, when all of them are on the disk.
func writeAtomic(outputs ...output) error {
	temps := make([]string, len(outputs))
	defer func() {
		for _, temp := range temps {
			if temp != "" {
				os.Remove(temp)
			}
		}
	}()
	for i, o := range outputs {
		temps[i] = fmt.Sprintf("%s.%08x.tmp", o.path, rand.Uint32())
		if err := writeSynced(temps[i], o.write); err != nil {
			return fmt.Errorf("onnx: write %s: %w", o.path, err)
		}
	}
	for i, o := range outputs {
		if err := os.Rename(temps[i], o.path); err != nil {
			return fmt.Errorf("onnx: write %s: %w", o.path, err)
		}
		temps[i] = ""
	}
	return nil
}

func writeSynced(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<16)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
