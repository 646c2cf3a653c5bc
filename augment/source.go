package augment

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/augment/npy"
)

// Source is a data set of images. All methods are safe for concurrent use; memory does not grow with
// the number of images beyond their names.
type Source interface {
	Len() int
	// Name is the file name of image i as the user knows it; a member of an archive or array file is
	// written archive#member.
	Name(i int) string
	// Label is the class of image i, an index into Classes, or -1.
	Label(i int) int
	// Classes holds the class names by label; nil when nothing is labelled.
	Classes() []string
	// Image decodes image i. Errors name the file.
	Image(i int) (*Image, error)
	Close() error
}

// SourceOptions are the choices that a path leaves open.
type SourceOptions struct {
	// Split picks one part of a source that has train and test parts: a folder, zip or tar with a folder
	// of that name, the pair train-*, t10k-* of IDX files, CIFAR's batches, arrays in a .npz whose names
	// say train and test. A source without that part is an error.
	Split string
	// DefaultSplit is used like Split where a source has parts and Split is empty, and nowhere else.
	DefaultSplit string
	// Labels is LabelsFine, the default, or LabelsCoarse: which of CIFAR-100's two labels to take.
	Labels string
	// Decode says how files of pictures are decoded, and bounds their size.
	Decode DecodeOptions
	// Stdin is read for the path "-"; nil for os.Stdin.
	Stdin io.Reader
}

// reuser is a Source that can decode into memory that is lent.
type reuser interface {
	// imageInto is Image with the memory of scratch, to which the result is to be released. scratch may be
	// nil.
	imageInto(i int, scratch *Scratch) (*Image, error)
}

// imageInto reads image i of src into memory of scratch, where src can.
func imageInto(src Source, i int, scratch *Scratch) (*Image, error) {
	if r, ok := src.(reuser); ok {
		return r.imageInto(i, scratch)
	}
	return src.Image(i)
}

// ErrNoImages is wrapped by the error of [Open] when there is nothing to read.
var ErrNoImages = errors.New("no images")

// Open opens images by path; several paths become one source, with classes merged by name. A path is
//
//   - a folder: images below it, sorted; the folders in it are the classes. It may hold train and test
//     folders, or MNIST-style IDX files, see [SourceOptions.Split]
//   - an image: JPEG, PNG, GIF, BMP, TIFF or WebP
//   - a zip of images, laid out like a folder
//   - a tar of images, plain or .gz, laid out like a folder or a WebDataset shard: a label beside each
//     image, NAME.jpg with NAME.cls, .json (label, class, cls, class_name, label_name or category) or .txt
//   - an IDX file of images, plain or .gz; its labels file is found beside it
//   - a binary file of CIFAR-10 or CIFAR-100, or a folder of them
//   - an array of images, uint8 [N, H, W], [N, H, W, C] or [N, C, H, W], in a .npy or .npz file; labels,
//     whole numbers [N], have a name that goes with the images': images and labels, x_train and y_train
//   - a text file with one path per line, relative to the text file's folder, with an optional label
//     after a tab
//   - "-": such a list on standard input, relative to the working directory
//   - a pattern: * and ? and [abc], and braces for several paths: shard-{000..063}.tar, {a,b}.zip
//
// A path that exists is never read as a pattern or as "-".
//
// Folders give labels when every image lies in a class folder: root/cat/1.png. Wrapping folders that
// hold nothing but another folder are looked through (data.zip with data/cat/1.png). When an image lies
// at the top, all are unlabelled.
func Open(paths []string, opt SourceOptions) (Source, error) {
	if len(paths) == 0 {
		return nil, fmt.Errorf("augment: no data given: %w", ErrNoImages)
	}
	var parts []Source
	closeAll := func() {
		for _, p := range parts {
			p.Close()
		}
	}
	add := func(s Source) {
		// Thousands of single images (a shell's *.jpg) are one part, not thousands.
		if f, ok := s.(*fileSource); ok && f.classes == nil && len(parts) > 0 {
			if last, ok := parts[len(parts)-1].(*fileSource); ok && last.classes == nil {
				last.files = append(last.files, f.files...)
				return
			}
		}
		parts = append(parts, s)
	}
	if opt.Labels != "" && opt.Labels != LabelsFine && opt.Labels != LabelsCoarse {
		return nil, fmt.Errorf("augment: labels %q: choose %s or %s", opt.Labels, LabelsFine, LabelsCoarse)
	}
	paths, err := expandBraces(paths)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		opened, err := openPath(path, opt)
		if err != nil {
			closeAll()
			return nil, err
		}
		for _, s := range opened {
			add(s)
		}
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return newMultiSource(parts), nil
}

// openPath opens one path, or everything that a pattern matches.
func openPath(path string, opt SourceOptions) ([]Source, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil:
		s, err := openExisting(path, info, opt)
		return []Source{s}, err
	case !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("augment: %w", err)
	case path == "-":
		if opt.Split != "" {
			return nil, noSplit("standard input", opt)
		}
		in := opt.Stdin
		if in == nil {
			in = os.Stdin
		}
		s, err := readList("standard input", ".", in, opt.Decode)
		return []Source{s}, err
	case strings.ContainsAny(path, "*?["):
		return openGlob(path, opt)
	}
	return nil, fmt.Errorf("augment: %s: no such file or folder", path)
}

