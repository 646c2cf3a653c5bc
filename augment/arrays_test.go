package augment

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestCIFAR(t *testing.T) {
	dir := t.TempDir()
	batch := filepath.Join(dir, "cifar-10-batches-bin")
	write(t, filepath.Join(batch, "data_batch_2.bin"), cifarBytes(1, 7))
	write(t, filepath.Join(batch, "data_batch_1.bin"), cifarBytes(1, 0, 9))
	write(t, filepath.Join(batch, "test_batch.bin"), cifarBytes(1, 4))
	write(t, filepath.Join(batch, "readme.html"), nil)
	s := open(t, SourceOptions{DefaultSplit: "train"}, dir)
	if s.Len() != 3 || s.Label(1) != 9 || s.Label(2) != 7 || len(s.Classes()) != 10 || s.Classes()[9] != "9" {
		t.Fatalf("%d images, label %d, classes %v", s.Len(), s.Label(1), s.Classes())
	}
	m, err := s.Image(1)
	if err != nil || m.W != 32 || m.H != 32 {
		t.Fatalf("%v, %v", m, err)
	}
	for i := 0; i < len(m.Pix); i += 3 { // planes of 9, 10 and 11
		if m.Pix[i] != 9 || m.Pix[i+1] != 10 || m.Pix[i+2] != 11 {
			t.Fatalf("pixel %d is %v", i/3, m.Pix[i:i+3])
		}
	}
	names := "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"
	write(t, filepath.Join(batch, "batches.meta.txt"), []byte(names))
	if s = open(t, SourceOptions{Split: "test"}, dir); s.Len() != 1 || s.Classes()[s.Label(0)] != "deer" {
		t.Errorf("%d images of %v", s.Len(), s.Classes())
	}
	// A single file knows its part.
	if s = open(t, SourceOptions{Split: "test"}, filepath.Join(batch, "test_batch.bin")); s.Len() != 1 {
		t.Errorf("%d images", s.Len())
	}
	mustFail(t, "is a single part", SourceOptions{Split: "train"}, filepath.Join(batch, "test_batch.bin"))
	mustFail(t, "holds the splits test, train: choose one", SourceOptions{}, dir)
	mustFail(t, `has no split "val"`, SourceOptions{Split: "val"}, dir)
	write(t, filepath.Join(batch, "batches.meta.txt"), []byte("airplane\nautomobile\n"))
	mustFail(t, "batches.meta.txt has 2 names, want 10", SourceOptions{Split: "test"}, dir)
	write(t, filepath.Join(batch, "batches.meta.txt"), []byte("a\na\n"))
	mustFail(t, `names the class "a" twice`, SourceOptions{Split: "test"}, dir)
	write(t, filepath.Join(dir, "copy", "test_batch.bin"), cifarBytes(1, 4))
	mustFail(t, "in several folders", SourceOptions{Split: "test"}, dir)

	hundred := filepath.Join(t.TempDir(), "train.bin")
	write(t, hundred, cifarBytes(2, 99, 31))
	if s = open(t, SourceOptions{}, hundred); s.Len() != 2 || s.Label(0) != 99 || len(s.Classes()) != 100 {
		t.Errorf("%d images, label %d of %d", s.Len(), s.Label(0), len(s.Classes()))
	}
	if s = open(t, SourceOptions{Labels: LabelsCoarse}, hundred); s.Label(0) != 19 || s.Label(1) != 6 || len(s.Classes()) != 20 {
		t.Errorf("labels %d, %d of %d", s.Label(0), s.Label(1), len(s.Classes()))
	}
	mustFail(t, `labels "rough": choose fine or coarse`, SourceOptions{Labels: "rough"}, hundred)
	mustFail(t, "no whole number of CIFAR records", SourceOptions{}, file(t, "test_batch.bin", cifarBytes(1, 1)[:3000]))
	mustFail(t, "record 1 has label 10, want less than 10", SourceOptions{}, file(t, "test_batch.bin", cifarBytes(1, 1, 10)))
	mustFail(t, "is empty", SourceOptions{}, file(t, "test_batch.bin", nil))
}

