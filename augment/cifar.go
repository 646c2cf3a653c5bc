package augment

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The binary files of CIFAR-10 and CIFAR-100 (Krizhevsky): records of one label, or of a coarse and a
// fine one, and 3x32x32 samples. https://www.cs.toronto.edu/~kriz/cifar.html
const cifarImage = 3 * 32 * 32

// Label sets of CIFAR-100, see [SourceOptions.Labels].
const (
	LabelsFine   = "fine"   // 100 classes, the default
	LabelsCoarse = "coarse" // 20 superclasses
)

var cifarName = regexp.MustCompile(`^(data_batch_\d+|test_batch|train|test)\.bin$`)

func isCIFARName(path string) bool { return cifarName.MatchString(filepath.Base(path)) }

// cifarSplit is the part of the data set that a file name claims.
func cifarSplit(path string) string {
	switch base := filepath.Base(path); {
	case strings.HasPrefix(base, "test"):
		return "test"
	case isCIFARName(base):
		return "train"
	}
	return ""
}

// openCIFARFolder opens the files of one split; names are relative to the root and sorted.
func openCIFARFolder(root string, names []string, opt SourceOptions) (Source, error) {
	bySplit := map[string][]string{}
	for _, name := range names {
		if filepath.Dir(name) != filepath.Dir(names[0]) {
			return nil, fmt.Errorf("augment: %s holds CIFAR files in several folders, such as %s and %s: give one of them", root, names[0], name)
		}
		bySplit[cifarSplit(name)] = append(bySplit[cifarSplit(name)], name)
	}
	split, err := pickSplit(root, sortedKeys(bySplit), opt)
	if err != nil {
		return nil, err
	}
	var parts []Source
	for _, name := range bySplit[split] {
		s, err := openCIFAR(filepath.Join(root, filepath.FromSlash(name)), opt)
		if err != nil {
			for _, p := range parts {
				p.Close()
			}
			return nil, err
		}
		parts = append(parts, s)
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return newMultiSource(parts), nil
}

// openCIFAR opens one file.
func openCIFAR(path string, opt SourceOptions) (Source, error) {
	fail := func(err error) (Source, error) { return nil, fmt.Errorf("augment: %s: %w", path, err) }
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("augment: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return fail(err)
	}
	head, err := cifarHeader(path, info.Size())
	if err != nil {
		f.Close()
		return fail(err)
	}
	s := &arraySource{path: path, data: f, close: f.Close, offset: head, stride: head + cifarImage,
		n: int(info.Size() / (head + cifarImage)), h: 32, w: 32, c: 3, planar: true}
	if err := s.readCIFARLabels(head, opt.Labels); err != nil {
		f.Close()
		return fail(err)
	}
	return s, nil
}

// isCIFARSize says whether a file of this size may hold whole records.
func isCIFARSize(size int64) bool {
	return size > 0 && (size%(1+cifarImage) == 0 || size%(2+cifarImage) == 0)
}

// cifarHeader tells the bytes of labels in a record, by the file's name or else by its size.
func cifarHeader(path string, size int64) (int64, error) {
	if size == 0 {
		return 0, fmt.Errorf("the file is empty: %w", ErrNoImages)
	}
	ten, hundred := size%(1+cifarImage) == 0, size%(2+cifarImage) == 0
	base := filepath.Base(path)
	switch {
	case ten && (!hundred || strings.Contains(base, "_batch")):
		return 1, nil
	case hundred:
		return 2, nil
	}
	return 0, fmt.Errorf("its %d bytes are no whole number of CIFAR records, of %d bytes (CIFAR-10) or %d (CIFAR-100): it is truncated or something else", size, 1+cifarImage, 2+cifarImage)
}

// readCIFARLabels reads the labels of all records, and the names of the classes where the file of them
// lies beside.
func (s *arraySource) readCIFARLabels(head int64, set string) error {
	at, count, names := int64(0), 10, "batches.meta.txt"
	switch {
	case head == 2 && set == LabelsCoarse:
		count, names = 20, "coarse_label_names.txt"
	case head == 2:
		at, count, names = 1, 100, "fine_label_names.txt"
	}
	s.labels = make([]int32, s.n)
	var b [1]byte
	for i := range s.labels {
		if _, err := s.data.ReadAt(b[:], int64(i)*s.stride+at); err != nil {
			return eofIsUnexpected(err)
		}
		if int(b[0]) >= count {
			return fmt.Errorf("record %d has label %d, want less than %d: is this a CIFAR file?", i, b[0], count)
		}
		s.labels[i] = int32(b[0])
	}
	var err error
	if s.classes, err = readClassNames(filepath.Join(filepath.Dir(s.path), names), count); err != nil {
		return err
	}
	if s.classes == nil {
		for i := range count {
			s.classes = append(s.classes, strconv.Itoa(i))
		}
	}
	return nil
}

// readClassNames reads one name per line; nil when there is no such file.
func readClassNames(path string, count int) ([]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var names []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name := strings.TrimSpace(lines.Text())
		if name == "" {
			continue
		}
		if slices.Contains(names, name) {
			return nil, fmt.Errorf("%s names the class %q twice", filepath.Base(path), name)
		}
		names = append(names, name)
		if len(names) > count {
			break
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	if len(names) != count {
		return nil, fmt.Errorf("%s has %d names, want %d", filepath.Base(path), len(names), count)
	}
	return names, nil
}
