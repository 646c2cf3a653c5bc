package augment

import (
	"bytes"
	"image/jpeg"
	"path/filepath"
	"testing"
)

func TestReduced(t *testing.T) {
	photo := benchPhoto(501, 375)
	var file bytes.Buffer
	if err := jpeg.Encode(&file, photo.ToImage(), &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "cat", "a.jpg"), file.Bytes())
	write(t, filepath.Join(dir, "dog", "b.png"), pngBytes(t, photo.ToImage()))
	src, err := Open([]string{dir, dir}, SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	src = Subset(src, []int{3, 2, 0})
	full, err := src.Image(1)
	if err != nil {
		t.Fatal(err)
	}
	for side, want := range map[int][2]int{0: {501, 375}, 376: {501, 375}, 188: {501, 375}, 187: {251, 188}, 93: {126, 94}, 46: {63, 47}, 1: {63, 47}} {
		s := Reduced(src, side)
		m, err := s.Image(1)
		if err != nil || m.W != want[0] || m.H != want[1] {
			t.Errorf("side %d: %dx%d, %v, want %v", side, m.W, m.H, err, want)
			continue
		}
		// Near what scaling down gives; this picture has little detail.
		_, mean := imageDiff(t, "reduced", m, Resize(full, m.W, m.H, Bilinear))
		if mean > 4 {
			t.Errorf("side %d: the mean difference is %.2f", side, mean)
		}
		if png, err := s.Image(0); err != nil || png.W != 501 || s.Label(0) != 1 || s.Name(1) != src.Name(1) {
			t.Errorf("side %d: the PNG: %v", side, err)
		}
	}
	if again, err := src.Image(1); err != nil || !bytes.Equal(again.Pix, full.Pix) {
		t.Errorf("the source changed: %v", err)
	}
}
