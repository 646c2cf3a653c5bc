package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/sslrt/sslrt/augment"
)

// kind is a kind of generated picture.
type kind int

const (
	small  kind = iota // 32 px, PNG
	photos             // 500x375, JPEG of quality 90
)

func fileName(k kind, i int) string {
	if k == small {
		return fmt.Sprintf("%05d.png", i)
	}
	return fmt.Sprintf("%05d.jpg", i)
}

// pictures returns a folder with at least n pictures, made of small real ones. It is
// kept for the next time.
func (s *suite) pictures(ctx context.Context, k kind, n int) (string, error) {
	folder := filepath.Join(s.data, fmt.Sprintf("%s-%d", [...]string{"small", "photos"}[k], n))
	if _, err := os.Stat(filepath.Join(folder, fileName(k, n-1))); err == nil {
		return folder, nil
	}
	fmt.Printf("  making %d pictures in %s\n", n, folder)
	tiles, err := realPictures()
	if err != nil {
		return "", err
	}
	part := folder + ".part"
	if err := errors.Join(os.RemoveAll(part), os.MkdirAll(part, 0o755)); err != nil {
		return "", err
	}
	var wg sync.WaitGroup
	var next atomic.Int64
	errs := make([]error, runtime.NumCPU())
	for w := range errs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for ctx.Err() == nil && errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[w] = writePicture(filepath.Join(part, fileName(k, i)), k, i, tiles)
			}
		}()
	}
	wg.Wait()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return "", err
	}
	return folder, errors.Join(os.RemoveAll(folder), os.Rename(part, folder))
}

// realPictures reads small pictures: CIFAR-10's if the shared data are there, else
// Fashion-MNIST's.
func realPictures() ([]*augment.Image, error) {
	shared := os.Getenv("SSLRT_SHARED")
	if shared == "" {
		shared = "../shared"
	}
	path := filepath.Join(shared, "data", "cifar10-subset", "cifar10-10k-2k.zip")
	if _, err := os.Stat(path); err != nil {
		path = "testdata/fashion-mnist"
	}
	src, err := augment.Open([]string{path}, augment.SourceOptions{Split: "train"})
	if err != nil {
		return nil, err
	}
	defer src.Close()
	var out []*augment.Image
	for i := range min(src.Len(), 2000) {
		m, err := src.Image(i)
		if err != nil {
			return nil, err
		}
		out = append(out, augment.Resize(m, 32, 32, augment.Bilinear))
	}
	return out, nil
}

// writePicture writes picture i: a tile itself, or a wall of enlarged ones.
func writePicture(path string, k kind, i int, tiles []*augment.Image) error {
	var file bytes.Buffer
	if k == small {
		if err := png.Encode(&file, tiles[i%len(tiles)].ToImage()); err != nil {
			return err
		}
		return os.WriteFile(path, file.Bytes(), 0o644)
	}
	r := rand.New(rand.NewPCG(1, uint64(i)))
	const w, h = 500, 375
	wall := augment.NewImage(w, h)
	side := 32 * (2 + r.IntN(3))
	for y := 0; y < h; y += side {
		for x := 0; x < w; x += side {
			tile := augment.Resize(tiles[r.IntN(len(tiles))], side, side, augment.Bicubic)
			for row := range min(side, h-y) {
				copy(wall.Pix[((y+row)*w+x)*3:((y+row)*w+min(x+side, w))*3], tile.Pix[row*side*3:(row+1)*side*3])
			}
		}
	}
	if err := jpeg.Encode(&file, wall.ToImage(), &jpeg.Options{Quality: 90}); err != nil {
		return err
	}
	return os.WriteFile(path, file.Bytes(), 0o644)
}