func TestNumPyArrays(t *testing.T) {
	pixels := make([]byte, 2*3*4*3) // two pictures of 4x3 or 3x4 pixels
	for i := range pixels {
		pixels[i] = byte(i)
	}
	for shape, want := range map[string]string{ // pixel 1 of image 1
		"(2, 4, 3, 3)":  "4x3 [39 40 41]", // N, H, W, C
		"(2, 3, 4, 3)":  "4x3 [39 40 41]", // both ways possible: the last axis wins
		"(2, 3, 2, 6)":  "6x2 [37 49 61]", // N, C, H, W
		"(2, 1, 6, 6)":  "6x6 [37 37 37]",
		"(2, 6, 6, 1)":  "6x6 [37 37 37]",
		"(2, 6, 6)":     "6x6 [37 37 37]",
		"(2, 3, 3, 4)":  "3x3 [40 41 42]", // alpha is dropped
		"(2, 4, 3, 3,)": "3x4 [39 40 41]",
	} {
		h, w := 0, 0
		fmt.Sscanf(want, "%dx%d", &w, &h)
		s := open(t, SourceOptions{}, file(t, "a.npy", npyBytes("|u1", shape, pixels)))
		m, err := s.Image(1)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%dx%d %v", m.W, m.H, m.Pix[3:6])
		if shape == "(2, 4, 3, 3)" {
			want = "3x4 [39 40 41]"
		}
		if got != want || s.Label(1) != -1 {
			t.Errorf("%s: %s, label %d, want %s", shape, got, s.Label(1), want)
		}
	}
	for want, data := range map[string][]byte{
		"it is truncated":                      npyBytes("|u1", "(2, 6, 6)", pixels[:71]),
		"got an array <f4 [2, 3]":              npyBytes("<f4", "(2, 3)", make([]byte, 24)),
		"neither the second nor the last axis": npyBytes("|u1", "(2, 2, 9, 2)", pixels),
		"is in Fortran order":                  []byte(strings.Replace(string(npyBytes("|u1", "(2, 6, 6)", pixels)), "False", "True ", 1)),
		"0 images of 6x6 pixels":               npyBytes("|u1", "(0, 6, 6)", nil),
		"[99999999999, 6, 6]: too large":       npyBytes("|u1", "(99999999999, 6, 6)", nil),
		"65535x65535 pixels, more than":        npyBytes("|u1", "(1, 65535, 65535)", nil),
		"plain array":                          npyBytes("|u1", "[2, 6, 6]", pixels),
		"header: unexpected EOF":               npyBytes("|u1", "(2, 6, 6)", pixels)[:40],
	} {
		mustFail(t, want, SourceOptions{}, file(t, "a.npy", data))
	}
}

func TestNumPyLabels(t *testing.T) {
	images := npyBytes("|u1", "(3, 2, 2)", make([]byte, 12))
	ints := func(descr string, order binary.AppendByteOrder, width int, values ...int) []byte {
		var b []byte
		for _, v := range values {
			switch width {
			case 1:
				b = append(b, byte(v))
			case 2:
				b = order.AppendUint16(b, uint16(v))
			case 4:
				b = order.AppendUint32(b, uint32(v))
			case 8:
				b = order.AppendUint64(b, uint64(v))
			}
		}
		return npyBytes(descr, fmt.Sprintf("(%d,)", len(values)), b)
	}
	for name, labels := range map[string][]byte{
		"i8": ints("<i8", binary.LittleEndian, 8, 11, -1, 2), "i4": ints(">i4", binary.BigEndian, 4, 11, -1, 2),
		"i2": ints("<i2", binary.LittleEndian, 2, 11, -1, 2), "i1": ints("|i1", binary.LittleEndian, 1, 11, -1, 2),
		"column": npyBytes("<i8", "(3, 1)", ints("<i8", binary.LittleEndian, 8, 11, -1, 2)[128:]),
	} {
		dir := t.TempDir()
		path := write(t, filepath.Join(dir, "train_images.npy"), images)
		write(t, filepath.Join(dir, "train_labels.npy"), labels)
		s := open(t, SourceOptions{}, path)
		if c := fmt.Sprint(s.Classes()); c != "[2 11]" || s.Label(0) != 1 || s.Label(1) != -1 || s.Label(2) != 0 {
			t.Errorf("%s: classes %s, labels %d %d %d", name, c, s.Label(0), s.Label(1), s.Label(2))
		}
	}
	if s := open(t, SourceOptions{}, file(t, "u.npz", npzBytes(t, zip.Deflate, map[string][]byte{
		"images": images, "labels": ints("<u2", binary.LittleEndian, 2, 65535, 0, 1)}))); s.Classes()[2] != "65535" {
		t.Errorf("%v", s.Classes())
	}
	for want, labels := range map[string][]byte{
		"2 labels for 3 images":                      ints("<i8", binary.LittleEndian, 8, 1, 2),
		"got labels <f4 [3], want whole numbers":     npyBytes("<f4", "(3,)", make([]byte, 12)),
		"label 1: unexpected EOF":                    npyBytes("<i8", "(3,)", make([]byte, 12)),
		"got labels <i8 [3, 2], want whole numbers":  npyBytes("<i8", "(3, 2)", make([]byte, 48)),
		"x_labels.npy: not a .npy array":             []byte("something else"),
		"got labels <U3 [3], want whole numbers [N]": npyBytes("<U3", "(3,)", make([]byte, 36)),
	} {
		dir := t.TempDir()
		path := write(t, filepath.Join(dir, "x.npy"), images)
		write(t, filepath.Join(dir, "x_labels.npy"), labels)
		write(t, filepath.Join(dir, "y.npy"), labels) // the name that x has labels by
		mustFail(t, strings.TrimPrefix(want, "x_labels.npy: "), SourceOptions{}, path)
	}
}

