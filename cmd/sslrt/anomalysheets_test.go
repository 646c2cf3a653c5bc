package main

import (
	"path/filepath"
	"testing"
)

func TestPictureNames(t *testing.T) {
	names := pictureNames{}
	for _, c := range [][2]string{
		{"photos/cat.jpg", "photos/cat.png"},
		{"photos/cat.png", "photos/cat.png.png"},
		{"photos/cat.jpg", "photos/cat.png"}, // the same image again
		{"t10k-images-idx3-ubyte.gz#0", "t10k-images-idx3-ubyte.gz/0.png"},
		{"t10k-images-idx3-ubyte.gz#1", "t10k-images-idx3-ubyte.gz/1.png"},
		{"../../etc/x.png", "etc/x.png"},
		{"photos.zip#a/b.jpg", "photos.zip/a/b.png"},
	} {
		if got := names.of(c[0]); got != filepath.FromSlash(c[1]) {
			t.Errorf("%s: got %s, want %s", c[0], got, c[1])
		}
	}
}