func openGlob(pattern string, opt SourceOptions) ([]Source, error) {
	matches, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("augment: %s: %w", pattern, err)
	}
	if opt.Split != "" && slices.ContainsFunc(matches, isImageName) {
		return nil, noSplit(pattern, opt)
	}
	var out []Source
	loose := &fileSource{decode: opt.Decode}
	for _, path := range matches {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		switch {
		case isImageName(path):
			loose.files = append(loose.files, path)
		case info.IsDir(), isContainerName(path):
			s, err := openExisting(path, info, opt)
			if err != nil {
				for _, o := range out {
					o.Close()
				}
				return nil, err
			}
			out = append(out, s)
		}
	}
	if len(loose.files) > 0 {
		out = append(out, loose)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("augment: %s: no such file, and as a pattern it matches %d files: %w", pattern, len(matches), ErrNoImages)
	}
	return out, nil
}

// openExisting opens one folder or file, told by its content.
func openExisting(path string, info os.FileInfo, opt SourceOptions) (Source, error) {
	if info.IsDir() {
		return openFolder(path, opt)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("augment: %w", err)
	}
	defer f.Close()
	unsplit := func(s Source, err error) (Source, error) {
		if err == nil && opt.Split != "" && opt.Split != fileSplit(path) {
			s.Close()
			return nil, noSplit(path, opt)
		}
		return s, err
	}
	if !info.Mode().IsRegular() { // a pipe: <(find ...)
		return unsplit(readList(path, ".", f, opt.Decode))
	}
	head := make([]byte, 4096)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("augment: %w", err)
	}
	head = head[:n]
	switch {
	case sniffImage(head) != nil || isImageName(path):
		return unsplit(&fileSource{files: []string{path}, decode: opt.Decode}, nil)
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return openZip(path, opt)
	case bytes.HasPrefix(head, []byte(npy.Magic)):
		return unsplit(openNPY(path, opt))
	case isTar(head) || isTarName(path) && len(head) > 0:
		return openTar(path, opt)
	case isCIFARName(path) && len(head) > 0:
		return unsplit(openCIFAR(path, opt))
	case bytes.HasPrefix(head, []byte(gzipMagic)):
		if first, err := firstOfGzip(f); err == nil && isTar(first) {
			return openTar(path, opt)
		}
		return unsplit(openIDX(path, opt))
	case bytes.HasPrefix(head, []byte("\x00\x00\x08")) || isIDXName(path) && len(head) > 0:
		return unsplit(openIDX(path, opt))
	case strings.EqualFold(filepath.Ext(path), ".bin") && isCIFARSize(info.Size()):
		return unsplit(openCIFAR(path, opt))
	case len(head) == 0:
		return nil, fmt.Errorf("augment: %s is empty: %w", path, ErrNoImages)
	case isText(head):
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, fmt.Errorf("augment: %w", err)
		}
		s, err := readList(path, filepath.Dir(path), f, opt.Decode)
		if err == nil {
			err = s.checkExists(path)
		}
		return unsplit(s, err)
	}
	return nil, fmt.Errorf("augment: %s: not an image (JPEG, PNG, GIF, BMP, TIFF, WebP), zip, tar, IDX, CIFAR or NumPy file or list of paths", path)
}

func noSplit(name string, opt SourceOptions) error {
	return fmt.Errorf("augment: %s is a single part: split %q cannot be chosen from it", name, opt.Split)
}

// fileSplit is the part of a data set that the name of a file claims.
func fileSplit(path string) string {
	if s := idxSplit(path); s != "" {
		return s
	}
	if s := cifarSplit(path); s != "" {
		return s
	}
	if strings.EqualFold(filepath.Ext(path), ".npy") {
		return arraySplit(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)))
	}
	return ""
}

func isTarName(path string) bool {
	name := strings.ToLower(path)
	return strings.HasSuffix(name, ".tar") || strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")
}

// isContainerName says whether a file that a pattern matches holds many images.
func isContainerName(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".zip", ".npz", ".npy":
		return true
	}
	return isTarName(path) || isIDXName(path) || isCIFARName(path)
}

// firstOfGzip returns the first block of what a file compresses.
func firstOfGzip(f *os.File) ([]byte, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	block := make([]byte, 512)
	n, err := io.ReadFull(r, block)
	return block[:n], err
}

// isText says whether a file may be a list of names. They need not be UTF-8: file systems have others.
func isText(head []byte) bool {
	return !bytes.ContainsFunc(head, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' && r != '\f'
	})
}

// fileSource is a list of image files.
type fileSource struct {
	files   []string
	labels  []int // nil when unlabelled
	classes []string
	decode  DecodeOptions
}

func (s *fileSource) Len() int          { return len(s.files) }
func (s *fileSource) Name(i int) string { return s.files[i] }
func (s *fileSource) Classes() []string { return slices.Clone(s.classes) }
func (s *fileSource) Close() error      { return nil }

func (s *fileSource) Label(i int) int {
	if s.labels == nil {
		return -1
	}
	return s.labels[i]
}

func (s *fileSource) Image(i int) (*Image, error) { return s.imageInto(i, nil) }

func (s *fileSource) imageInto(i int, scratch *Scratch) (*Image, error) {
	opt := s.decode
	opt.scratch = scratch
	return DecodeFileWith(s.files[i], opt)
}
