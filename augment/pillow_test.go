package augment

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment/internal/kernel"
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

// Every format must give Pillow's pixels exactly, with AVX2 and without.
func TestFormatsAgainstPillow(t *testing.T) {
	fast := kernel.HaveAVX2
	defer func() { kernel.HaveAVX2 = fast }()
	for _, path := range formatFiles(t) {
		want, err := DecodeFile(path + ".png")
		if err != nil {
			t.Fatal(err)
		}
		for _, kernel.HaveAVX2 = range []bool{false, fast} {
			got, err := DecodeFile(path)
			if err != nil {
				t.Error(err)
				continue
			}
			if worst, mean := difference(t, path, got, want); worst > 0 {
				t.Errorf("%s: differs by up to %d levels, mean %.3f; AVX2: %v", path, worst, mean, kernel.HaveAVX2)
			}
		}
	}
}
