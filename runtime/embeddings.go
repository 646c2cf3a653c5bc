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
	"strconv"
	"strings"
)

// Embeddings is a set of embeddings in memory. It is a Sink.
type Embeddings struct {
	Files  []string  // [N]; nil when a file of them does not say
	Labels []string  // [N], class names, "" for none; nil like Files
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

// ReadEmbeddings reads what a sink of Create wrote, by its suffix. A .npy file
// from elsewhere may be float64 and have no list of files beside it.
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
	case ".jsonl":
		read = func(f *os.File) (*Embeddings, error) { return readJSONL(f) }
	case ".csv":
		read = func(f *os.File) (*Embeddings, error) { return readCSV(f) }
	default:
		return fail(fmt.Errorf("got suffix %q, want .parquet, .npy, .jsonl or .csv", ext))
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

func readCSV(r io.Reader) (*Embeddings, error) {
	c := csv.NewReader(bufio.NewReaderSize(r, 1<<16))
	c.ReuseRecord = true
	head, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if len(head) < 3 || head[0] != "file" || head[1] != "label" {
		return nil, fmt.Errorf("got columns %.80q, want file, label, e0, e1 and so on", head)
	}
	e := &Embeddings{}
	row := make([]float32, len(head)-2)
	for {
		fields, err := c.Read()
		if errors.Is(err, io.EOF) {
			return e, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := c.FieldPos(0)
		for i, s := range fields[2:] {
			v, err := strconv.ParseFloat(s, 32)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			row[i] = float32(v)
		}
		// The fields of a line share one string; a clone lets the numbers go.
		if err := e.Write(strings.Clone(fields[0]), strings.Clone(fields[1]), row); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
	}
}
