package augment

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// listing describes a source as "name=class" lines, names relative to root.
func listing(t *testing.T, s Source, root string) []string {
	t.Helper()
	var out []string
	for i := range s.Len() {
		class := "-"
		if l := s.Label(i); l >= 0 {
			class = s.Classes()[l]
		}
		out = append(out, filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(s.Name(i), root), string(filepath.Separator)))+"="+class)
		if _, err := s.Image(i); err != nil {
			t.Errorf("image %d: %v", i, err)
		}
	}
	return out
}

func TestFolderAndZipLayouts(t *testing.T) {
	for name, tc := range map[string]struct {
		files []string
		split string
		want  []string // nil: an error
		err   string
	}{
		"flat":            {[]string{"b.png", "a.jpg"}, "", []string{"a.jpg=-", "b.png=-"}, ""},
		"classes":         {[]string{"dog/1.png", "cat/2.png", "cat/1.PNG"}, "", []string{"cat/1.PNG=cat", "cat/2.png=cat", "dog/1.png=dog"}, ""},
		"one class":       {[]string{"good/1.png", "good/2.png"}, "", []string{"good/1.png=good", "good/2.png=good"}, ""},
		"deep class":      {[]string{"cat/a/b/1.png", "dog/1.png"}, "", []string{"cat/a/b/1.png=cat", "dog/1.png=dog"}, ""},
		"wrapped":         {[]string{"w/v/cat/1.png", "w/v/dog/1.png"}, "", []string{"w/v/cat/1.png=cat", "w/v/dog/1.png=dog"}, ""},
		"mixed":           {[]string{"0.png", "cat/1.png"}, "", []string{"0.png=-", "cat/1.png=-"}, ""},
		"other files":     {[]string{"cat/1.png", "notes.txt", ".hidden.png", "__MACOSX/cat/1.png", "dog/2.png"}, "", []string{"cat/1.png=cat", "dog/2.png=dog"}, ""},
		"split train":     {[]string{"train/cat/1.png", "test/cat/2.png", "train/dog/3.png"}, "train", []string{"train/cat/1.png=cat", "train/dog/3.png=dog"}, ""},
		"split wrapped":   {[]string{"w/train/cat/1.png", "w/test/cat/2.png"}, "test", []string{"w/test/cat/2.png=cat"}, ""},
		"split unlabel":   {[]string{"train/1.png", "test/2.png"}, "test", []string{"test/2.png=-"}, ""},
		"only train":      {[]string{"train/cat/1.png", "train/dog/3.png"}, "", []string{"train/cat/1.png=cat", "train/dog/3.png=dog"}, ""},
		"only train ask":  {[]string{"train/cat/1.png", "train/dog/3.png"}, "train", []string{"train/cat/1.png=cat", "train/dog/3.png=dog"}, ""},
		"mvtec":           {[]string{"train/good/1.png", "test/good/1.png", "test/bad/2.png", "ground_truth/bad/2.png"}, "test", []string{"test/bad/2.png=bad", "test/good/1.png=good"}, ""},
		"which split":     {[]string{"train/cat/1.png", "test/cat/2.png"}, "", nil, "holds the splits train, test: choose one with --split"},
		"no such split":   {[]string{"cat/1.png", "dog/2.png"}, "test", nil, `has no folder "test"`},
		"nothing but txt": {[]string{"a.txt", "b/c.txt"}, "", nil, "none ends in .jpg"},
	} {
		t.Run(name, func(t *testing.T) {
			root := tree(t, tc.files...)
			archive := zipFile(t, tc.files...)
			for _, path := range []string{root, archive} {
				s, err := Open([]string{path}, SourceOptions{Split: tc.split})
				if tc.want == nil {
					if err == nil || !strings.Contains(err.Error(), tc.err) {
						t.Errorf("got %v, want an error with %q", err, tc.err)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s: %v", path, err)
					continue
				}
				prefix := path
				if path == archive {
					prefix += "#"
				}
				if diff := cmp.Diff(tc.want, listing(t, s, prefix)); diff != "" {
					t.Errorf("%s: %s", path, diff)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestDefaultSplit(t *testing.T) {
	opt := SourceOptions{DefaultSplit: "test"}
	s, err := Open([]string{tree(t, "train/a/1.png", "test/a/2.png")}, opt)
	if err != nil || s.Len() != 1 || !strings.HasSuffix(s.Name(0), "2.png") {
		t.Errorf("%v, %v", s, err)
	}
	if s, err = Open([]string{tree(t, "a/1.png", "b/2.png")}, opt); err != nil || s.Len() != 2 {
		t.Errorf("%v, %v", s, err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, data string) string { return write(t, filepath.Join(dir, name), []byte(data)) }
	empty := filepath.Join(dir, "nothing")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		path, want string
	}{
		"missing":       {filepath.Join(dir, "nowhere"), "nowhere: no such file or folder"},
		"empty folder":  {empty, "is empty: no images"},
		"glob":          {filepath.Join(dir, "*.jpg"), "matches 0 files: no images"},
		"bad glob":      {filepath.Join(dir, "[.jpg"), "syntax error in pattern"},
		"empty file":    {file("empty.lst", ""), "is empty: no images"},
		"blank lines":   {file("blank.lst", "\n\n"), "names no file: no images"},
		"text":          {file("readme.md", "# Title\nSome text\n"), "text, but no list of images"},
		"label only":    {file("label.lst", "\tcat\n"), "line 1 has a label but no path"},
		"binary":        {file("x.bin", "\x7fELF\x02\x01\x01\x00\x00\x00"), "not an image (JPEG, PNG, GIF, BMP, TIFF, WebP), zip, tar, IDX, CIFAR or NumPy file or list"},
		"broken zip":    {file("x.zip", "PK\x03\x04 and then nothing"), "x.zip: zip: not a valid zip file"},
		"broken gz":     {file("x.gz", "\x1f\x8bnope"), "x.gz: "},
		"tar gz":        {file("x.tar.gz", string(gz(t, []byte("some tar archive")))), "entry 1: unexpected EOF: the archive is damaged or truncated"},
		"other gz":      {file("y.gz", string(gz(t, []byte("some other file")))), "not an IDX file"},
		"labels":        {file("y-labels-idx1-ubyte", string(idxLabelBytes(1))), "give the images file"},
		"idx float":     {file("f-images-idx3-ubyte", "\x00\x00\x0d\x03"), "IDX magic 0x00000d03, want 0x00000803"},
		"idx header":    {file("h-images-idx3-ubyte", "\x00\x00\x08\x03\x00"), "IDX header: unexpected EOF"},
		"idx truncated": {file("t-images-idx3-ubyte", string(idxBytes(3)[:40])), "52 bytes in all, but the file has 40: it is truncated"},
		"idx gz short":  {file("g-images-idx3-ubyte.gz", string(gz(t, idxBytes(3)[:40]))), "24 of 36 bytes are there: unexpected EOF"},
		"idx none":      {file("n-images-idx3-ubyte", string(idxBytes(0))), "0 images of 4x3 pixels: no images"},
		"idx giant": {file("b-images-idx3-ubyte", "\x00\x00\x08\x03\x00\x00\x00\x01\x00\x00\x4e\x20\x00\x00\x4e\x20"),
			"images of 20000x20000 pixels, more than the limit"},
		"long line": {file("long.lst", strings.Repeat("x", maxLine+1)), "line 1: bufio.Scanner: token too long"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open([]string{tc.path}, SourceOptions{})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "augment: ") {
				t.Errorf("got %v, %v; want an error with %q", s, err, tc.want)
			}
			if strings.Contains(tc.want, "no images") && !errors.Is(err, ErrNoImages) {
				t.Error("the error is not ErrNoImages")
			}
		})
	}
	if _, err := Open(nil, SourceOptions{}); !errors.Is(err, ErrNoImages) {
		t.Errorf("no path: %v", err)
	}
}

func TestSingleImages(t *testing.T) {
	root := tree(t, "a.png", "b.png", "[x].png", "-")
	t.Chdir(root)
	noExtension := write(t, "photo", grayPNG(t, 7))
	s, err := Open([]string{"b.png", "a.png", "[x].png", "-", noExtension}, SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// "-" and the pattern exist as files, so that is what they are.
	want := []string{"b.png=-", "a.png=-", "[x].png=-", "-=-", "photo=-"}
	if diff := cmp.Diff(want, listing(t, s, "")); diff != "" {
		t.Error(diff)
	}
	if _, ok := s.(*fileSource); !ok {
		t.Errorf("single images became a %T", s)
	}
	if s, err = Open([]string{"*.png"}, SourceOptions{}); err != nil || s.Len() != 3 {
		t.Errorf("glob: %v, %v", s, err)
	}
	// A broken image given by name is a source whose reading fails, not a failure to open.
	write(t, "broken.jpg", nil)
	if s, err = Open([]string{"broken.jpg"}, SourceOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Image(0); err == nil || err.Error() != "augment: decode broken.jpg: the file is empty" {
		t.Errorf("got %v", err)
	}
}

func TestLists(t *testing.T) {
	root := tree(t, "x/a.png", "x/b.png", "c.png")
	abs := filepath.Join(root, "c.png")
	list := write(t, filepath.Join(root, "x", "list.txt"), []byte("\ufeffb.png\tdog\r\n\na.png\n"+abs+"\tcat\n"))
	s, err := Open([]string{list}, SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"x/b.png=dog", "x/a.png=-", "c.png=cat"}
	if diff := cmp.Diff(want, listing(t, s, root)); diff != "" {
		t.Error(diff)
	}
	t.Chdir(root)
	s, err = Open([]string{"-"}, SourceOptions{Stdin: strings.NewReader("c.png\nx/a.png\nmissing.png")})
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 3 || s.Classes() != nil || s.Name(1) != "x/a.png" {
		t.Errorf("%d images, %v, %s", s.Len(), s.Classes(), s.Name(1))
	}
	if _, err := s.Image(2); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "missing.png") {
		t.Errorf("got %v", err)
	}
	for _, path := range []string{"-", "*.png", "c.png"} {
		if _, err := Open([]string{path}, SourceOptions{Split: "test", Stdin: strings.NewReader("c.png")}); err == nil || !strings.Contains(err.Error(), "is a single part") {
			t.Errorf("split of %s: %v", path, err)
		}
	}
	if _, err = Open([]string{"-"}, SourceOptions{Stdin: strings.NewReader("")}); !errors.Is(err, ErrNoImages) {
		t.Errorf("empty standard input: %v", err)
	}
}

func TestIDX(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "train-images-idx3-ubyte.gz"), gz(t, idxBytes(5)))
	write(t, filepath.Join(dir, "train-labels-idx1-ubyte.gz"), gz(t, idxLabelBytes(0, 1, 2, 10, 4)))
	plain := write(t, filepath.Join(dir, "t10k-images-idx3-ubyte"), idxBytes(2))

	if _, err := Open([]string{dir}, SourceOptions{}); err == nil || !strings.Contains(err.Error(), "holds the splits test, train: choose one") {
		t.Errorf("got %v", err)
	}
	if _, err := Open([]string{dir}, SourceOptions{Split: "val"}); err == nil || !strings.Contains(err.Error(), `has no split "val", only test, train`) {
		t.Errorf("got %v", err)
	}
	if _, err := Open([]string{plain}, SourceOptions{Split: "train"}); err == nil || !strings.Contains(err.Error(), "single part") {
		t.Errorf("got %v", err)
	}
	s, err := Open([]string{dir}, SourceOptions{Split: "train"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 5 || len(s.Classes()) != 11 || s.Label(3) != 10 || s.Classes()[10] != "10" {
		t.Errorf("%d images, classes %v, label %d", s.Len(), s.Classes(), s.Label(3))
	}
	if want := filepath.Join(dir, "train-images-idx3-ubyte.gz#3"); s.Name(3) != want {
		t.Errorf("name %s, want %s", s.Name(3), want)
	}
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			m, err := s.Image(i)
			if err != nil || m.W != 4 || m.H != 3 || grayscaleValue(m) != i {
				t.Errorf("image %d: %v, %v", i, m, err)
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	// Without a labels file, by file name.
	s, err = Open([]string{plain}, SourceOptions{Split: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Label(1) != -1 || s.Classes() != nil {
		t.Errorf("label %d, classes %v", s.Label(1), s.Classes())
	}
	write(t, filepath.Join(dir, "t10k-labels-idx1-ubyte"), idxLabelBytes(0, 1, 2))
	if _, err := Open([]string{plain}, SourceOptions{}); err == nil || !strings.Contains(err.Error(), "3 labels for 2 images") {
		t.Errorf("got %v", err)
	}
}

// The compressed file is expanded into a file without a name: nothing may be left behind, and memory
// must not grow with the number of images.
func TestIDXMemoryAndTemporaryFile(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	path := shared(t, "data", "fashion-mnist", "train-images-idx3-ubyte.gz")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s, err := Open([]string{path}, SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if s.Len() != 60000 || len(s.Classes()) != 10 {
		t.Errorf("%d images, %v", s.Len(), s.Classes())
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("%d bytes for 60,000 images", grown)
	}
	if left, _ := os.ReadDir(tmp); len(left) != 0 && runtime.GOOS != "windows" {
		t.Errorf("left in the temporary folder: %v", left)
	}
	// NOTES.md of the data: mean of the training images is 0.28604.
	sum := 0.0
	for i := range s.Len() {
		m, err := s.Image(i)
		if err != nil {
			t.Fatal(err)
		}
		for j := 0; j < len(m.Pix); j += 3 {
			sum += float64(m.Pix[j])
		}
	}
	if got := fmt.Sprintf("%.5f", sum/255/60000/784); got != "0.28604" {
		t.Errorf("mean %s, want 0.28604", got)
	}
}

func TestSeveralSources(t *testing.T) {
	a := tree(t, "cat/1.png", "dog/2.png")
	b := tree(t, "ant/1.png", "dog/2.png")
	c := tree(t, "1.png")
	s, err := Open([]string{a, b, c}, SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if diff := cmp.Diff([]string{"ant", "cat", "dog"}, s.Classes()); diff != "" {
		t.Error(diff)
	}
	var labels []int
	for i := range s.Len() {
		labels = append(labels, s.Label(i))
	}
	if diff := cmp.Diff([]int{1, 2, 0, 2, -1}, labels); diff != "" {
		t.Error(diff)
	}
	sub := Subset(s, []int{4, 2})
	if sub.Len() != 2 || sub.Label(1) != 0 || sub.Name(0) != s.Name(4) {
		t.Errorf("subset: %d images, label %d, name %s", sub.Len(), sub.Label(1), sub.Name(0))
	}
}

func TestFolderLinks(t *testing.T) {
	root := tree(t, "cat/1.png", "dog/2.png")
	for link, target := range map[string]string{"dog/3.png": "2.png", "fox": "cat", "dog/loop": ".."} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Skip(err)
		}
	}
	outer := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(root, outer); err != nil {
		t.Skip(err)
	}
	s, err := Open([]string{outer}, SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"cat/1.png=cat", "dog/2.png=dog", "dog/3.png=dog", "fox/1.png=fox"}
	if diff := cmp.Diff(want, listing(t, s, outer)); diff != "" {
		t.Error(diff)
	}
}

func TestZipEntryErrors(t *testing.T) {
	path := zipFile(t, "a.png", "b.png")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	body := grayPNG(t, 0)
	i := bytes.Index(data, body[:8])
	if i < 0 { // deflated: damage the middle of the first entry instead
		i = 40
	}
	data[i+6] ^= 0xff
	s, err := Open([]string{write(t, path, data)}, SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Image(0); err == nil || !strings.HasPrefix(err.Error(), "augment: decode "+path+"#a.png: ") {
		t.Errorf("got %v", err)
	}
	if _, err := s.Image(1); err != nil {
		t.Error(err)
	}
}
