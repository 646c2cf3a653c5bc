package augment

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// open opens data that must be good.
func open(t *testing.T, opt SourceOptions, paths ...string) Source {
	t.Helper()
	s, err := Open(paths, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// mustFail opens data that must be refused with an error that says what.
func mustFail(t *testing.T, what string, opt SourceOptions, paths ...string) {
	t.Helper()
	s, err := Open(paths, opt)
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), what) || !strings.HasPrefix(err.Error(), "augment: ") {
		t.Errorf("got %v; want an error with %q", err, what)
	}
}

func file(t *testing.T, name string, data []byte) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), name), data)
}

func TestTarIsLaidOutLikeAFolder(t *testing.T) {
	data := tarBytes(t, member{"w/train/dog/2.png", grayPNG(t, 2)}, member{"w/readme.txt", []byte("some words")},
		member{"w/train/cat/1.png", grayPNG(t, 1)}, member{"w/test/cat/3.png", grayPNG(t, 3)}, member{"w/train/.hidden.png", nil})
	for _, path := range []string{file(t, "x.tar", data), file(t, "x.tar.gz", gz(t, data)), file(t, "x.tgz", gz(t, data)), file(t, "noname", data)} {
		s := open(t, SourceOptions{Split: "train"}, path)
		want := []string{"w/train/dog/2.png=dog", "w/train/cat/1.png=cat"} // in the archive's order
		if diff := cmp.Diff(want, listing(t, s, path+"#")); diff != "" {
			t.Error(diff)
		}
		for i, v := range []int{2, 1, 2, 1} { // in any order, again and again
			if m, err := s.Image(i % 2); err != nil || grayscaleValue(m) != v {
				t.Errorf("image %d: %v, %v", i%2, m, err)
			}
		}
		mustFail(t, "holds the splits train, test: choose one", SourceOptions{}, path)
	}
	mustFail(t, "holds 1 entries but none ends in .jpg", SourceOptions{}, file(t, "x.tar", tarBytes(t, member{"a.pdf", nil})))
	mustFail(t, "entry 3: unexpected EOF: the archive is damaged or truncated", SourceOptions{}, file(t, "x.tar", data[:2100]))
	mustFail(t, "damaged or truncated", SourceOptions{}, file(t, "x.tar", []byte("no tar at all")))
	if s, err := Open([]string{file(t, "x.tar", nil)}, SourceOptions{}); !errors.Is(err, ErrNoImages) {
		t.Errorf("an empty file: %v, %v", s, err)
	}
}

