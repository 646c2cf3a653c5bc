package augment

import (
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

// openIDXFolder chooses between the parts of a folder of IDX files (train-*, t10k-*).
func openIDXFolder(root string, names []string, opt SourceOptions) (Source, error) {
	byPart := map[string]string{}
	for _, name := range names { // sorted: NAME comes before NAME.gz and wins
		split := idxSplit(name)
		if byPart[split] == "" {
			byPart[split] = name
		}
	}
	split, err := pickSplit(root, sortedKeys(byPart), opt)
	if err != nil {
		return nil, err
	}
	return openIDX(filepath.Join(root, byPart[split]), opt)
}

func openIDX(path string, opt SourceOptions) (Source, error) {
	fail := func(err error) (Source, error) { return nil, fmt.Errorf("augment: %s: %w", path, err) }
	f, r, err := openMaybeGzip(path)
	if err != nil {
		return fail(err)
	}
	s := &arraySource{path: path, data: f, close: f.Close, offset: 16, c: 1}
	if err := s.readIDX(f, r, opt); err != nil {
		s.close()
		return fail(err)
	}
	if err := s.findIDXLabels(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// readIDX reads the header of f, whose content is r, and makes the samples readable from anywhere.
func (s *arraySource) readIDX(f *os.File, r io.Reader, opt SourceOptions) error {
	dims, err := readIDXHeader(r, idxImages)
	if err != nil {
		return err
	}
	s.n, s.h, s.w = dims[0], dims[1], dims[2]
	if err := s.checkSize(opt.Decode); err != nil {
		return err
	}
	s.stride = int64(s.h) * int64(s.w)
	size := int64(s.n) * s.stride
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if r == io.Reader(f) {
		if info.Size() < size+s.offset {
			return fmt.Errorf("the header says %d images of %dx%d pixels, %d bytes in all, but the file has %d: it is truncated",
				s.n, s.w, s.h, size+s.offset, info.Size())
		}
		return nil
	}
	tmp, err := expand(&bombGuard{r: r, left: maxExpanded(info.Size())}, size)
	if err != nil {
		return fmt.Errorf("the header says %d images of %dx%d pixels: %w", s.n, s.w, s.h, err)
	}
	f.Close()
	s.data, s.close, s.offset = tmp, tmp.Close, 0
	return nil
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

// findIDXLabels reads NAME-labels-idx1-ubyte, with or without .gz, beside NAME-images-idx3-ubyte, where
// there is such a file. Classes are numbers: the format has no names.
func (s *arraySource) findIDXLabels() error {
	m := idxName.FindStringSubmatch(filepath.Base(s.path))
	if m == nil {
		return nil
	}
	base := m[1] + strings.NewReplacer("images", "labels", "idx3", "idx1").Replace(m[2])
	for _, ext := range []string{m[3], "", ".gz"} {
		path := filepath.Join(filepath.Dir(s.path), base+ext)
		labels, err := readIDXLabels(path, s.n)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("augment: %s: %w", path, err)
		}
		s.labels = make([]int32, s.n)
		most := 0
		for i, l := range labels {
			s.labels[i] = int32(l)
			most = max(most, int(l))
		}
		for i := range most + 1 {
			s.classes = append(s.classes, strconv.Itoa(i))
		}
		return nil
	}
	return nil
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
