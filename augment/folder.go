package augment

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// openFolder reads the names below root; images are opened one by one later.
func openFolder(root string, opt SourceOptions) (Source, error) {
	var scan folderScan
	if err := scan.walk(root, "", nil); err != nil {
		return nil, fmt.Errorf("augment: %w", err)
	}
	if len(scan.images) == 0 {
		if idx := scan.idx; len(idx) > 0 {
			return openIDXFolder(root, idx, opt)
		}
		if len(scan.cifar) > 0 {
			return openCIFARFolder(root, scan.cifar, opt)
		}
		if scan.others == 0 {
			return nil, fmt.Errorf("augment: the folder %s is empty: %w", root, ErrNoImages)
		}
		return nil, fmt.Errorf("augment: the folder %s holds %d files (such as %s) but none ends in %s; give archives and arrays one by one or by a pattern: %w",
			root, scan.others, scan.example, strings.Join(imageSuffixes, ", "), ErrNoImages)
	}
	part, err := arrange(scan.images, root, opt)
	if err != nil {
		return nil, err
	}
	s := &fileSource{labels: part.labels, classes: part.classes, files: make([]string, len(part.index)), decode: opt.Decode}
	for k, i := range part.index {
		s.files[k] = filepath.Join(root, filepath.FromSlash(scan.images[i]))
	}
	return s, nil
}

// folderScan collects slash-separated paths relative to the root.
type folderScan struct {
	images  []string
	idx     []string // IDX image files directly in the root
	cifar   []string // CIFAR's binary files, anywhere
	others  int
	example string // one of the others
}

// walk visits rel below root in lexical order. Symbolic links are followed, except to a folder that
// the path already goes through. Hidden files are skipped.
func (s *folderScan) walk(root, rel string, above []os.FileInfo) error {
	dir := filepath.Join(root, filepath.FromSlash(rel))
	here, err := os.Stat(dir)
	if err != nil {
		return err
	}
	for _, a := range above {
		if os.SameFile(a, here) {
			return nil
		}
	}
	above = append(slices.Clip(above), here)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if hidden(e.Name()) {
			continue
		}
		path := e.Name()
		if rel != "" {
			path = rel + "/" + path
		}
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(dir, e.Name()))
			if err != nil { // a dangling link: let reading it say so, if it claims to be an image
				mode = 0
			} else {
				mode = info.Mode()
			}
		}
		switch {
		case mode.IsDir():
			if err := s.walk(root, path, above); err != nil {
				return err
			}
		case isImageName(path):
			s.images = append(s.images, path)
		case rel == "" && isIDXName(path):
			s.idx = append(s.idx, path)
		case isCIFARName(path):
			s.cifar = append(s.cifar, path)
		default:
			s.others++
			s.example = path
		}
	}
	return nil
}

// hidden tells the files that operating systems leave between a user's own.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || name == "__MACOSX" }

// part is what of a tree of images is used, and how it is labelled.
type part struct {
	index   []int // into the paths
	labels  []int // parallel to index; nil when unlabelled
	classes []string
}

var splitNames = []string{"train", "test", "val", "valid", "validation"}

// arrange chooses the split and derives labels from slash-separated paths; name is for errors.
func arrange(paths []string, name string, opt SourceOptions) (part, error) {
	index := make([]int, len(paths))
	for i := range index {
		index[i] = i
	}
	prefix := "" // of every path in index
	top := func(i int) (string, bool) {
		dir, _, ok := strings.Cut(paths[i][len(prefix):], "/")
		return dir, ok
	}
	for {
		tops := map[string]int{} // images by top folder; "" for those at the top
		for _, i := range index {
			dir, ok := top(i)
			if !ok {
				dir = ""
			}
			tops[dir]++
		}
		if split, ok, err := chooseSplit(tops, name, opt); err != nil {
			return part{}, err
		} else if ok {
			prefix += split + "/"
			index = slices.DeleteFunc(index, func(i int) bool { return !strings.HasPrefix(paths[i], prefix) })
			break
		}
		if len(tops) != 1 || tops[""] > 0 {
			break
		}
		first, _ := top(index[0])
		inner := prefix + first + "/"
		// A wrapper holds folders only; a lone class folder holds the images themselves.
		if slices.ContainsFunc(index, func(i int) bool { return !strings.Contains(paths[i][len(inner):], "/") }) {
			break
		}
		prefix = inner
	}
	if opt.Split != "" && !hasComponent(prefix, opt.Split) {
		return part{}, fmt.Errorf("augment: %s has no folder %q to choose as split", name, opt.Split)
	}
	p := part{index: index}
	seen := map[string]bool{}
	for _, i := range index {
		dir, ok := top(i)
		if !ok {
			return p, nil
		}
		seen[dir] = true
	}
	p.classes = sortedKeys(seen)
	number := map[string]int{}
	for n, c := range p.classes {
		number[c] = n
	}
	p.labels = make([]int, len(index))
	for k, i := range index {
		dir, _ := top(i)
		p.labels[k] = number[dir]
	}
	return p, nil
}

func hasComponent(prefix, dir string) bool {
	return slices.Contains(strings.Split(prefix, "/"), dir)
}

// chooseSplit decides whether the top folders are splits, and which of them is asked for.
func chooseSplit(tops map[string]int, name string, opt SourceOptions) (split string, ok bool, err error) {
	if opt.Split != "" {
		return opt.Split, tops[opt.Split] > 0, nil
	}
	var have []string
	for _, s := range splitNames {
		if tops[s] > 0 {
			have = append(have, s)
		}
	}
	if len(have) < 2 || have[0] != "train" {
		return "", false, nil
	}
	if opt.DefaultSplit != "" && slices.Contains(have, opt.DefaultSplit) {
		return opt.DefaultSplit, true, nil
	}
	return "", false, fmt.Errorf("augment: %s holds the splits %s: choose one with --split", name, strings.Join(have, ", "))
}
