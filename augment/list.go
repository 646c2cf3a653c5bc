package augment

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxLine bounds one line of a list; no file system has longer paths.
const maxLine = 1 << 16

// readList reads one path per line, with an optional label after a tab. Relative paths start at dir.
// Whether the files exist shows when they are read.
func readList(name, dir string, r io.Reader, opt DecodeOptions) (*fileSource, error) {
	s := &fileSource{decode: opt}
	var labels []string
	labelled := false
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		text := strings.TrimSuffix(lines.Text(), "\r")
		if n == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		path, label, tab := strings.Cut(text, "\t")
		if strings.TrimSpace(path) == "" {
			if tab {
				return nil, fmt.Errorf("augment: %s: line %d has a label but no path", name, n)
			}
			continue
		}
		if strings.IndexByte(path, 0) >= 0 {
			return nil, fmt.Errorf("augment: %s: line %d is not text", name, n)
		}
		if dir != "." && !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		label = strings.TrimSpace(label)
		labelled = labelled || label != ""
		s.files = append(s.files, path)
		labels = append(labels, label)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("augment: %s: line %d: %w", name, n+1, err)
	}
	if len(s.files) == 0 {
		return nil, fmt.Errorf("augment: %s names no file: %w", name, ErrNoImages)
	}
	if labelled {
		seen := map[string]bool{}
		for _, l := range labels {
			if l != "" {
				seen[l] = true
			}
		}
		s.classes = sortedKeys(seen)
		for _, l := range labels {
			s.labels = append(s.labels, slices.Index(s.classes, l)) // -1 without a label
		}
	}
	return s, nil
}

// checkExists tells a list from any other text file: one of the first lines must name a file.
func (s *fileSource) checkExists(name string) error {
	for _, f := range s.files[:min(len(s.files), 100)] {
		if _, err := os.Stat(f); err == nil {
			return nil
		}
	}
	return fmt.Errorf("augment: %s is text, but no list of images: its first line leads to %s, which does not exist", name, s.files[0])
}