func TestNPZ(t *testing.T) {
	a := func(v byte, n int) []byte {
		b := make([]byte, n*4)
		for i := range b {
			b[i] = v
		}
		return npyBytes("|u1", fmt.Sprintf("(%d, 2, 2)", n), b)
	}
	label := func(values ...byte) []byte { return npyBytes("|u1", fmt.Sprintf("(%d,)", len(values)), values) }
	keras := map[string][]byte{"x_train": a(1, 2), "y_train": label(5, 3), "x_test": a(2, 1), "y_test": label(3)}
	med := map[string][]byte{"train_images": a(1, 2), "train_labels": label(5, 3), "val_images": a(3, 1), "val_labels": label(3), "test_images": a(2, 1), "test_labels": label(3)}
	for _, method := range []uint16{zip.Store, zip.Deflate} {
		for _, arrays := range []map[string][]byte{keras, med} {
			path := file(t, "x.npz", npzBytes(t, method, arrays))
			s := open(t, SourceOptions{Split: "test"}, path)
			m, err := s.Image(0)
			if err != nil || grayscaleValue(m) != 2 || s.Classes()[s.Label(0)] != "3" || s.Name(0) != path+"#0" {
				t.Errorf("%v, %v, %v", m, err, s.Classes())
			}
			s = open(t, SourceOptions{DefaultSplit: "train"}, path)
			if s.Len() != 2 || s.Label(0) != 1 || s.Label(1) != 0 {
				t.Errorf("%d images, labels %d, %d", s.Len(), s.Label(0), s.Label(1))
			}
			mustFail(t, "choose one with --split", SourceOptions{}, path)
			mustFail(t, `has no split "other"`, SourceOptions{Split: "other"}, path)
		}
	}
	// Masks beside images, unlabelled, the names of np.savez.
	s := open(t, SourceOptions{}, file(t, "x.npz", npzBytes(t, zip.Store, map[string][]byte{"images": a(1, 2), "masks": a(9, 2)})))
	if m, err := s.Image(1); err != nil || grayscaleValue(m) != 1 || s.Classes() != nil {
		t.Errorf("%v, %v", m, err)
	}
	s = open(t, SourceOptions{}, file(t, "x.zip", npzBytes(t, zip.Deflate, map[string][]byte{"arr_0": a(1, 2), "arr_1": label(1, 0)})))
	if s.Label(0) != 1 {
		t.Errorf("label %d", s.Label(0))
	}
	mustFail(t, "holds 2 arrays of images", SourceOptions{}, file(t, "x.npz", npzBytes(t, zip.Store, map[string][]byte{"left": a(1, 2), "right": a(9, 2)})))
	mustFail(t, "holds no array of images, uint8 with 3 or 4 axes, only embeddings <f4 [2, 2]", SourceOptions{},
		file(t, "x.npz", npzBytes(t, zip.Store, map[string][]byte{"embeddings": npyBytes("<f4", "(2, 2)", make([]byte, 16))})))
	mustFail(t, "array x: labels y: 1 labels for 2 images", SourceOptions{}, file(t, "x.npz", npzBytes(t, zip.Deflate, map[string][]byte{"x": a(1, 2), "y": label(1)})))
	mustFail(t, "is a single part", SourceOptions{Split: "train"}, file(t, "x.npz", npzBytes(t, zip.Store, map[string][]byte{"x": a(1, 2)})))
}

func TestBraces(t *testing.T) {
	for pattern, want := range map[string]string{
		"a{1..3}b":       "a1b a2b a3b",
		"{00..2}":        "00 01 02",
		"{008..011}.tar": "008.tar 009.tar 010.tar 011.tar",
		"{8..11}":        "8 9 10 11",
		"{a,b}{1..2}":    "a1 a2 b1 b2",
		"x{,y}":          "x xy",
		"{a}":            "{a}",
		"{a..b}":         "{a..b}",
		"plain":          "plain",
		"{open":          "{open",
		"closed}":        "closed}",
	} {
		got, err := expandBrace(pattern, 100)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v, want %s", pattern, got, err, want)
		}
	}
	for _, pattern := range []string{"{1..101}", "{1..11}{1..11}", "{9..1}", "{-5..1}"} {
		if got, err := expandBrace(pattern, 100); err == nil {
			t.Errorf("%s: %d paths", pattern, len(got))
		}
	}
	// A name with braces that exists is that file.
	root := tree(t, "{a,b}.png", "c.png")
	if s := open(t, SourceOptions{}, filepath.Join(root, "{a,b}.png")); s.Len() != 1 {
		t.Errorf("%d images", s.Len())
	}
	if s := open(t, SourceOptions{}, filepath.Join(root, "{c,*}.png")); s.Len() != 3 {
		t.Errorf("%d images", s.Len())
	}
}
