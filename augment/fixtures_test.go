package augment

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// gradient is a picture in which every pixel and channel differs from its neighbours.
func gradient(w, h, seed int) *Image {
	m := NewImage(w, h)
	for y := range h {
		for x := range w {
			m.set((y*w+x)*3, uint8(7*x+3*y+seed), uint8(5*y+11*seed), uint8(x*y+seed))
		}
	}
	return m
}

func pngBytes(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegBytes(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// giantPNG is a valid header of a 20,000 x 20,000 image with nothing behind it.
func giantPNG(t testing.TB) []byte {
	b := pngBytes(t, image.NewGray(image.Rect(0, 0, 1, 1)))
	binary.BigEndian.PutUint32(b[16:], 20000)
	binary.BigEndian.PutUint32(b[20:], 20000)
	binary.BigEndian.PutUint32(b[29:], crc(b[12:29]))
	return b
}

func crc(b []byte) uint32 {
	c := ^uint32(0)
	for _, v := range b {
		c ^= uint32(v)
		for range 8 {
			c = c>>1 ^ 0xedb88320*(c&1)
		}
	}
	return ^c
}

func giantJPEG(t testing.TB) []byte {
	b := jpegBytes(t, image.NewGray(image.Rect(0, 0, 8, 8)))
	i := bytes.Index(b, []byte{0xff, 0xc0}) // start of frame: length, precision, height, width
	binary.BigEndian.PutUint16(b[i+5:], 20000)
	binary.BigEndian.PutUint16(b[i+7:], 20000)
	return b
}

func write(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// tree writes a PNG for each path below a new folder. Image k is 4x3 pixels of gray k.
func tree(t testing.TB, paths ...string) string {
	t.Helper()
	root := t.TempDir()
	for k, p := range paths {
		write(t, filepath.Join(root, filepath.FromSlash(p)), grayPNG(t, k))
	}
	return root
}

func grayPNG(t testing.TB, v int) []byte {
	m := image.NewGray(image.Rect(0, 0, 4, 3))
	for i := range m.Pix {
		m.Pix[i] = uint8(v)
	}
	return pngBytes(t, m)
}

func zipFile(t testing.TB, paths ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for k, p := range paths {
		f, err := w.Create(p)
		if err != nil {
			t.Fatal(err)
		}
		if isImageName(p) {
			if _, err := f.Write(grayPNG(t, k)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(t.TempDir(), "images.zip"), b.Bytes())
}

// idxBytes holds n images of 4x3 pixels, image k all of gray k.
func idxBytes(n int) []byte {
	b := binary.BigEndian.AppendUint32(nil, idxImages)
	for _, d := range []int{n, 3, 4} {
		b = binary.BigEndian.AppendUint32(b, uint32(d))
	}
	for k := range n {
		b = append(b, bytes.Repeat([]byte{uint8(k)}, 12)...)
	}
	return b
}

func idxLabelBytes(labels ...uint8) []byte {
	b := binary.BigEndian.AppendUint32(nil, idxLabels)
	b = binary.BigEndian.AppendUint32(b, uint32(len(labels)))
	return append(b, labels...)
}

func gz(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func grayscaleValue(m *Image) int { return int(m.Pix[0]) }

var red = color.NRGBA{R: 200, G: 30, B: 10, A: 255}

// member is a file in an archive.
type member struct {
	name string
	data []byte
}

func tarBytes(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if err := w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tarLinks is a tar with one picture and links to other names.
func tarLinks(t testing.TB, picture string, links ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	data := grayPNG(t, 5)
	if err := w.WriteHeader(&tar.Header{Name: picture, Mode: 0o644, Size: int64(len(data))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	for i, to := range links {
		typ := byte(tar.TypeSymlink)
		if i%2 == 1 {
			typ = tar.TypeLink
		}
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("links/%d.png", i), Linkname: to, Typeflag: typ}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// npyBytes is an array as NumPy saves it; shape as Python prints it.
func npyBytes(descr, shape string, data []byte) []byte {
	dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape)
	dict += strings.Repeat(" ", 63-(10+len(dict))%64) + "\n"
	b := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(dict)))
	return append(append(b, dict...), data...)
}

func npzBytes(t testing.TB, method uint16, arrays map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range sortedKeys(arrays) {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(arrays[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// cifarBytes are records with so many bytes of label; the last byte is the label, and each channel of an
// image is the label plus the channel's number.
func cifarBytes(head int, labels ...uint8) []byte {
	var b []byte
	for _, l := range labels {
		record := make([]byte, head+cifarImage)
		record[head-1] = l
		if head == 2 {
			record[0] = l / 5
		}
		for i := range cifarImage {
			record[head+i] = l + uint8(i/1024)
		}
		b = append(b, record...)
	}
	return b
}
