package runtime

import (
	"io"

	"github.com/parquet-go/parquet-go"
)

// predictionRow is a row of a .parquet file of predictions.
type predictionRow struct {
	File        string     `parquet:"file,snappy"`
	Label       *string    `parquet:"label,optional,dict,snappy"` // null for none
	Class       string     `parquet:"class,dict,snappy"`
	Index       int32      `parquet:"index,snappy"`
	Probability float32    `parquet:"probability"`
	Top         []classRow `parquet:"top,list"`
}

// classRow is a class of predictionRow.Top.
type classRow struct {
	Class       string  `parquet:"class,dict,snappy"`
	Index       int32   `parquet:"index,snappy"`
	Probability float32 `parquet:"probability"`
}

func (p *PredictionFile) asParquet(w io.Writer, top, groupBytes int) {
	out := newParquetTable[predictionRow](w, 64+32*top, groupBytes)
	p.write = func(file, label string, top []Class) error {
		row := predictionRow{File: validName(file), Top: make([]classRow, len(top))}
		if label != "" {
			label = validName(label)
			row.Label = &label
		}
		for k, c := range top {
			row.Top[k] = classRow{validName(c.Name), int32(c.Index), c.Probability}
		}
		row.Class, row.Index, row.Probability = row.Top[0].Class, row.Top[0].Index, row.Top[0].Probability
		_, err := out.Write([]predictionRow{row})
		return err
	}
	p.flush = out.Close
}

// scoreRow is a row of a .parquet file of scores.
type scoreRow struct {
	File     string  `parquet:"file,snappy"`
	Score    float32 `parquet:"score"`
	Decision bool    `parquet:"decision"`
}

func (s *Scores) asParquet(w io.Writer) {
	out := newParquetTable[scoreRow](w, 64, rowGroupBytes)
	s.write = func(file string, d Detection) error {
		_, err := out.Write([]scoreRow{{validName(file), d.Score, d.Anomalous}})
		return err
	}
	s.flush = out.Close
}

// newParquetTable returns a writer of rows that take about rowBytes each, which holds
// about groupBytes of them.
func newParquetTable[Row any](w io.Writer, rowBytes, groupBytes int, opt ...parquet.WriterOption) *parquet.GenericWriter[Row] {
	return parquet.NewGenericWriter[Row](w, append(opt,
		parquet.MaxRowsPerRowGroup(int64(max(1, groupBytes/rowBytes))),
		parquet.PageBufferSize(1<<20),
		parquet.CreatedBy("sslrt", "", ""))...)
}
