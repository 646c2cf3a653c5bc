package runtime

import (
	"bufio"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"math"
	"strings"
)

// The .npy format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

// npyHeaderSize is the size of the header we write. It is fixed, a multiple of
// 64 as the format asks, and has room for any shape, so that it can be written
// again when the number of rows is known.
const npyHeaderSize = 128

// npyHeader returns the header of a float32 array [n, dim].
func npyHeader(n, dim int) []byte {
	dict := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", n, dim)
	head := append([]byte("\x93NUMPY\x01\x00"), binary.LittleEndian.AppendUint16(nil, npyHeaderSize-10)...)
	head = append(head, dict...)
	head = append(head, strings.Repeat(" ", npyHeaderSize-1-len(head))...)
	return append(head, '\n')
}

// npyRows writes a .npy file and its list of files.
type npyRows struct {
	file   *atomicFile
	w      *bufio.Writer
	names  *csv.Writer
	buf    []byte
	n, dim int
}

func createNPY(path string, dim int) (FileSink, error) {
	f, err := createFile(path)
	if err != nil {
		return nil, fmt.Errorf("runtime: write embeddings: %w", err)
	}
	list, err := createFile(namesPath(path))
	if err != nil {
		f.discard()
		return nil, fmt.Errorf("runtime: write embeddings: %w", err)
	}
	r := &npyRows{file: f, w: bufio.NewWriterSize(f, 1<<16), names: csv.NewWriter(list), dim: dim}
	r.w.Write(npyHeader(0, dim)) // errors are kept until flush
	r.names.Write([]string{"file", "label"})
	return newSink(r, list, f), nil // the list first: an array is never without it
}

// namesPath returns the path of the list that goes with a .npy file.
func namesPath(path string) string {
	return path[:len(path)-len(".npy")] + ".files.csv"
}

func (r *npyRows) Write(file, label string, embedding []float32) error {
	if len(embedding) != r.dim {
		return fmt.Errorf("%s: got %d values, want %d", file, len(embedding), r.dim)
	}
	r.buf = r.buf[:0]
	for _, v := range embedding {
		r.buf = binary.LittleEndian.AppendUint32(r.buf, math.Float32bits(v))
	}
	if _, err := r.w.Write(r.buf); err != nil {
		return err
	}
	r.n++
	return r.names.Write([]string{file, label})
}

func (r *npyRows) flush() error {
	if err := r.w.Flush(); err != nil {
		return err
	}
	if _, err := r.file.WriteAt(npyHeader(r.n, r.dim), 0); err != nil {
		return err
	}
	r.names.Flush()
	return r.names.Error()
}
