package augment

import (
	"archive/zip"
	"bytes"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fuzzSource opens damaged files of a kind under a name. Whatever they hold, opening and reading them
// gives images or errors: nothing panics, nothing is outside what Len and Classes say.
func fuzzSource(f *testing.F, name string, seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
	}
	path := filepath.Join(f.TempDir(), name)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, opt := range []SourceOptions{{}, {Split: "test", Labels: LabelsCoarse}} {
			opt.Decode.MaxPixels = 1 << 14
			s, err := Open([]string{path}, opt)
			if err != nil {
				if !strings.HasPrefix(err.Error(), "augment: ") {
					t.Errorf("got %v", err)
				}
				continue
			}
			checkSource(t, s)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// checkSource reads the first images of a source and asks it everything.
func checkSource(t *testing.T, s Source) {
	if s.Len() < 1 {
		t.Errorf("a source of %d images", s.Len())
	}
	classes := len(s.Classes())
	for i := range min(s.Len(), 5) {
		if l := s.Label(i); l < -1 || l >= classes || s.Name(i) == "" {
			t.Errorf("image %d: label %d of %d classes, name %q", i, l, classes, s.Name(i))
		}
		m, err := s.Image(i)
		if (m == nil) == (err == nil) || m != nil && len(m.Pix) != m.W*m.H*3 {
			t.Errorf("image %d: %v, %v", i, m, err)
		}
	}
}

func FuzzIDX(f *testing.F) {
	fuzzSource(f, "x-images-idx3-ubyte", idxBytes(2), idxLabelBytes(1, 2), gz(f, idxBytes(1)))
}

func FuzzTar(f *testing.F) {
	shard := tarBytes(f, member{"a/0.png", grayPNG(f, 1)}, member{"a/0.cls", []byte("3")}, member{"a/1.png", grayPNG(f, 2)},
		member{"a/1.json", []byte(`{"label": "cat"}`)}, member{"a/2.png", grayPNG(f, 2)}, member{"a/2.txt", []byte("dog")})
	fuzzSource(f, "x.tar", shard, gz(f, shard), tarBytes(f, member{"cat/" + strings.Repeat("x", 200) + ".png", grayPNG(f, 1)}),
		tarLinks(f, "cat/1.png", "dog/2.png", "../1.png"))
}

func FuzzZip(f *testing.F) {
	archive, err := os.ReadFile(zipFile(f, "train/cat/a.png", "test/dog/b.png"))
	if err != nil {
		f.Fatal(err)
	}
	fuzzSource(f, "x.zip", archive)
}

func FuzzNPY(f *testing.F) {
	pixels := bytes.Repeat([]byte{1, 2, 3}, 16)
	fuzzSource(f, "x.npy", npyBytes("|u1", "(4, 4, 3)", pixels), npyBytes("|u1", "(2, 4, 2, 3)", pixels), npyBytes("|u1", "(2, 3, 4, 2)", pixels),
		npyBytes("<i8", "(2,)", make([]byte, 16)), npyBytes("<f4", "(2, 3)", make([]byte, 24)))
}

func FuzzNPZ(f *testing.F) {
	arrays := map[string][]byte{
		"x_train": npyBytes("|u1", "(2, 4, 2, 3)", make([]byte, 48)), "y_train": npyBytes("<i4", "(2, 1)", make([]byte, 8)),
		"x_test": npyBytes("|u1", "(1, 4, 2)", make([]byte, 8)), "y_test": npyBytes("|u1", "(1,)", []byte{7}),
	}
	fuzzSource(f, "x.npz", npzBytes(f, zip.Store, arrays), npzBytes(f, zip.Deflate, arrays))
}

func FuzzCIFAR(f *testing.F) {
	fuzzSource(f, "test_batch.bin", cifarBytes(1, 3, 9), cifarBytes(2, 5), make([]byte, 3073))
}

func FuzzList(f *testing.F) {
	fuzzSource(f, "x.txt", []byte("x.txt\tcat\nb.png\n"), []byte("\ufeff./x.txt\r\n\n"), []byte("\xe9t\xe9.jpg\nx.txt"))
}

func FuzzBraces(f *testing.F) {
	for _, s := range []string{"a{1..3}b", "{a,b}{c,d}", "x-{000..063}.tar", "{", "}{", "{}", "{,}{,}{,}", "{9..1}", "{0..999999999}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		out, err := expandBrace(pattern, 1000)
		if err == nil && (len(out) < 1 || len(out) > 1000) {
			t.Errorf("%q stands for %d paths", pattern, len(out))
		}
		if !strings.ContainsAny(pattern, "{") && (err != nil || out[0] != pattern) {
			t.Errorf("%q became %q, %v", pattern, out, err)
		}
	})
}

// Chroma of any ratio and size stays between its neighbours; nothing is read outside the planes.
func FuzzChroma(f *testing.F) {
	f.Add(uint8(5), uint8(4), uint8(2), []byte{0, 255, 3, 7})
	f.Add(uint8(1), uint8(1), uint8(5), []byte{9})
	f.Add(uint8(64), uint8(3), uint8(1), []byte{1, 200})
	f.Fuzz(func(t *testing.T, w, h, ratio uint8, samples []byte) {
		if w == 0 || h == 0 || len(samples) == 0 {
			return
		}
		m := image.NewYCbCr(image.Rect(0, 0, int(w), int(h)), image.YCbCrSubsampleRatio(ratio%6))
		for _, plane := range [][]uint8{m.Y, m.Cb, m.Cr} {
			for i := range plane {
				plane[i] = samples[i%len(samples)]
			}
		}
		low, high := uint8(255), uint8(0)
		for _, v := range samples {
			low, high = min(low, v), max(high, v)
		}
		sx, sy := chromaStep(m.SubsampleRatio)
		for _, plane := range [][]uint8{m.Cb, m.Cr} {
			c := subsampled{plane, (int(w) + sx - 1) / sx, (int(h) + sy - 1) / sy, m.CStride, sx, sy}
			for y := range int(h) {
				for _, v := range c.row(y, make([]uint8, c.W*sx)) {
					if v < low || v > high {
						t.Fatalf("chroma %d between samples %d to %d", v, low, high)
					}
				}
			}
		}
		if out := FromImage(m); out.W != int(w) || out.H != int(h) {
			t.Errorf("%dx%d pixels", out.W, out.H)
		}
		if m.SubsampleRatio == image.YCbCrSubsampleRatio420 {
			if out := fromVP8(m); out.W != int(w) || out.H != int(h) {
				t.Errorf("WebP: %dx%d pixels", out.W, out.H)
			}
		}
	})
}
