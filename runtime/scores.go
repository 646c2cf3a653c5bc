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

// Scores writes what a detector says of images, one row each, to a file that appears
// when Close succeeds.
type Scores struct {
	write func(file string, d Detection) error
	flush func() error
	file  *atomicFile // nil for standard output
}

// CreateScores returns Scores for path by its suffix: .csv with the columns file,
// score, decision (1 for anomalous, else 0); .jsonl with one object of these keys per
// line, decision as a boolean; .parquet with these columns, decision as a boolean too,
// memory bounded by groups of rows; the path "-" is .jsonl on standard output.
func CreateScores(path string) (*Scores, error) {
	s := &Scores{}
	var w io.Writer = os.Stdout
	suffix := strings.ToLower(filepath.Ext(path))
	if path == "-" {
		suffix = ".jsonl"
	} else if suffix != ".csv" && suffix != ".jsonl" && suffix != ".parquet" {
		return nil, fmt.Errorf("runtime: write scores to %s: got suffix %q, want .csv, .jsonl or .parquet, or - for standard output", path, suffix)
	} else {
		f, err := createFile(path)
		if err != nil {
			return nil, fmt.Errorf("runtime: write scores: %w", err)
		}
		s.file, w = f, f
	}
	if suffix == ".parquet" {
		s.asParquet(w)
		return s, nil
	}
	if suffix == ".csv" {
		c := csv.NewWriter(w)
		c.Write([]string{"file", "score", "decision"}) // errors are kept until flush
		s.write = func(file string, d Detection) error {
			decision := "0"
			if d.Anomalous {
				decision = "1"
			}
			return c.Write([]string{file, strconv.FormatFloat(float64(d.Score), 'g', -1, 32), decision})
		}
		s.flush = func() error { c.Flush(); return c.Error() }
		return s, nil
	}
	b := bufio.NewWriter(w)
	s.write = func(file string, d Detection) error {
		line, err := json.Marshal(struct {
			File     string  `json:"file"`
			Score    float32 `json:"score"`
			Decision bool    `json:"decision"`
		}{file, d.Score, d.Anomalous})
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		b.Write(line)
		return b.WriteByte('\n')
	}
	s.flush = b.Flush
	return s, nil
}

// Write adds a row.
func (s *Scores) Write(file string, d Detection) error {
	if err := s.write(file, d); err != nil {
		return fmt.Errorf("runtime: write scores: %w", err)
	}
	return nil
}

// Close completes the file.
func (s *Scores) Close() error {
	err := s.flush()
	if err == nil && s.file != nil {
		err = s.file.commit()
	}
	if err != nil {
		return fmt.Errorf("runtime: write scores: %w", errors.Join(err, s.Abort()))
	}
	return nil
}

// Abort removes what is written so far, unless it is complete.
func (s *Scores) Abort() error {
	if s.file == nil {
		return nil
	}
	return s.file.discard()
}