// Names lead nowhere: they are labels and messages.
func TestNamesInArchives(t *testing.T) {
	names := []string{"../../etc/cat/1.png", "/abs/dog/2.png", `win\dows\3.png`, "./here/4.png", "caf\xe9/5.png", "same/6.png", "same/6.png"}
	want := []string{"etc/cat/1.png", "abs/dog/2.png", "win/dows/3.png", "here/4.png", "caf\xe9/5.png", "same/6.png", "same/6.png"}
	var members []member
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	for i, name := range names {
		members = append(members, member{name, grayPNG(t, i)})
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, NonUTF8: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(grayPNG(t, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file(t, "x.tar", tarBytes(t, members...)), file(t, "x.zip", zipped.Bytes())} {
		s := open(t, SourceOptions{}, path)
		found, values := map[string]int{}, map[int]bool{}
		for i := range s.Len() {
			found[strings.TrimPrefix(s.Name(i), path+"#")]++
			m, err := s.Image(i)
			if err != nil {
				t.Fatal(err)
			}
			values[grayscaleValue(m)] = true
		}
		if s.Len() != len(names) || len(values) != len(names) {
			t.Errorf("%s: %d images, %d different ones, want %d", path, s.Len(), len(values), len(names))
		}
		for _, name := range want {
			if found[name] == 0 {
				t.Errorf("%s: no %q, only %v", path, name, found)
			}
		}
		if c := fmt.Sprintf("%q", s.Classes()); c != `["abs" "caf\xe9" "etc" "here" "same" "win"]` {
			t.Errorf("classes %s", c)
		}
	}
}

// A link gives what it leads to inside the archive, and nothing outside.
func TestLinksInTar(t *testing.T) {
	path := file(t, "x.tar", tarLinks(t, "cat/1.png", "../cat/1.png", "cat/1.png", "/etc/passwd.png", "../../../outside.png"))
	s := open(t, SourceOptions{}, path)
	for i, want := range []string{"", "", "", `it is a link to "etc/passwd.png", which is no image of the archive`, `it is a link to "outside.png"`} {
		m, err := s.Image(i)
		if want == "" && (err != nil || grayscaleValue(m) != 5) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, %v; want %q", s.Name(i), m, err, want)
		}
	}
}

func TestWebDataset(t *testing.T) {
	shard := func(members ...member) string { return file(t, "x.tar", tarBytes(t, members...)) }
	p := func(name string, v int) member { return member{name, grayPNG(t, v)} }
	text := func(name, s string) member { return member{name, []byte(s)} }
	for name, tc := range map[string]struct {
		path string
		want []string
	}{
		"cls":     {shard(p("0.png", 1), text("0.cls", "10\n"), text("1.cls", "9"), p("1.png", 2)), []string{"0.png=10", "1.png=9"}},
		"json":    {shard(p("a/0.png", 1), text("a/0.json", `{"label": 3, "x": [1]}`), p("b/0.png", 2), text("b/0.json", `"cat"`)), []string{"a/0.png=3", "b/0.png=cat"}},
		"txt":     {shard(p("0.png", 1), text("0.txt", "a dog\n")), []string{"0.png=a dog"}},
		"first":   {shard(p("0.png", 1), text("0.txt", "text"), text("0.json", `{"class_name": "json"}`), text("0.cls", "cls")), []string{"0.png=cls"}},
		"missing": {shard(p("0.png", 1), p("1.png", 1), text("1.json", `{"caption": "cat"}`), p("2.png", 1), text("2.cls", "x")), []string{"0.png=-", "1.png=-", "2.png=x"}},
		"dots":    {shard(p("0.left.png", 1), p("0.right.png", 1), text("0.cls", "x")), []string{"0.left.png=x", "0.right.png=x"}},
		"folders": {shard(p("cat/0.png", 1), text("other.txt", "of no image"), p("dog/1.png", 1)), []string{"cat/0.png=cat", "dog/1.png=dog"}},
	} {
		s := open(t, SourceOptions{}, tc.path)
		if diff := cmp.Diff(tc.want, listing(t, s, tc.path+"#")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	// Numbers are in the order of numbers, over several shards too.
	s := open(t, SourceOptions{}, shard(p("0.png", 1), text("0.cls", "10"), p("1.png", 1), text("1.cls", "2")), shard(p("2.png", 1), text("2.cls", "1")))
	if c := fmt.Sprint(s.Classes()); c != "[1 2 10]" || s.Label(0) != 2 || s.Label(2) != 0 {
		t.Errorf("classes %s, labels %d, %d", c, s.Label(0), s.Label(2))
	}
	for want, path := range map[string]string{
		`two files are called 0.cls: their labels are "1" and "2"`: shard(p("0.png", 1), text("0.cls", "1"), text("0.cls", "2")),
		"0.cls: got a label of 0 bytes":                            shard(p("0.png", 1), text("0.cls", " \n")),
		"0.json: invalid character":                                shard(p("0.png", 1), text("0.json", "{]")),
		"0.json: unexpected EOF":                                   shard(p("0.png", 1), text("0.json", "")),
		"0.cls: a label of 1048577 bytes":                          shard(p("0.png", 1), text("0.cls", strings.Repeat("x", maxLabelFile+1))),
	} {
		mustFail(t, want, SourceOptions{}, path)
	}
}

// Thousands of different texts are captions, no classes.
func TestCaptionsAreNoClasses(t *testing.T) {
	var members []member
	picture := grayPNG(t, 1)
	for i := range maxCaptions + 1 {
		members = append(members, member{fmt.Sprintf("%d.png", i), picture}, member{fmt.Sprintf("%d.txt", i), fmt.Appendf(nil, "caption %d", i)})
	}
	s := open(t, SourceOptions{}, file(t, "x.tar", tarBytes(t, members...)))
	if s.Classes() != nil || s.Label(0) != -1 {
		t.Errorf("%d classes", len(s.Classes()))
	}
}

// What a file claims to be, once it is unpacked, is not believed.
func TestBombs(t *testing.T) {
	g := &bombGuard{r: bytes.NewReader(make([]byte, 100)), left: 10}
	if n, err := g.Read(make([]byte, 64)); n != 10 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := g.Read(make([]byte, 64)); err == nil || !strings.Contains(err.Error(), "no archive of images") {
		t.Errorf("got %v", err)
	}
	// Entries of a zip that claim to be pictures: zeros behind the first bytes of each format, more than
	// the decoders that read the whole file take.
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	heads := map[string]string{"a.tif": "II*\x00\x08\x00\x00\x00", "b.webp": "RIFF\xff\xff\xff\x0fWEBPVP8 \xff\xff\xff\x0f", "c.png": pngMagic, "d.jpg": "\xff\xd8",
		"e.gif": "GIF89a\x05\x00\x05\x00\x80", "f.bmp": "BM\x00\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00"}
	zeros := make([]byte, 1<<20)
	for _, name := range sortedKeys(heads) {
		f, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(heads[name]))
		for range maxHead>>20 + 4 {
			f.Write(zeros)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, SourceOptions{Decode: DecodeOptions{MaxPixels: 1000}}, file(t, "x.zip", b.Bytes()))
	for i := range s.Len() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := s.Image(i)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s was read", s.Name(i))
		}
		// A growing buffer allocates a few times what it holds.
		if used := after.TotalAlloc - before.TotalAlloc; used > 5*maxHead {
			t.Errorf("%s: %d MB were allocated to find %v", s.Name(i), used>>20, err)
		}
	}
	// An array that claims more than its compressed bytes can be.
	bomb := npzBytes(t, zip.Deflate, map[string][]byte{"x": npyBytes("|u1", "(2000000, 100, 100)", nil)})
	mustFail(t, "it is truncated", SourceOptions{}, file(t, "x.npz", bomb))
	mustFail(t, "unexpected EOF", SourceOptions{}, file(t, "x-images-idx3-ubyte.gz", gz(t, append(idxBytes(0)[:4], 0, 0x10, 0, 0, 0, 0, 0, 100, 0, 0, 0, 100))))
}

func TestSparseTar(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h := &tar.Header{Name: "a.png", Mode: 0o644, Size: 10, Format: tar.FormatPAX, PAXRecords: map[string]string{"SSLRT.test": "1"}}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "0123456789")
	w.Close()
	s := open(t, SourceOptions{}, file(t, "x.tar", b.Bytes()))
	if _, err := s.Image(0); err == nil || !strings.Contains(err.Error(), "x.tar#a.png: not a JPEG") {
		t.Errorf("got %v", err)
	}
	if !isSparse(&tar.Header{PAXRecords: map[string]string{"GNU.sparse.major": "1"}}) || !isSparse(&tar.Header{Typeflag: tar.TypeGNUSparse}) || isSparse(h) {
		t.Error("sparse files are not told from others")
	}
}

