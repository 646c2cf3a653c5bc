package augment

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// The IDX format of MNIST (LeCun, Cortes and Burges): big-endian magic 00 00 TYPE RANK, the sizes as
// uint32, then the array. Type 08 is uint8.
const (
	idxImages = 0x00000803
	idxLabels = 0x00000801
	gzipMagic = "\x1f\x8b"
)

var idxName = regexp.MustCompile(`^(.*)([-.]images[-.]idx3[-.]ubyte)(\.gz)?$`)

func isIDXName(path string) bool { return idxName.MatchString(filepath.Base(path)) }

// idxSplit is the part of the data set that a file name of IDX images claims, MNIST's t10k being "test".
func idxSplit(path string) string {
	m := idxName.FindStringSubmatch(filepath.Base(path))
	switch {
	case m == nil:
		return ""
	case m[1] == "t10k":
		return "test"
	}
	return m[1]
}

// idxSource reads grey images from an array file, one at a time.
type idxSource struct {
	path    string
	file    *os.File
	temp    string // to be removed on Close, where an open file cannot be
	offset  int64
	n, h, w int
	labels  []uint8 // nil when unlabelled
	classes int
}

// openIDXFolder chooses between the parts of a folder of IDX files (train-*, t10k-*).
func openIDXFolder(root string, names []string, opt SourceOptions) (Source, error) {
	byPart := map[string]string{}
	for _, name := range names { // sorted: NAME comes before NAME.gz and wins
		split := idxSplit(name)
		if byPart[split] == "" {
			byPart[split] = name
		}
	}
	split := opt.Split
	if split == "" && len(byPart) > 1 {
		split = opt.DefaultSplit
		if byPart[split] == "" {
			return nil, fmt.Errorf("augment: %s holds the splits %s: choose one with --split", root, strings.Join(sortedKeys(byPart), ", "))
		}
	}
	if split == "" {
		split = sortedKeys(byPart)[0]
	}
	if byPart[split] == "" {
		return nil, fmt.Errorf("augment: %s has no IDX files of the split %q, only %s", root, split, strings.Join(sortedKeys(byPart), ", "))
	}
	return openIDX(filepath.Join(root, byPart[split]))
}

func openIDX(path string) (Source, error) {
	fail := func(err error) (Source, error) { return nil, fmt.Errorf("augment: %s: %w", path, err) }
	f, r, err := openMaybeGzip(path)
	if err != nil {
		return fail(err)
	}
	keep := false
	defer func() {
		if !keep {
			f.Close()
		}
	}()
	dims, err := readIDXHeader(r, idxImages)
	if err != nil {
		return fail(err)
	}
	s := &idxSource{path: path, file: f, offset: 16, n: dims[0], h: dims[1], w: dims[2]}
	if s.n == 0 || s.h == 0 || s.w == 0 {
		return fail(fmt.Errorf("the header says %d images of %dx%d pixels: %w", s.n, s.w, s.h, ErrNoImages))
	}
	if int64(s.h)*int64(s.w) > MaxPixels {
		return fail(fmt.Errorf("the header says images of %dx%d pixels, more than the limit of %d", s.w, s.h, MaxPixels))
	}
	size := int64(s.n) * int64(s.h) * int64(s.w)
	if r != io.Reader(f) { // compressed
		tmp, err := expand(r, size)
		if err != nil {
			return fail(fmt.Errorf("the header says %d images of %dx%d pixels: %w", s.n, s.w, s.h, err))
		}
		f.Close()
		f, s.file, s.offset = tmp, tmp, 0
		if os.Remove(tmp.Name()) != nil {
			s.temp = tmp.Name()
		}
	} else if info, err := f.Stat(); err != nil {
		return fail(err)
	} else if info.Size() < size+s.offset {
		return fail(fmt.Errorf("the header says %d images of %dx%d pixels, %d bytes in all, but the file has %d: it is truncated",
			s.n, s.w, s.h, size+s.offset, info.Size()))
	}
	if s.labels, err = findIDXLabels(path, s.n); err != nil {
		return nil, err
	}
	for _, l := range s.labels {
		s.classes = max(s.classes, int(l)+1)
	}
	keep = true
	return s, nil
}

