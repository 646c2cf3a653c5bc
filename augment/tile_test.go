package augment

import (
	"image"
	"path/filepath"
	"testing"
)

func TestTilesCover(t *testing.T) {
	for _, c := range []struct{ w, h, side, want int }{
		{10, 10, 5, 4}, {11, 10, 5, 6}, {3, 12, 5, 3}, {4, 4, 5, 1}, {100, 1, 7, 15},
	} {
		tiles := Tiles(c.w, c.h, c.side)
		if len(tiles) != c.want {
			t.Errorf("%dx%d in tiles of %d: %d, want %d", c.w, c.h, c.side, len(tiles), c.want)
		}
		seen := make([]bool, c.w*c.h)
		for _, r := range tiles {
			if r.Dx() != min(c.side, c.w) || r.Dy() != min(c.side, c.h) || !r.In(image.Rect(0, 0, c.w, c.h)) {
				t.Errorf("%dx%d in tiles of %d: %v", c.w, c.h, c.side, r)
			}
			for y := r.Min.Y; y < r.Max.Y; y++ {
				for x := r.Min.X; x < r.Max.X; x++ {
					seen[y*c.w+x] = true
				}
			}
		}
		for i, ok := range seen {
			if !ok {
				t.Fatalf("%dx%d in tiles of %d: pixel %d is in none", c.w, c.h, c.side, i)
			}
		}
	}
}

func TestTiledSource(t *testing.T) {
	dir := t.TempDir()
	m := NewImage(9, 5)
	for i := range m.Pix {
		m.Pix[i] = uint8(i)
	}
	if err := m.WritePNG(filepath.Join(dir, "a.png")); err != nil {
		t.Fatal(err)
	}
	src, err := Open([]string{dir}, SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	tiled := Tiled(src, 5)
	if tiled.Len() != 2 {
		t.Fatalf("%d tiles, want 2", tiled.Len())
	}
	got, err := tiled.Image(1)
	if err != nil {
		t.Fatal(err)
	}
	want := m.Crop(4, 0, 9, 5)
	if got.W != 5 || got.H != 5 || string(got.Pix) != string(want.Pix) {
		t.Errorf("tile 1 is %dx%d and not the right part", got.W, got.H)
	}
}
