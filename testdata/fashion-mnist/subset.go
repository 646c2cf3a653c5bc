//go:build ignore

// Command subset makes the files of this folder from the whole of Fashion-MNIST:
//
//	go run testdata/fashion-mnist/subset.go FOLDER-OF-FASHION-MNIST testdata/fashion-mnist
//
// Of each class it keeps the first images in the official order.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
)

const (
	side    = 28
	classes = 10
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: go run subset.go SOURCE DESTINATION")
	}
	for split, perClass := range map[string]int{"train": 600, "t10k": 100} {
		if err := subset(os.Args[1], os.Args[2], split, perClass); err != nil {
			log.Fatalf("subset: %s: %v", split, err)
		}
	}
}

func subset(from, to, split string, perClass int) error {
	images, err := read(filepath.Join(from, split+"-images-idx3-ubyte.gz"), 16)
	if err != nil {
		return err
	}
	labels, err := read(filepath.Join(from, split+"-labels-idx1-ubyte.gz"), 8)
	if err != nil {
		return err
	}
	const size = side * side
	if len(images) != len(labels)*size {
		return fmt.Errorf("got %d bytes of images for %d labels, want %d each", len(images), len(labels), size)
	}
	var kept [classes]int
	var outImages, outLabels []byte
	for i, l := range labels {
		if kept[l] == perClass {
			continue
		}
		kept[l]++
		outImages = append(outImages, images[i*size:(i+1)*size]...)
		outLabels = append(outLabels, l)
	}
	n := uint32(classes * perClass)
	if len(outLabels) != int(n) {
		return fmt.Errorf("got %v images per class, want %d of each", kept, perClass)
	}
	if err := write(filepath.Join(to, split+"-images-idx3-ubyte.gz"), outImages, 0x803, n, side, side); err != nil {
		return err
	}
	return write(filepath.Join(to, split+"-labels-idx1-ubyte.gz"), outLabels, 0x801, n)
}

// read returns an IDX file's data, behind its header.
func read(path string, header int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	all, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	return all[header:], nil
}

// write writes an IDX file: a header of big-endian numbers, then the data.
func write(path string, data []byte, header ...uint32) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := binary.Write(z, binary.BigEndian, header); err != nil {
		return err
	}
	if _, err := z.Write(data); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
