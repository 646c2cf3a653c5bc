package runtime

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// Predictions read back as they were written, in groups of rows.
func TestParquetPredictions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	f, err := createFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := &PredictionFile{file: f}
	p.asParquet(f, 2, 128*10) // ten rows in a group
	const n = 25
	for i := range n {
		top := []Class{{Name: "cat", Index: 3, Probability: 0.75}, {Name: "dog\xe9", Index: i, Probability: 0.25}}
		if err := p.Write("a\xe9.png", []string{"", "cat\xe9"}[i%2], top); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is there before Close")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	rows, err := parquet.ReadFile[predictionRow](path)
	if err != nil || len(rows) != n {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, r := range rows {
		if r.File != `a\xe9.png` || (r.Label != nil) != (i%2 == 1) || r.Label != nil && *r.Label != `cat\xe9` {
			t.Errorf("row %d: file %q, label %v", i, r.File, r.Label)
		}
		if r.Class != "cat" || r.Index != 3 || r.Probability != 0.75 {
			t.Errorf("row %d: %+v", i, r)
		}
		if len(r.Top) != 2 || r.Top[0] != (classRow{"cat", 3, 0.75}) || r.Top[1] != (classRow{`dog\xe9`, int32(i), 0.25}) {
			t.Errorf("row %d: top %+v", i, r.Top)
		}
	}
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if got := len(openParquet(t, in).RowGroups()); got != 3 {
		t.Errorf("got %d groups of rows, want 3", got)
	}
}

func TestPredictionWithoutClass(t *testing.T) {
	for _, suffix := range []string{".csv", ".jsonl", ".parquet"} {
		p, err := CreatePredictions(filepath.Join(t.TempDir(), "x"+suffix), 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Write("a.png", "", nil); err == nil {
			t.Errorf("%s: got no error", suffix)
		}
		p.Abort()
	}
}

func TestParquetScores(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.parquet")
	s, err := CreateScores(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range []string{"a\xe9.png", "b.png"} {
		if err := s.Write(file, Detection{Score: float32(i) + 0.5, Anomalous: i == 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rows, err := parquet.ReadFile[scoreRow](path)
	if err != nil || len(rows) != 2 || rows[0] != (scoreRow{`a\xe9.png`, 0.5, false}) || rows[1] != (scoreRow{"b.png", 1.5, true}) {
		t.Errorf("got %+v, %v", rows, err)
	}
}
