package detector

import (
	"encoding/csv"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sslrt/sslrt/augment"
)

// Categories returns the folders among paths that are in MVTec's layout, with
// normal images in train/good: a path itself, or the folders in it. None: the paths
// are plain images.
func Categories(paths []string) ([]string, error) {
	isCategory := func(dir string) bool {
		info, err := os.Stat(filepath.Join(dir, "train", "good"))
		return err == nil && info.IsDir()
	}
	if len(paths) != 1 {
		return nil, nil
	}
	if isCategory(paths[0]) {
		return paths, nil
	}
	entries, err := os.ReadDir(paths[0])
	if err != nil {
		return nil, nil // no folder: opening it as images tells what it is
	}
	var found []string
	for _, e := range entries {
		if dir := filepath.Join(paths[0], e.Name()); isCategory(dir) {
			found = append(found, dir)
		}
	}
	return found, nil
}

// Category is the labelled data that a detector is judged by.
type Category struct {
	Source augment.Source
	Normal string // the class of the normal images

	dir   string
	masks string                       // the folder ground_truth; "" without
	boxes map[string][]image.Rectangle // by name, as boxes.csv has it; nil without
}

// OpenCategory opens the test images of a folder in MVTec's layout: test/good and
// test/DEFECT, masks in ground_truth/DEFECT called NAME_mask.png or NAME.png, and
// boxes in boxes.csv (file, x1, y1, x2, y2: pixels of the image, x2 and y2 beyond the
// last). A folder without test is taken for the test images themselves. normal is the
// class of the normal images, "good" in that layout; opt says how images are read.
func OpenCategory(dir, normal string, opt augment.SourceOptions) (*Category, error) {
	c := &Category{Normal: normal, dir: dir}
	images := dir
	if info, err := os.Stat(filepath.Join(dir, "test")); err == nil && info.IsDir() {
		images = filepath.Join(dir, "test")
	}
	src, err := augment.Open([]string{images}, opt)
	if err != nil {
		return nil, err
	}
	c.Source = src
	if err := c.check(images); err != nil {
		return nil, errors.Join(err, src.Close())
	}
	if info, err := os.Stat(filepath.Join(dir, "ground_truth")); err == nil && info.IsDir() {
		c.masks = filepath.Join(dir, "ground_truth")
	}
	if err := c.readBoxes(filepath.Join(dir, "boxes.csv")); err != nil {
		return nil, errors.Join(err, src.Close())
	}
	return c, nil
}

func (c *Category) check(images string) error {
	classes := c.Source.Classes()
	if !slices.Contains(classes, c.Normal) {
		return fmt.Errorf("detector: %s has no folder %q of normal images, only %v", images, c.Normal, classes)
	}
	if len(classes) < 2 {
		return fmt.Errorf("detector: %s holds normal images only: there is nothing to find", images)
	}
	return nil
}

// Close closes the images.
func (c *Category) Close() error { return c.Source.Close() }

// anomalous says whether image i is.
func (c *Category) anomalous(i int) bool {
	return c.Source.Classes()[c.Source.Label(i)] != c.Normal
}

// HasMasks reports whether there are masks.
func (c *Category) HasMasks() bool { return c.masks != "" }

// mask returns the mask of image i, nil for a normal one.
func (c *Category) mask(i int) (*augment.Image, error) {
	if !c.anomalous(i) {
		return nil, nil
	}
	name := c.Source.Name(i)
	stem := strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
	dir := filepath.Join(c.masks, c.Source.Classes()[c.Source.Label(i)])
	for _, file := range []string{stem + "_mask.png", stem + ".png"} {
		m, err := augment.DecodeFile(filepath.Join(dir, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return m, err
	}
	return nil, fmt.Errorf("detector: %s has no mask: want %s in %s", name, stem+"_mask.png", dir)
}

func (c *Category) readBoxes(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("detector: %w", err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.FieldsPerRecord = -1
	c.boxes = map[string][]image.Rectangle{}
	for first := true; ; first = false {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("detector: %s: %w", path, err)
		}
		line, _ := r.FieldPos(0)
		if len(row) < 5 {
			return fmt.Errorf("detector: %s line %d: got %d columns, want file, x1, y1, x2, y2", path, line, len(row))
		}
		var v [4]int
		for k := range v {
			if v[k], err = strconv.Atoi(row[k+1]); err != nil {
				break
			}
		}
		if err != nil && first {
			continue // the header
		}
		box := image.Rectangle{image.Pt(v[0], v[1]), image.Pt(v[2], v[3])}
		if err != nil || box.Empty() {
			return fmt.Errorf("detector: %s line %d: %v is no box: want x1 < x2 and y1 < y2, in pixels", path, line, row[1:5])
		}
		c.boxes[row[0]] = append(c.boxes[row[0]], box)
	}
}
