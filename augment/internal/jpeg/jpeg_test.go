package jpeg

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// photo encodes smooth colours with some noise.
func photo(tb testing.TB, w, h int) []byte {
	tb.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			noise := float64(uint32(x*7919+y*104729) * 2654435761 >> 28)
			v := func(a, b, c float64) uint8 {
				return uint8(128 + 90*math.Sin(float64(x)/a+c)*math.Cos(float64(y)/b) + noise)
			}
			m.Set(x, y, color.RGBA{v(31, 23, 0), v(47, 19, 1), v(17, 41, 2), 255})
		}
	}
	var file bytes.Buffer
	if err := stdjpeg.Encode(&file, m, &stdjpeg.Options{Quality: 90}); err != nil {
		tb.Fatal(err)
	}
	return file.Bytes()
}

func BenchmarkPlanes(b *testing.B) {
	data := photo(b, 500, 375)
	var d Decoder
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := d.Head(data); err != nil {
			b.Fatal(err)
		}
		if _, err := d.Planes(8); err != nil {
			b.Fatal(err)
		}
	}
}

// Memory is kept: a file after another one has the same planes as on its own.
func TestReuse(t *testing.T) {
	var kept Decoder
	for i, size := range [][2]int{{500, 375}, {17, 9}, {64, 200}, {500, 375}} {
		data := photo(t, size[0], size[1])
		got := planes(t, &kept, data)
		want := planes(t, new(Decoder), data)
		for c := range want {
			if !bytes.Equal(got[c].Pix[:got[c].Stride*got[c].H], want[c].Pix[:want[c].Stride*want[c].H]) {
				t.Errorf("file %d, component %d: the planes differ", i, c)
			}
		}
		if _, err := kept.Planes(8); err == nil {
			t.Error("the planes can be read twice")
		}
	}
	// What fails in the middle of a block leaves nothing behind.
	data, failed := photo(t, 64, 64), 0
	want := slices.Clone(planes(t, new(Decoder), data)[0].Pix)
	for at := len(data) / 2; at < len(data)-2; at += 7 {
		damaged := slices.Clone(data)
		copy(damaged[at:], []byte{0xfe, 0xfe})
		if kept.Head(damaged) == nil {
			if _, err := kept.Planes(8); errors.Is(err, errData) {
				failed++
			}
		}
		if got := planes(t, &kept, data)[0].Pix; !bytes.Equal(got, want) {
			t.Fatalf("after damage at %d the planes differ", at)
		}
	}
	if failed == 0 {
		t.Error("nothing failed in a block")
	}
}

func planes(t *testing.T, d *Decoder, data []byte) []Plane {
	t.Helper()
	if err := d.Head(data); err != nil {
		t.Fatal(err)
	}
	p, err := d.Planes(8)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A scan must bring new bits: else a short file of many scans, each of a few bytes, would take hours.
func TestRepeatedScans(t *testing.T) {
	files := append(formatFiles(t), photo(t, 40, 40))
	for i, data := range files {
		var d Decoder
		if err := d.Head(data); err != nil {
			t.Fatal(err)
		}
		last := bytes.LastIndex(data, []byte{0xff, markerSOS})
		for at := last; at >= 0; at = bytes.LastIndex(data[:at], []byte{0xff, markerSOS}) {
			next := len(data) - 2
			if more := bytes.Index(data[at+2:], []byte{0xff, markerSOS}); more >= 0 {
				next = at + 2 + more
			}
			twice := slices.Concat(data[:next], data[at:next], data[next:])
			if err := d.Head(twice); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Planes(8); err == nil || !strings.Contains(err.Error(), "repeats or leaves out") {
				t.Errorf("file %d, the scan at %d twice: %v", i, at, err)
			}
		}
	}
}

// The planes of the standard library differ by one level at most: its inverse transform rounds otherwise.
func TestAgainstStandardLibrary(t *testing.T) {
	data := photo(t, 123, 77)
	m, err := stdjpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	want := m.(*image.YCbCr)
	got := planes(t, new(Decoder), data)
	for y := range 77 {
		for x := range 123 {
			w := want.YCbCrAt(x, y)
			for c, v := range []uint8{w.Y, w.Cb, w.Cr} {
				p := got[c]
				d := int(p.Pix[y/p.SY*p.Stride+x/p.SX]) - int(v)
				if d < -1 || d > 1 {
					t.Fatalf("component %d at %d, %d differs by %d", c, x, y, d)
				}
			}
		}
	}
}

// formatFiles are the small JPEG files of package augment's tests: those have every form that is read.
func formatFiles(tb testing.TB) [][]byte {
	tb.Helper()
	paths, err := filepath.Glob("../../testdata/formats/*.jpg")
	if err != nil || len(paths) < 40 {
		tb.Fatalf("got %d files, %v", len(paths), err)
	}
	var files [][]byte
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		files = append(files, data)
	}
	return files
}

