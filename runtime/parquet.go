package runtime

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// parquetRow is a row of a .parquet file of embeddings.
type parquetRow struct {
	File      string    `parquet:"file,snappy"`
	Label     *string   `parquet:"label,optional,dict,snappy"` // null for none
	Embedding []float32 `parquet:"embedding,list"`
}

// rowGroupBytes is about how much of a .parquet file is held in memory before it is written, and what
// its reader must hold at a time.
const rowGroupBytes = 16 << 20

// parquetRows writes a .parquet file.
type parquetRows struct {
	w   *parquet.GenericWriter[parquetRow]
	row [1]parquetRow
	dim int
}

func createParquet(path string, dim int, about map[string]string) (FileSink, error) {
	f, err := createFile(path)
	if err != nil {
		return nil, fmt.Errorf("runtime: write embeddings: %w", err)
	}
	return newSink(newParquet(f, dim, about, rowGroupBytes), f), nil
}

func newParquet(w io.Writer, dim int, about map[string]string, groupBytes int) *parquetRows {
	var opt []parquet.WriterOption
	for _, key := range slices.Sorted(maps.Keys(about)) {
		opt = append(opt, parquet.KeyValueMetadata(key, about[key]))
	}
	return &parquetRows{w: newParquetTable[parquetRow](w, 4*max(dim, 1)+64, groupBytes, opt...), dim: dim}
}

func (p *parquetRows) Write(file, label string, embedding []float32) error {
	if len(embedding) != p.dim {
		return fmt.Errorf("%s: got %d values, want %d", file, len(embedding), p.dim)
	}
	p.row[0] = parquetRow{File: file, Embedding: embedding}
	if label != "" {
		p.row[0].Label = &label
	}
	_, err := p.w.Write(p.row[:])
	return err
}

func (p *parquetRows) flush() error { return p.w.Close() }

// readParquet reads a file that has a column embedding, a list of float32, and perhaps the columns file
// and label.
func readParquet(f *os.File) (e *Embeddings, err error) {
	// The library uses unsafe memory, so that a damaged file may make it panic, or fault.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			e, err = nil, fmt.Errorf("it is damaged: %v", p)
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkParquetFooter(f, info.Size()); err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(f, info.Size(), parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true))
	if err != nil {
		return nil, err
	}
	column, ok := file.Schema().Lookup("embedding", "list", "element")
	if !ok || column.Node.Type().Kind() != parquet.Float {
		return nil, fmt.Errorf("got columns %v, want embedding, a list of float32", file.Schema().Columns())
	}
	if err := checkParquetPages(file, f, info.Size()); err != nil {
		return nil, err
	}
	e = &Embeddings{}
	r := parquet.NewGenericReader[parquetRow](file)
	defer r.Close()
	rows := make([]parquetRow, 64)
	for {
		clear(rows)
		n, err := r.Read(rows)
		for _, row := range rows[:n] {
			label := ""
			if row.Label != nil {
				label = *row.Label
			}
			if err := e.Write(row.File, label, row.Embedding); err != nil {
				return nil, err
			}
		}
		if errors.Is(err, io.EOF) {
			return e, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
