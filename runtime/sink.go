package runtime

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Sink takes embeddings one by one.
type Sink interface {
	// Write adds the embedding of an image: its file name as the source gives it,
	// and its class, "" if it has none. It keeps no argument.
	Write(file, label string, embedding []float32) error
}

// FileSink is a Sink that writes a file. The file appears when Close succeeds;
// Abort, or a program that ends before, leaves what was there.
type FileSink interface {
	Sink
	Close() error
	Abort() error // does nothing after Close
}

// Create returns a sink for path by its suffix:
//
//   - .parquet: columns file, label (null for none) and embedding, a list of
//     float32; memory is bounded by groups of rows
//   - .npy: float32 [N, dim] for NumPy; names and labels go to a second file,
//     x.files.csv beside x.npy, with one line file,label per row
//   - .jsonl: one object per line, {"file": ..., "label": ..., "embedding": [...]},
//     with no label where there is none
//   - .csv: columns file, label, e0, e1, ...
//   - the path "-": .jsonl on standard output
//
// Numbers in text are the shortest that read back as the same float32. Names that
// are not UTF-8 are written with \xNN for the bytes that are not.
func Create(path string, dim int) (FileSink, error) { return CreateAbout(path, dim, nil) }

// CreateAbout is Create with metadata, what was embedded by which model, for the
// formats that hold them: the key-value metadata of .parquet.
func CreateAbout(path string, dim int, about map[string]string) (FileSink, error) {
	if path == "-" {
		return newSink(NewJSONL(os.Stdout)), nil
	}
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".parquet":
		return createParquet(path, dim, about)
	case ".npy":
		return createNPY(path, dim)
	case ".jsonl":
		f, err := createFile(path)
		if err != nil {
			return nil, fmt.Errorf("runtime: write embeddings: %w", err)
		}
		return newSink(NewJSONL(f), f), nil
	case ".csv":
		f, err := createFile(path)
		if err != nil {
			return nil, fmt.Errorf("runtime: write embeddings: %w", err)
		}
		return newSink(newCSV(f, dim), f), nil
	default:
		return nil, fmt.Errorf("runtime: write embeddings to %s: got suffix %q, want .parquet, .npy, .jsonl or .csv, or - for standard output", path, ext)
	}
}

// rows is a Sink that may hold back what it was given until flush.
type rows interface {
	Sink
	flush() error
}

// sink is rows and the files they go to.
type sink struct {
	rows
	files []*atomicFile
}

func newSink(r rows, files ...*atomicFile) *sink { return &sink{r, files} }

// Write implements Sink.
func (s *sink) Write(file, label string, embedding []float32) error {
	return s.rows.Write(validName(file), validName(label), embedding)
}

// validName escapes what is not UTF-8 in a name, which file systems allow and tables
// of text do not: the byte 0xE9 becomes \xe9.
func validName(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	var b strings.Builder
	for i, r := range name {
		if _, n := utf8.DecodeRuneInString(name[i:]); r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, "\\x%02x", name[i])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func (s *sink) Close() error {
	err := s.flush()
	for _, f := range s.files {
		if err == nil {
			err = f.commit()
		}
	}
	if err != nil {
		s.Abort()
		return fmt.Errorf("runtime: write embeddings: %w", err)
	}
	return nil
}

func (s *sink) Abort() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.discard())
	}
	return errors.Join(errs...)
}

// atomicFile is a file that appears under its name when it is complete.
type atomicFile struct {
	*os.File
	path string
	done bool
}

func createFile(path string) (*atomicFile, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err // the temporary name tells the user nothing
		}
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return &atomicFile{File: f, path: path}, nil
}

func (f *atomicFile) commit() error {
	if f.done {
		return nil
	}
	err := f.Chmod(0o644)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	f.done = err == nil
	return err
}

func (f *atomicFile) discard() error {
	if f.done {
		return nil
	}
	f.done = true
	f.Close() // perhaps closed before
	return os.Remove(f.Name())
}

// JSONL writes one JSON object per line. Its user flushes it.
type JSONL struct{ w *bufio.Writer }

// NewJSONL returns a sink that writes to w, which stays open.
func NewJSONL(w io.Writer) *JSONL { return &JSONL{bufio.NewWriter(w)} }

// Write implements Sink. JSON has no infinity and no NaN: they are errors.
func (j *JSONL) Write(file, label string, embedding []float32) error {
	line, err := json.Marshal(record{file, label, embedding})
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	j.w.Write(line)
	return j.w.WriteByte('\n')
}

func (j *JSONL) flush() error { return j.w.Flush() }

// record is one line of a .jsonl file.
type record struct {
	File      string    `json:"file"`
	Label     string    `json:"label,omitempty"`
	Embedding []float32 `json:"embedding"`
}

// csvRows writes a table with a header.
type csvRows struct {
	w      *csv.Writer
	fields []string
}

func newCSV(w io.Writer, dim int) *csvRows {
	c := &csvRows{w: csv.NewWriter(w), fields: make([]string, 2+dim)}
	c.fields[0], c.fields[1] = "file", "label"
	for i := range dim {
		c.fields[2+i] = "e" + strconv.Itoa(i)
	}
	c.w.Write(c.fields) // errors are kept until flush
	return c
}

func (c *csvRows) Write(file, label string, embedding []float32) error {
	if len(embedding) != len(c.fields)-2 {
		return fmt.Errorf("%s: got %d values, want %d", file, len(embedding), len(c.fields)-2)
	}
	c.fields[0], c.fields[1] = file, label
	for i, v := range embedding {
		c.fields[2+i] = strconv.FormatFloat(float64(v), 'g', -1, 32)
	}
	return c.w.Write(c.fields)
}

func (c *csvRows) flush() error {
	c.w.Flush()
	return c.w.Error()
}
