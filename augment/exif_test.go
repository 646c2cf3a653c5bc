package augment

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// Pillow's ImageOps.exif_transpose turned the references.
func TestOrientationAgainstPillow(t *testing.T) {
	for _, suffix := range []string{"jpg", "png", "tif", "webp"} {
		for o := 1; o <= 8; o++ {
			path := fmt.Sprintf("testdata/formats/exif/%d.%s", o, suffix)
			got, err := DecodeFileWith(path, DecodeOptions{Orient: true})
			if err != nil {
				t.Fatal(err)
			}
			want, err := DecodeFile(path + ".png")
			if err != nil {
				t.Fatal(err)
			}
			limit := 0
			if suffix == "jpg" {
				limit = 3
			}
			if worst, _ := difference(t, path, got, want); worst > limit {
				t.Errorf("%s differs by %d levels", path, worst)
			}
			plain, err := DecodeFile(path)
			if err != nil || plain.W != 23 || plain.H != 17 {
				t.Errorf("%s without the option: %v, %v", path, plain, err)
			}
		}
	}
}

// Photographs of cameras' kind; by NOTES.md of the data the mean difference to the upright one is 3.7 at
// most with the right transform and 42.9 at least with any wrong one.
func TestOrientationOfPhotographs(t *testing.T) {
	dir := shared(t, "data", "exif-orientation")
	for _, kind := range []string{"Landscape", "Portrait"} {
		var upright *Image
		for o := 1; o <= 8; o++ {
			if testing.Short() && o%3 != 0 && o > 1 {
				continue
			}
			m, err := DecodeFileWith(filepath.Join(dir, fmt.Sprintf("%s_%d.jpg", kind, o)), DecodeOptions{Orient: true})
			if err != nil {
				t.Fatal(err)
			}
			if o == 1 {
				upright = m
			}
			if _, mean := difference(t, kind, m, upright); mean > 10 {
				t.Errorf("%s_%d differs by %.1f on average", kind, o, mean)
			}
		}
	}
}

func TestDamagedEXIF(t *testing.T) {
	good := "II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"
	for block, want := range map[string]int{
		"":   1,
		good: 6,
		"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x08\x00\x00": 8,
		strings.Replace(good, "\x06", "\x09", 1):                                          1,
		strings.Replace(good, "\x06", "\x00", 1):                                          1,
		strings.Replace(good, "\x08", "\xff", 1):                                          1, // the directory lies outside
		strings.Replace(good, "\x12\x01\x03", "\x12\x01\x04", 1):                          1, // a number of another type
		good[:len(good)-4]: 1,
		"XX" + good[2:]:    1,
	} {
		if got := exifOrientation([]byte(block)); got != want {
			t.Errorf("%q: got %d, want %d", block, got, want)
		}
	}
}

func FuzzEXIF(f *testing.F) {
	f.Add([]byte("II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"))
	f.Add([]byte("MM\x00*\x00\x00\x00\x08\x00\x02\x01\x00\x00\x03\x00\x00\x00\x01\x00\x08\x00\x00\x01\x12\x00\x03\x00\x00\x00\x01\x00\x08\x00\x00"))
	f.Fuzz(func(t *testing.T, block []byte) {
		o := exifOrientation(block)
		if o < 1 || o > 8 {
			t.Fatalf("orientation %d", o)
		}
		m := gradient(3, 2, 1)
		turned := orient(m, o)
		if turned.W*turned.H != 6 || (turned.W == 2) != (o >= 5) {
			t.Fatalf("orientation %d of 3x2 pixels gives %dx%d", o, turned.W, turned.H)
		}
	})
}
