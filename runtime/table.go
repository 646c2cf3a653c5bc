package runtime

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// readCSV reads a table of numbers. With a header, the columns called file and label are
// what they say, wherever they stand, and all others are the vector. A first line of
// numbers is no header.
func readCSV(r io.Reader) (*Embeddings, error) {
	c := csv.NewReader(bufio.NewReaderSize(r, 1<<16))
	c.ReuseRecord = true
	head, err := c.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	}
	if err != nil {
		return nil, err
	}
	t := table{file: -1, label: -1, e: &Embeddings{}}
	if allNumbers(head) {
		t.row = make([]float32, len(head))
		if err := t.add(c, head); err != nil {
			return nil, err
		}
	} else if err := t.header(head); err != nil {
		return nil, err
	}
	for {
		fields, err := c.Read()
		if errors.Is(err, io.EOF) {
			return t.e, nil
		}
		if errors.Is(err, csv.ErrFieldCount) {
			line, _ := c.FieldPos(0)
			return nil, fmt.Errorf("line %d: got %d columns, want %d as in the first line", line, len(fields), c.FieldsPerRecord)
		}
		if err != nil {
			return nil, err
		}
		if err := t.add(c, fields); err != nil {
			return nil, err
		}
	}
}

// table is the state of reading one.
type table struct {
	file, label int // columns, -1 for none
	names       []string
	row         []float32
	e           *Embeddings
}

func (t *table) header(head []string) error {
	head = slices.Clone(head)
	head[0] = strings.TrimPrefix(head[0], "\ufeff")
	t.names = head
	t.file, t.label = slices.Index(head, "file"), slices.Index(head, "label")
	width := len(head)
	for _, column := range []int{t.file, t.label} {
		if column >= 0 {
			width--
		}
	}
	if width < 1 {
		return fmt.Errorf("got columns %.80q, want numbers beside file and label", head)
	}
	t.row = make([]float32, width)
	return nil
}

func allNumbers(fields []string) bool {
	return !slices.ContainsFunc(fields, func(s string) bool {
		_, err := strconv.ParseFloat(strings.TrimSpace(s), 32)
		return err != nil && !errors.Is(err, strconv.ErrRange)
	})
}

func (t *table) add(c *csv.Reader, fields []string) error {
	k := 0
	for i, s := range fields {
		if i == t.file || i == t.label {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(s), 32)
		if err != nil {
			line, _ := c.FieldPos(i)
			column := strconv.Itoa(i + 1)
			if t.names != nil {
				column = t.names[i]
			}
			return fmt.Errorf("line %d, column %s: got %.40q, want a number", line, column, s)
		}
		t.row[k] = float32(v)
		k++
	}
	t.e.Dim = len(t.row)
	t.e.X = append(t.e.X, t.row...)
	// The fields of a line share one string; a clone lets the numbers go.
	if t.file >= 0 {
		t.e.Files = append(t.e.Files, strings.Clone(fields[t.file]))
	}
	if t.label >= 0 {
		t.e.Labels = append(t.e.Labels, strings.Clone(fields[t.label]))
	}
	return nil
}
