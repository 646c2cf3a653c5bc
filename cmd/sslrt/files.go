package main

import (
	"encoding/csv"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
)

// writeFile writes a file and the folders it stands in. It appears under its name when
// it is complete.
func writeFile(path string, write func(w io.Writer) error) error {
	fail := func(err error) error { return fmt.Errorf("write %s: %w", path, err) }
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fail(err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".sslrt-*")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(f.Name())
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

func writePNG(path string, m image.Image) error {
	return writeFile(path, func(w io.Writer) error { return png.Encode(w, m) })
}

func writeCSV(path string, rows [][]string) error {
	return writeFile(path, func(w io.Writer) error {
		c := csv.NewWriter(w)
		return c.WriteAll(rows)
	})
}
