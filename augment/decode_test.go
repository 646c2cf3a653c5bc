package augment

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sslrt/sslrt/augment/internal/kernel"
)

func TestDecodeBadInput(t *testing.T) {
	photo := gradient(40, 30, 1).ToImage()
	wholePNG, wholeJPEG := pngBytes(t, photo), jpegBytes(t, photo)
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"empty":             {nil, "the file is empty"},
		"text":              {[]byte("hello, this is no image"), ErrFormat.Error()},
		"one byte":          {[]byte{0xff}, ErrFormat.Error()},
		"gif header only":   {[]byte("GIF89a\x01\x00\x01\x00"), "unexpected EOF"},
		"webp header only":  {[]byte("RIFF\x00\x00\x00\x00WEBPVP8 "), "riff: short chunk data"},
		"no such picture":   {[]byte("P6 1 1 255 abc"), ErrFormat.Error()},
		"truncated png":     {wholePNG[:len(wholePNG)/2], "not enough pixel data"},
		"truncated jpeg":    {wholeJPEG[:len(wholeJPEG)/2], "unexpected EOF"},
		"png header only":   {wholePNG[:10], "unexpected EOF"},
		"jpeg header only":  {wholeJPEG[:3], "unexpected EOF"},
		"corrupt png":       {bytes.Replace(wholePNG, []byte("IDAT"), []byte("IDAU"), 1), "png: invalid format"},
		"20000x20000 png":   {giantPNG(t), "20000x20000 pixels, more than the limit"},
		"20000x20000 jpeg":  {giantJPEG(t), "20000x20000 pixels, more than the limit"},
		"reader that fails": {nil, "disk on fire"},
	} {
		t.Run(name, func(t *testing.T) {
			var r io.Reader = bytes.NewReader(tc.data)
			if tc.want == "disk on fire" {
				r = io.MultiReader(bytes.NewReader(wholePNG[:50]), failingReader{})
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m, err := Decode(r)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, %v; want an error with %q", m, err, tc.want)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 10<<20 {
				t.Errorf("%d bytes were allocated to find that out", used)
			}
		})
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("disk on fire") }

func TestDecodeFileNamesTheFile(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "cat.jpg"), jpegBytes(t, gradient(40, 30, 1).ToImage())[:200])
	_, err := DecodeFile(path)
	if err == nil || err.Error() != "augment: decode "+path+": unexpected EOF" {
		t.Errorf("got %v", err)
	}
	if _, err = DecodeFile(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestDecodeSmallest(t *testing.T) {
	m := NewImage(1, 1)
	m.set(0, 1, 2, 3)
	got, err := Decode(bytes.NewReader(pngBytes(t, m.ToImage())))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, got); diff != "" {
		t.Error(diff)
	}
	if _, err := Decode(bytes.NewReader(jpegBytes(t, m.ToImage()))); err != nil {
		t.Error(err)
	}
	for _, p := range []Preprocess{EvalPreprocess(32), EvalPreprocess(96)} {
		dst := make([]float32, p.Len())
		p.Tensor(dst, got)
	}
	for i := range 50 {
		if v := SimCLR(96).Apply(got, NewRand(1, 0, i, 0)); v.W != 96 || v.H != 96 {
			t.Fatalf("view of %dx%d", v.W, v.H)
		}
	}
}