func FuzzDecoder(f *testing.F) {
	f.Add(photo(f, 20, 20), uint8(0))
	f.Add(photo(f, 9, 33), uint8(2))
	for i, data := range formatFiles(f) { // progressive, restarts, several scans, four components
		f.Add(data, uint8(i))
	}
	var d Decoder
	f.Fuzz(func(t *testing.T, data []byte, scale uint8) {
		if d.Head(data) != nil || d.W*d.H > 1<<16 {
			return
		}
		eighths := 8 >> (scale % 4)
		w, h := (d.W*eighths+7)/8, (d.H*eighths+7)/8
		p, err := d.Planes(eighths)
		if err != nil {
			return
		}
		for _, p := range p {
			if len(p.Pix) < p.H*p.Stride || p.W > p.Stride || p.W*p.SX < w || p.H*p.SY < h {
				t.Errorf("plane %dx%d, stride %d, %d samples of a picture of %dx%d", p.W, p.H, p.Stride, len(p.Pix), w, h)
			}
		}
	})
}

// At a half each sample is the mean of four. Less is near the means of the whole: this picture has little detail.
func TestReduced(t *testing.T) {
	data := photo(t, 200, 120)
	whole := planes(t, new(Decoder), data)
	for _, eighths := range []int{4, 2, 1} {
		var d Decoder
		if err := d.Head(data); err != nil {
			t.Fatal(err)
		}
		reduced, err := d.Planes(eighths)
		if err != nil {
			t.Fatal(err)
		}
		for c, r := range reduced {
			w := whole[c]
			n := w.W / r.W
			if r.SX*r.W != 200*eighths/8 || w.W%r.W != 0 {
				t.Errorf("%d eighths, component %d: %+v", eighths, c, r)
			}
			sum := 0.0
			for y := range r.H {
				for x := range r.W {
					mean := 0.0
					for v := range n {
						for u := range n {
							mean += float64(w.Pix[(n*y+v)*w.Stride+n*x+u]) / float64(n*n)
						}
					}
					got := float64(r.Pix[y*r.Stride+x])
					sum += math.Abs(got-mean) / float64(r.W*r.H)
					if n <= 2 && got != math.Floor(mean+0.5) {
						t.Fatalf("%d eighths, component %d: sample %d, %d is %g, want the mean %g", eighths, c, x, y, got, mean)
					}
				}
			}
			if sum > 1.5 {
				t.Errorf("%d eighths, component %d: the mean difference is %.2f", eighths, c, sum)
			}
		}
	}
}

// A block of two samples a side is the transform of that size, of the four lowest coefficients.
func TestTwoSamples(t *testing.T) {
	c := component{size: 2, blocksW: 1, pix: make([]uint8, 4)}
	d := Decoder{block: [64]int16{0: 100, 1: 300, 2: 999, 8: -40, 9: 77}}
	d.samples(&c, 0, 0, false)
	for i, got := range c.pix {
		h, v := float64(1-i%2*2), float64(1-i/2*2)
		if want := 128 + (100+h*300-v*40+h*v*77)/8; math.Abs(float64(got)-want) > 0.5 {
			t.Errorf("sample %d is %d, want %g", i, got, want)
		}
	}
}