// Nothing of a compressed archive is left behind.
func TestTemporaryFilesGo(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	path := file(t, "x.tar.gz", gz(t, tarBytes(t, member{"a.png", grayPNG(t, 1)})))
	s := open(t, SourceOptions{}, path)
	if _, err := s.Image(0); err != nil {
		t.Error(err)
	}
	s.Close()
	mustFail(t, "truncated", SourceOptions{}, file(t, "y.tar.gz", gz(t, tarBytes(t, member{"a.png", grayPNG(t, 1)})[:550])))
	if left, _ := os.ReadDir(tmp); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

// An index costs memory for names and places, not for what lies there.
func TestTarMemory(t *testing.T) {
	const n = 5000
	big := append(grayPNG(t, 1), make([]byte, 4000)...)
	var members []member
	for i := range n {
		members = append(members, member{fmt.Sprintf("shard/%06d.png", i), big}, member{fmt.Sprintf("shard/%06d.cls", i), fmt.Append(nil, i%10)})
	}
	path := file(t, "x.tar", tarBytes(t, members...))
	members = nil
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := open(t, SourceOptions{}, path)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 400*n {
		t.Errorf("%d bytes are held for %d images", held, n)
	}
	if s.Len() != n || len(s.Classes()) != 10 || s.Label(n-1) != (n-1)%10 {
		t.Errorf("%d images, classes %v", s.Len(), s.Classes())
	}
	if _, err := s.Image(n - 1); err != nil {
		t.Error(err)
	}
}
