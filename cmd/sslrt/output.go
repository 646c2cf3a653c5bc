package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// writeWhole writes a file that appears under its name when it is complete and on the
// disk.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return pathless(err) // the temporary name tells the user nothing
	}
	defer os.Remove(f.Name()) // which does nothing once it has its name
	w := bufio.NewWriterSize(f, 1<<16)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func writePNG(path string, m image.Image) error {
	return writeWhole(path, func(w io.Writer) error { return png.Encode(w, m) })
}

func writeCSV(path string, rows [][]string) error {
	return writeWhole(path, func(w io.Writer) error { return csv.NewWriter(w).WriteAll(rows) })
}

// wantSuffix refuses the path that a flag gives, unless it is empty or has one of the
// suffixes.
func wantSuffix(flag, path string, suffixes ...string) error {
	if path == "" || slices.Contains(suffixes, strings.ToLower(filepath.Ext(path))) {
		return nil
	}
	return usagef("--%s %s: want a %s file", flag, path, oneOf(suffixes))
}

// oneOf lists alternatives: "a, b or c".
func oneOf(list []string) string {
	last := len(list) - 1
	if last < 1 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:last], ", ") + " or " + list[last]
}

// embeddingFiles and tables are the formats of vectors and of other results.
var (
	embeddingFiles = []string{".parquet", ".npy", ".jsonl", ".csv"}
	tables         = []string{".csv", ".jsonl", ".parquet"}
)

// checkResults refuses an --output that is missing, or is neither one of the suffixes
// nor "-" for standard output, which --json needs for itself.
func checkResults(path string, g *global, suffixes ...string) error {
	switch {
	case path == "":
		return usagef("--output is missing: a %s file, or - for standard output", oneOf(suffixes))
	case path == "-" && g.json:
		return usagef("--json and --output - would both write to standard output: choose one")
	case path == "-":
		return nil
	}
	if err := wantSuffix("output", path, suffixes...); err != nil {
		return err
	}
	return checkFree(true, path)
}

// checkFree is the error of outputs that could not be written in the end, so that no work
// is lost: those that are there already, unless force writes over them, those that are no
// files, and those whose folder is not there or takes no files.
func checkFree(force bool, paths ...string) error {
	for _, p := range paths {
		if p == "" {
			continue
		}
		switch info, err := os.Stat(p); {
		case err == nil && info.IsDir():
			return fmt.Errorf("write %s: it is a folder, want the name of a file", p)
		case err == nil && !info.Mode().IsRegular():
			return fmt.Errorf("write %s: it is there and is no file", p)
		}
		if _, err := os.Lstat(p); err == nil && !force {
			return fmt.Errorf("%s exists: --force writes over it", p)
		}
		if err := takesFiles(filepath.Dir(p)); err != nil {
			return fmt.Errorf("write %s: %w", p, err)
		}
	}
	return nil
}

// checkFolders is the error of folders that could not be made or written into.
func checkFolders(paths ...string) error {
	for _, p := range paths {
		if p == "" {
			continue
		}
		there := filepath.Clean(p) // or the folder in which it will be made
		for !exists(there) && filepath.Dir(there) != there {
			there = filepath.Dir(there)
		}
		if err := takesFiles(there); err != nil {
			return fmt.Errorf("write into %s: %w", p, err)
		}
	}
	return nil
}

// takesFiles is the error of a folder in which no file can be made.
func takesFiles(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return pathless(err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is a file, want a folder", dir)
	}
	f, err := os.CreateTemp(dir, ".sslrt-*")
	if err != nil {
		return pathless(err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// pathless is an error without the path that it names.
func pathless(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
