package augment

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A WebDataset shard is a tar in which files that belong together follow one another and have the same
// key, their name up to the first dot: 000017.jpg, 000017.cls.
// https://github.com/webdataset/webdataset

// tarLabels are the labels beside the images of a tar, by key.
type tarLabels struct {
	byKey map[string][]tarLabel
	names map[string]string // each different label once
}

type tarLabel struct{ suffix, label string }

// The suffixes of labels; the first one that an image has is taken.
var labelSuffixes = []string{".cls", ".json", ".txt"}

// jsonLabels are the keys of a JSON object that name the class, in this order.
var jsonLabels = []string{"label", "class", "cls", "class_name", "label_name", "category"}

const (
	maxLabelFile = 1 << 20
	maxLabel     = 1 << 10 // a longer text is no class
	// More different texts than this, and as many as half of the images, are captions.
	maxCaptions = 1000
)

func newTarLabels() tarLabels {
	return tarLabels{byKey: map[string][]tarLabel{}, names: map[string]string{}}
}

// webKey splits the name of a file into its key and the suffix, which may have dots.
func webKey(name string) (key, suffix string) {
	dir, base := path.Split(name)
	base, suffix, found := strings.Cut(base, ".")
	if found {
		suffix = "." + strings.ToLower(suffix)
	}
	return dir + base, suffix
}

// read takes the label in a file, if it is one.
func (l *tarLabels) read(name string, size int64, r io.Reader) error {
	key, suffix := webKey(name)
	if !slices.Contains(labelSuffixes, suffix) || hidden(path.Base(name)) {
		return nil
	}
	if size > maxLabelFile {
		if suffix == ".cls" {
			return fmt.Errorf("%s: a label of %d bytes: want at most %d", name, size, maxLabel)
		}
		return nil
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("%s: %w", name, eofIsUnexpected(err))
	}
	label := strings.TrimSpace(string(data))
	switch suffix {
	case ".cls":
		if label == "" || len(label) > maxLabel {
			return fmt.Errorf("%s: got a label of %d bytes, want 1 to %d", name, len(label), maxLabel)
		}
	case ".json":
		if label, err = jsonLabel(data); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	case ".txt":
		if len(label) > maxLabel || strings.Contains(label, "\n") {
			return nil
		}
	}
	if label == "" {
		return nil
	}
	for _, other := range l.byKey[key] {
		if other.suffix == suffix && other.label != label {
			return fmt.Errorf("two files are called %s: their labels are %q and %q", name, other.label, label)
		}
	}
	if l.names[label] == "" {
		l.names[label] = label
	}
	l.byKey[key] = append(l.byKey[key], tarLabel{suffix, l.names[label]})
	return nil
}

// jsonLabel returns the class that a JSON value names: a string or whole number, or one of an object's;
// "" where it names none.
func jsonLabel(data []byte) (string, error) {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", eofIsUnexpected(err)
	}
	plain := func(v any) string {
		switch v := v.(type) {
		case string:
			if v = strings.TrimSpace(v); len(v) <= maxLabel {
				return v
			}
		case json.Number:
			if n, err := v.Int64(); err == nil {
				return strconv.FormatInt(n, 10)
			}
		}
		return ""
	}
	if object, ok := v.(map[string]any); ok {
		for _, key := range jsonLabels {
			if label := plain(object[key]); label != "" {
				return label, nil
			}
		}
		return "", nil
	}
	return plain(v), nil
}

// labelling is the class of each image.
type labelling struct {
	index   []int
	classes []string
}

// of returns the labels of the images; nil when none has one. Images without one, where others have,
// get -1.
func (l *tarLabels) of(names []string, images []int) (*labelling, error) {
	chosen := make([]string, len(images))
	for _, suffix := range labelSuffixes {
		different := map[string]bool{}
		var taken []int
		for k, i := range images {
			key, _ := webKey(names[i])
			for _, have := range l.byKey[key] {
				if have.suffix == suffix && chosen[k] == "" {
					chosen[k] = have.label
					different[have.label] = true
					taken = append(taken, k)
				}
			}
		}
		if suffix == ".txt" && len(different) > maxCaptions && len(different) > len(images)/2 {
			for _, k := range taken {
				chosen[k] = ""
			}
		}
	}
	seen := map[string]bool{}
	for _, label := range chosen {
		if label != "" {
			seen[label] = true
		}
	}
	if len(seen) == 0 {
		return nil, nil
	}
	out := &labelling{index: make([]int, len(images)), classes: sortClasses(seen)}
	number := map[string]int{}
	for n, c := range out.classes {
		number[c] = n
	}
	for k, label := range chosen {
		out.index[k] = -1
		if label != "" {
			out.index[k] = number[label]
		}
	}
	return out, nil
}

// sortClasses orders class names, as numbers if all are.
func sortClasses[V any](m map[string]V) []string {
	names := sortedKeys(m)
	number := map[string]int64{}
	for _, name := range names {
		n, err := strconv.ParseInt(name, 10, 64)
		if err != nil {
			return names
		}
		number[name] = n
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(number[a], number[b]) })
	return names
}
