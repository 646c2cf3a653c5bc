package augment

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// damages calls f with data cut off at every tenth byte, and with each tenth byte changed.
func damages(data []byte, f func(kind string, at int, data []byte)) {
	rng := rand.New(rand.NewPCG(1, 2))
	for at := 0; at < len(data); at += 10 {
		f("cut off", at, data[:at])
		changed := bytes.Clone(data)
		changed[at] ^= byte(1 + rng.IntN(255))
		f("changed", at, changed)
	}
}

// Of every format: what is cut off or changed gives an error or a picture of sane size, never a panic,
// and never more memory than the limit of pixels allows.
func TestDamagedPictures(t *testing.T) {
	opt := DecodeOptions{MaxPixels: 1 << 16, Orient: true}
	files := formatFiles(t)
	for _, suffix := range []string{"jpg", "png", "tif", "webp"} {
		files = append(files, "testdata/formats/exif/6."+suffix)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		damages(data, func(kind string, at int, data []byte) {
			m, err := DecodeWith(bytes.NewReader(data), opt)
			if (m == nil) == (err == nil) || m != nil && (int64(m.W*m.H) > opt.MaxPixels || len(m.Pix) != 3*m.W*m.H) {
				t.Errorf("%s %s at %d: %v, %v", path, kind, at, m, err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "augment: decode: ") || errors.Is(err, io.EOF) {
				t.Errorf("%s %s at %d: %v", path, kind, at, err)
			}
			if err != nil && kind == "cut off" {
				refused++
			}
			if err == nil && kind == "cut off" && strings.HasSuffix(path, ".jpg") {
				t.Errorf("%s cut off at %d: it is read", path, at)
			}
		})
		if refused == 0 {
			t.Errorf("%s: nothing that was cut off was refused", path)
		}
	}
}

// The same of every kind of data: an error that names the file, or images that can be asked for.
func TestDamagedSources(t *testing.T) {
	shard := tarBytes(t, member{"a/0.png", grayPNG(t, 1)}, member{"a/0.cls", []byte("3")}, member{"a/1.png", grayPNG(t, 2)}, member{"a/1.json", []byte(`{"label": 1}`)})
	arrays := map[string][]byte{"x": npyBytes("|u1", "(2, 4, 2, 3)", make([]byte, 48)), "y": npyBytes("<i4", "(2,)", make([]byte, 8))}
	zipped, err := os.ReadFile(zipFile(t, "cat/a.png", "dog/b.png"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"x.tar": shard, "x.tar.gz": gz(t, shard), "x.zip": zipped, "x.npy": arrays["x"],
		"x.npz": npzBytes(t, zip.Deflate, arrays), "stored.npz": npzBytes(t, zip.Store, arrays),
		"x-images-idx3-ubyte": idxBytes(9), "x-images-idx3-ubyte.gz": gz(t, idxBytes(9)),
		"test_batch.bin": cifarBytes(1, 3, 9)[:1000], "train.bin": cifarBytes(2, 3), "list.txt": []byte("a.png\tcat\nb.png\tdog\n"),
	} {
		path := filepath.Join(t.TempDir(), name)
		damages(data, func(kind string, at int, data []byte) {
			if name == "train.bin" && at%300 != 0 {
				return
			}
			write(t, path, data)
			s, err := Open([]string{path}, SourceOptions{Decode: DecodeOptions{MaxPixels: 1 << 16}})
			if err != nil {
				if !strings.HasPrefix(err.Error(), "augment: ") || !strings.Contains(err.Error(), name) {
					t.Errorf("%s %s at %d: %v", name, kind, at, err)
				}
				return
			}
			checkSource(t, s)
			if err := s.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// Headers of 65,535 x 65,535 pixels, or the most that a format has, are refused before anything of that
// size is allocated.
func TestGiantHeaders(t *testing.T) {
	small := image.NewGray(image.Rect(0, 0, 8, 8))
	patched := func(data []byte, at int, bytes ...byte) []byte {
		copy(data[at:], bytes)
		return data
	}
	var b, ti, g bytes.Buffer
	if err := bmp.Encode(&b, small); err != nil {
		t.Fatal(err)
	}
	if err := tiff.Encode(&ti, small, nil); err != nil {
		t.Fatal(err)
	}
	if err := gif.Encode(&g, image.NewPaletted(small.Rect, color.Palette{color.Black, color.White}), nil); err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(ti.Bytes(), []byte{0x00, 0x01, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 8}) // width, then height
	webp, err := os.ReadFile("testdata/formats/lossy-alpha.webp")
	if err != nil {
		t.Fatal(err)
	}
	jpg := jpegBytes(t, small)
	png := giantPNG(t)
	copy(png[16:], []byte{0, 0, 255, 255, 0, 0, 255, 255})
	sum := crc(png[12:29])
	copy(png[29:], []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	for name, data := range map[string][]byte{
		"a.jpg":  patched(jpg, bytes.Index(jpg, []byte{0xff, 0xc0})+5, 255, 255, 255, 255),
		"a.png":  png,
		"a.bmp":  patched(b.Bytes(), 18, 255, 255, 0, 0, 255, 255, 0, 0),
		"a.gif":  patched(g.Bytes(), 6, 255, 255, 255, 255),
		"a.tiff": patched(patched(ti.Bytes(), at+8, 255, 255), at+20, 255, 255),
		"a.webp": patched(webp, 24, 255, 63, 0, 255, 63, 0), // 16384 x 16384
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(bytes.NewReader(data))
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "pixels, more than the limit of 134217728") {
			t.Errorf("%s: %v", name, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
			t.Errorf("%s: %d bytes were allocated", name, used)
		}
	}
	// The limit can be set.
	for limit, ok := range map[int64]bool{12: true, 11: false} {
		if _, err := DecodeWith(bytes.NewReader(grayPNG(t, 1)), DecodeOptions{MaxPixels: limit}); (err == nil) != ok {
			t.Errorf("4x3 pixels and a limit of %d: %v", limit, err)
		}
	}
}

// Whatever sizes and modes lie in a folder, and however many of them are broken: all others are read,
// and each broken one is named with its reason.
func TestMixedFolder(t *testing.T) {
	root := t.TempDir()
	good := 0
	for _, path := range formatFiles(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, filepath.Base(path)), data)
		good++
	}
	broken := map[string]string{"zero.png": "the file is empty", "text.jpg": ErrFormat.Error(), "caf\xe9.gif": "the file is empty", "cut.webp": "unexpected EOF"}
	webp, err := os.ReadFile("testdata/formats/lossy.webp")
	if err != nil {
		t.Fatal(err)
	}
	for name := range broken {
		data := map[string][]byte{"text.jpg": []byte("no picture"), "cut.webp": webp[:40]}[name]
		if err := os.WriteFile(filepath.Join(root, name), data, 0o644); err != nil {
			t.Skip("this file system refuses the name: ", err)
		}
	}
	s := open(t, SourceOptions{}, root)
	l, err := NewEvalLoader(s, EvalPreprocess(16), 8, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	read := 0
	for {
		b, err := l.Next(context.Background())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		read += len(b.Index) - len(b.Skipped)
		for _, k := range b.Skipped {
			want := broken[filepath.Base(k.Name)]
			if want == "" || !strings.Contains(k.Err.Error(), want) || !strings.Contains(k.Err.Error(), k.Name) {
				t.Errorf("%s: %v, want %q", k.Name, k.Err, want)
			}
			delete(broken, filepath.Base(k.Name))
		}
	}
	if read != good || len(broken) > 0 {
		t.Errorf("%d images were read, want %d; broken ones that were not named: %v", read, good, broken)
	}
}

// A list may have names that are not UTF-8.
func TestListOfOtherNames(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "caf\xe9.png"), grayPNG(t, 3), 0o644); err != nil {
		t.Skip("this file system refuses the name: ", err)
	}
	list := write(t, filepath.Join(root, "list.txt"), []byte("caf\xe9.png\tna\xefve\n"))
	s := open(t, SourceOptions{}, list)
	m, err := s.Image(0)
	if err != nil || grayscaleValue(m) != 3 || s.Classes()[0] != "na\xefve" {
		t.Errorf("%v, %v, %q", m, err, s.Classes())
	}
}
