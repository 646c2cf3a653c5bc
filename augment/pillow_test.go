package augment

import (
	"path/filepath"
	"strings"
	"testing"
)

// formatFiles are the pictures of testdata/formats; beside each X lies X.png with Pillow's pixels.
func formatFiles(t testing.TB) []string {
	t.Helper()
	references, err := filepath.Glob("testdata/formats/*.*.png")
	if err != nil || len(references) < 80 {
		t.Fatalf("found %d references, %v", len(references), err)
	}
	var out []string
	for _, r := range references {
		out = append(out, strings.TrimSuffix(r, ".png"))
	}
	return out
}

// difference returns the largest and the mean difference of two pictures, in levels.
func difference(t testing.TB, name string, got, want *Image) (worst int, mean float64) {
	t.Helper()
	if got.W != want.W || got.H != want.H {
		t.Fatalf("%s: %dx%d pixels, want %dx%d", name, got.W, got.H, want.W, want.H)
	}
	for i, v := range got.Pix {
		d := int(v) - int(want.Pix[i])
		worst = max(worst, d, -d)
		mean += float64(max(d, -d)) / float64(len(got.Pix))
	}
	return worst, mean
}

// Every format must give Pillow's pixels: exactly, but for JPEG without libjpeg, where the inverse
// transform of the standard library differs by one level before the colours are computed.
func TestFormatsAgainstPillow(t *testing.T) {
	for _, path := range formatFiles(t) {
		got, err := DecodeFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		want, err := DecodeFile(path + ".png")
		if err != nil {
			t.Fatal(err)
		}
		worst, mean := difference(t, path, got, want)
		limit, meanLimit := 0, 0.0
		if strings.HasSuffix(path, ".jpg") && Decoders == "Go" {
			limit, meanLimit = 3, 0.1
			if got.W*got.H < 100 {
				meanLimit = 0.3 // a few pixels say nothing of a mean
			}
		}
		if worst > limit || mean > meanLimit {
			t.Errorf("%s: differs by up to %d levels, mean %.3f; want %d and %g", path, worst, mean, limit, meanLimit)
		}
		t.Logf("%-50s max %d mean %.4f", filepath.Base(path), worst, mean)
	}
}