// openMaybeGzip returns the file and a reader of its content, which is the file itself when it is not
// compressed.
func openMaybeGzip(path string) (*os.File, io.Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	head := make([]byte, len(gzipMagic))
	n, _ := f.ReadAt(head, 0)
	if string(head[:n]) != gzipMagic {
		return f, f, nil
	}
	r, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, r, nil
}

func readIDXHeader(r io.Reader, magic uint32) ([]int, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("IDX header: %w", eofIsUnexpected(err))
	}
	if got := binary.BigEndian.Uint32(head[:]); got != magic {
		switch {
		case got == idxLabels:
			return nil, errors.New("this is a file of IDX labels: give the images file, the labels are found beside it")
		case got>>16 != 0 || got>>8&0xff < 8:
			return nil, errors.New("not an IDX file")
		}
		return nil, fmt.Errorf("IDX magic 0x%08x, want 0x%08x (uint8, rank %d)", got, magic, magic&0xff)
	}
	dims := make([]int, magic&0xff)
	for i := range dims {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, fmt.Errorf("IDX header: %w", eofIsUnexpected(err))
		}
		v := binary.BigEndian.Uint32(head[:])
		if v > 1<<31-1 {
			return nil, fmt.Errorf("IDX header: dimension %d is %d", i, v)
		}
		dims[i] = int(v)
	}
	return dims, nil
}

// expand writes size bytes of r to a temporary file. The caller removes its name at once, so that the
// file is gone when it is closed, however the program ends.
func expand(r io.Reader, size int64) (*os.File, error) {
	tmp, err := os.CreateTemp("", "sslrt-idx-*")
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(tmp, io.LimitReader(r, size))
	if err == nil && n < size {
		err = fmt.Errorf("%d of %d bytes are there: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err != nil {
		tmp.Close()
		os.Remove(tmp.Name())
		return nil, err
	}
	return tmp, nil
}

// findIDXLabels reads NAME-labels-idx1-ubyte, with or without .gz, beside NAME-images-idx3-ubyte; nil
// when there is no such file.
func findIDXLabels(images string, n int) ([]uint8, error) {
	m := idxName.FindStringSubmatch(filepath.Base(images))
	if m == nil {
		return nil, nil
	}
	base := m[1] + strings.NewReplacer("images", "labels", "idx3", "idx1").Replace(m[2])
	for _, ext := range []string{m[3], "", ".gz"} {
		path := filepath.Join(filepath.Dir(images), base+ext)
		labels, err := readIDXLabels(path, n)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("augment: %s: %w", path, err)
		}
		return labels, nil
	}
	return nil, nil
}

func readIDXLabels(path string, n int) ([]uint8, error) {
	f, r, err := openMaybeGzip(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dims, err := readIDXHeader(r, idxLabels)
	if err != nil {
		return nil, err
	}
	if dims[0] != n {
		return nil, fmt.Errorf("%d labels for %d images", dims[0], n)
	}
	labels, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return nil, err
	}
	if len(labels) < n {
		return nil, fmt.Errorf("the header says %d labels, %d are there: %w", n, len(labels), io.ErrUnexpectedEOF)
	}
	return labels, nil
}

func (s *idxSource) Len() int          { return s.n }
func (s *idxSource) Name(i int) string { return s.path + "#" + strconv.Itoa(i) }

func (s *idxSource) Close() error {
	err := s.file.Close()
	if s.temp != "" {
		os.Remove(s.temp)
	}
	return err
}

// Classes are numbers: the format has no names.
func (s *idxSource) Classes() []string {
	var out []string
	for i := range s.classes {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

func (s *idxSource) Label(i int) int {
	if s.labels == nil {
		return -1
	}
	return int(s.labels[i])
}

func (s *idxSource) Image(i int) (*Image, error) {
	gray := make([]uint8, s.h*s.w)
	if _, err := s.file.ReadAt(gray, s.offset+int64(i)*int64(len(gray))); err != nil {
		return nil, fmt.Errorf("augment: read %s: %w", s.Name(i), eofIsUnexpected(err))
	}
	m := NewImage(s.w, s.h)
	for j, v := range gray {
		m.set(3*j, v, v, v)
	}
	return m, nil
}
