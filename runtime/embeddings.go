package runtime

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Embeddings is a set of embeddings in memory. It is a Sink.
type Embeddings struct {
	Files  []string  // [N]; nil when a file of them does not say
	Labels []string  // [N], class names, "" for none; nil like Files, but on its own
	Dim    int       // size of an embedding; set by the first Write
	X      []float32 // [N, Dim]
}

// Len returns the number of embeddings.
func (e *Embeddings) Len() int {
	if e.Dim == 0 {
		return 0
	}
	return len(e.X) / e.Dim
}

// Write implements Sink.
func (e *Embeddings) Write(file, label string, embedding []float32) error {
	if e.Dim == 0 {
		e.Dim = len(embedding)
	}
	if len(embedding) != e.Dim || e.Dim == 0 {
		return fmt.Errorf("%s: got %d values, want %d", file, len(embedding), max(e.Dim, 1))
	}
	e.Files = append(e.Files, file)
	e.Labels = append(e.Labels, label)
	e.X = append(e.X, embedding...)
	return nil
}

// ReadEmbeddings reads what a sink of Create wrote, by its suffix, and vectors from
// elsewhere: a .npy array [N, ...] of any number type, with no list of files beside it; a
// .npz file with such an array and perhaps one of labels; a .csv table of numbers in
// which the columns file and label, and the header, may be missing. Of an array of more
// than two axes, images say, all but the first become one.
func ReadEmbeddings(path string) (*Embeddings, error) {
	fail := func(err error) (*Embeddings, error) {
		return nil, fmt.Errorf("runtime: read embeddings %s: %w", filepath.Base(path), err)
	}
	var read func(*os.File) (*Embeddings, error)
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".parquet":
		read = readParquet
	case ".npy":
		read = readNPYFile
	case ".npz":
		read = readNPZFile
	case ".jsonl":
		read = func(f *os.File) (*Embeddings, error) { return readJSONL(f) }
	case ".csv":
		read = func(f *os.File) (*Embeddings, error) { return readCSV(f) }
	default:
		return fail(fmt.Errorf("got suffix %q, want .parquet, .npy, .npz, .jsonl or .csv", ext))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("runtime: read embeddings: %w", err)
	}
	defer f.Close()
	e, err := read(f)
	if err != nil {
		return fail(err)
	}
	if e.Len() == 0 {
		return fail(errors.New("it holds none"))
	}
	return e, nil
}

func readNPYFile(f *os.File) (*Embeddings, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	e := &Embeddings{}
	if e.X, e.Dim, err = readNPY(f, info.Size()); err != nil {
		return nil, err
	}
	list, err := os.Open(namesPath(f.Name()))
	if errors.Is(err, os.ErrNotExist) {
		return e, nil
	}
	if err != nil {
		return nil, err
	}
	defer list.Close()
	lines, err := csv.NewReader(bufio.NewReader(list)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(list.Name()), err)
	}
	if len(lines) != e.Len()+1 || len(lines[0]) != 2 {
		return nil, fmt.Errorf("%s: got %d lines, want a header file,label and one for each of %d rows", filepath.Base(list.Name()), len(lines), e.Len())
	}
	for _, l := range lines[1:] {
		e.Files, e.Labels = append(e.Files, l[0]), append(e.Labels, l[1])
	}
	return e, nil
}

func readJSONL(r io.Reader) (*Embeddings, error) {
	e := &Embeddings{}
	d := json.NewDecoder(bufio.NewReaderSize(r, 1<<16))
	for line := 1; ; line++ {
		var rec record
		err := d.Decode(&rec)
		if errors.Is(err, io.EOF) {
			return e, nil
		}
		if err == nil {
			err = e.Write(rec.File, rec.Label, rec.Embedding)
		}
		if err != nil {
			return nil, fmt.Errorf("object %d: %w", line, err)
		}
	}
}