// Every type of image whose colour has an exact 8-bit RGB value must come out as that value.
func TestFromImageTypes(t *testing.T) {
	r := image.Rect(-3, 2, 4, 7) // bounds need not start at 0
	draw := map[string]interface {
		image.Image
		Set(x, y int, c color.Color)
	}{
		"NRGBA":    image.NewNRGBA(r),
		"NRGBA64":  image.NewNRGBA64(r),
		"RGBA":     image.NewRGBA(r),
		"RGBA64":   image.NewRGBA64(r),
		"Paletted": image.NewPaletted(r, color.Palette{color.Black, red}),
	}
	for name, m := range draw {
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				m.Set(x, y, red)
			}
		}
		got := FromImage(m)
		if got.W != 7 || got.H != 5 {
			t.Errorf("%s: %dx%d pixels", name, got.W, got.H)
		}
		for i := 0; i < len(got.Pix); i += 3 {
			if got.Pix[i] != 200 || got.Pix[i+1] != 30 || got.Pix[i+2] != 10 {
				t.Fatalf("%s: pixel %d is %v", name, i/3, got.Pix[i:i+3])
			}
		}
	}
	// Alpha is dropped, not blended.
	n := image.NewNRGBA(image.Rect(0, 0, 1, 1))
	n.Pix = []uint8{200, 30, 10, 1}
	if got := FromImage(n).Pix; !bytes.Equal(got, []uint8{200, 30, 10}) {
		t.Errorf("transparent pixel: %v", got)
	}
	// A uniform image has no chroma edges: interpolation must leave it alone, whatever the ratio.
	for _, ratio := range []image.YCbCrSubsampleRatio{
		image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420,
		image.YCbCrSubsampleRatio440, image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410,
	} {
		for _, size := range [][2]int{{1, 1}, {2, 3}, {5, 4}, {17, 9}} {
			y := image.NewYCbCr(image.Rect(0, 0, size[0], size[1]), ratio)
			fill(y.Y, 100)
			fill(y.Cb, 90)
			fill(y.Cr, 200)
			// r = 100 + 1.402*72, g = 100 + .34414*38 - .71414*72, b = 100 - 1.772*38
			want := []uint8{201, 62, 33}
			got := FromImage(y)
			for i := 0; i < len(got.Pix); i += 3 {
				if !bytes.Equal(got.Pix[i:i+3], want) {
					t.Fatalf("%v %v: pixel %d is %v, want %v", ratio, size, i/3, got.Pix[i:i+3], want)
				}
			}
			if sub := y.SubImage(image.Rect(size[0]/2, size[1]/2, size[0], size[1])); sub.Bounds().Dx() > 0 && sub.Bounds().Dy() > 0 {
				if got := FromImage(sub); got.Pix[0] < 199 || got.Pix[0] > 203 {
					t.Errorf("%v: part of the image is %v", ratio, got.Pix[:3])
				}
			}
		}
	}
}

func fill(s []uint8, v uint8) {
	for i := range s {
		s[i] = v
	}
}

// The weights of libjpeg's triangle filter on one edge, worked out by hand from jdsample.c's rule:
// 3/4 nearer, 1/4 further sample, rounding constants alternating.
func TestChromaUpsampling(t *testing.T) {
	row := make([]uint8, 6)
	upsample2x1(row, []uint8{0, 100, 200})
	if want := []uint8{0, 25, 75, 125, 175, 200}; !bytes.Equal(row, want) {
		t.Errorf("2x1: %v, want %v", row, want)
	}
	kernel.Upsample2x2(row, []uint8{0, 100, 200}, []uint8{40, 40, 40})
	// columns 3*near+far: 40, 340, 640
	if want := []uint8{10, 29, 66, 104, 141, 160}; !bytes.Equal(row, want) {
		t.Errorf("2x2: %v, want %v", row, want)
	}
	one := make([]uint8, 1)
	if upsample1x2(one, []uint8{10}, []uint8{20}, 1); one[0] != 12 {
		t.Errorf("1x2, upper: %d", one[0])
	}
	if upsample1x2(one, []uint8{10}, []uint8{20}, 2); one[0] != 13 {
		t.Errorf("1x2, lower: %d", one[0])
	}
}

// Sampling factors mean nothing where there is one component: its blocks lie in rows all the same.
func TestGraySampling(t *testing.T) {
	for _, name := range []string{"gray.jpg", "gray-progressive.jpg", "gray-restarts.jpg"} {
		data, err := os.ReadFile("testdata/formats/" + name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(data, []byte{1, 1, 0x11, 0}) // the end of the frame header
		for _, sampling := range []byte{0x21, 0x12, 0x22, 0x41, 0x34} {
			data[at+2] = sampling
			got, err := Decode(bytes.NewReader(data))
			if err != nil || !bytes.Equal(got.Pix, want.Pix) {
				t.Errorf("%s, sampling %x: the pixels differ, %v", name, sampling, err)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, path := range formatFiles(f) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("no image"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, turn := range []bool{false, true} {
			m, err := DecodeWith(bytes.NewReader(data), DecodeOptions{MaxPixels: 1 << 14, Orient: turn})
			if (m == nil) == (err == nil) {
				t.Fatalf("image %v with error %v", m, err)
			}
			if m != nil && (m.W*m.H > 1<<14 || len(m.Pix) != m.W*m.H*3) {
				t.Fatalf("%d samples for %dx%d pixels", len(m.Pix), m.W, m.H)
			}
			if err != nil && strings.Contains(err.Error(), "decoder failed") {
				t.Fatal(err)
			}
		}
	})
}
