package runtime

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// PredictionFile is a PredictionSink that writes a file. The file appears when Close
// succeeds; Abort, or a program that ends before, leaves what was there.
type PredictionFile struct {
	write func(file, label string, top []Class) error
	flush func() error
	file  *atomicFile // nil: standard output
}

// CreatePredictions returns a sink for path by its suffix:
//
//   - .csv: columns file, class, index, probability, and for the classes that follow
//     class_2, index_2, probability_2, class_3, ...
//   - .jsonl: one object per line, {"file": ..., "label": ..., "class": ..., "index":
//     ..., "probability": ..., "top": [{"class": ..., ...}, ...]}, top with all classes
//     that were asked for, label where the image has one
//   - .parquet: the columns of .jsonl, label null where there is none, top a list of
//     {class, index, probability}; memory is bounded by groups of rows
//   - the path "-": .jsonl on standard output
func CreatePredictions(path string, top int) (*PredictionFile, error) {
	ext := strings.ToLower(filepath.Ext(path))
	if path != "-" && ext != ".csv" && ext != ".jsonl" && ext != ".parquet" {
		return nil, fmt.Errorf("runtime: write predictions to %s: got suffix %q, want .csv, .jsonl or .parquet, or - for standard output", path, ext)
	}
	p := &PredictionFile{}
	var w io.Writer = os.Stdout
	if path != "-" {
		f, err := createFile(path)
		if err != nil {
			return nil, fmt.Errorf("runtime: write predictions: %w", err)
		}
		p.file, w = f, f
	}
	switch {
	case path == "-" || ext == ".jsonl":
		p.asJSONL(w)
	case ext == ".csv":
		p.asCSV(w, top)
	default:
		p.asParquet(w, top, rowGroupBytes)
	}
	return p, nil
}

func (p *PredictionFile) asCSV(w io.Writer, top int) {
	c := csv.NewWriter(w)
	header := []string{"file", "class", "index", "probability"}
	for k := 2; k <= top; k++ {
		n := strconv.Itoa(k)
		header = append(header, "class_"+n, "index_"+n, "probability_"+n)
	}
	c.Write(header) // errors are kept until flush
	p.write = func(file, _ string, top []Class) error {
		fields := []string{file}
		for _, t := range top {
			fields = append(fields, t.Name, strconv.Itoa(t.Index), strconv.FormatFloat(float64(t.Probability), 'g', -1, 32))
		}
		return c.Write(fields)
	}
	p.flush = func() error {
		c.Flush()
		return c.Error()
	}
}

func (p *PredictionFile) asJSONL(w io.Writer) {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	p.write = func(file, label string, top []Class) error {
		return enc.Encode(struct {
			File  string `json:"file"`
			Label string `json:"label,omitempty"`
			Class
			Top []Class `json:"top"`
		}{file, label, top[0], top})
	}
	p.flush = b.Flush
}

// Write implements PredictionSink. top has one class or more.
func (p *PredictionFile) Write(file, label string, top []Class) error {
	if len(top) == 0 {
		return fmt.Errorf("runtime: write predictions: %s: got no class, want one or more", file)
	}
	return p.write(file, label, top)
}

// Close writes what is left and gives the file its name.
func (p *PredictionFile) Close() error {
	err := p.flush()
	if err == nil && p.file != nil {
		err = p.file.commit()
	}
	if err != nil {
		p.Abort()
		return fmt.Errorf("runtime: write predictions: %w", err)
	}
	return nil
}

// Abort leaves the file as it was. It does nothing after Close.
func (p *PredictionFile) Abort() error {
	if p.file == nil {
		return nil
	}
	return p.file.discard()
}
