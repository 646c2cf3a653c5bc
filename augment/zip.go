package augment

import (
	"archive/zip"
	"fmt"
	"slices"
	"strings"
)

// zipSource reads images out of a zip archive without unpacking it. The archive is read through
// io.ReaderAt, so any number of goroutines may decode from it.
type zipSource struct {
	path    string
	archive *zip.ReadCloser
	files   []*zip.File
	part    part
}

func openZip(path string, opt SourceOptions) (Source, error) {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return nil, fmt.Errorf("augment: %s: %w", path, err)
	}
	s, err := newZipSource(path, archive, opt)
	if err != nil {
		archive.Close()
		return nil, err
	}
	return s, nil
}

func newZipSource(path string, archive *zip.ReadCloser, opt SourceOptions) (*zipSource, error) {
	s := &zipSource{path: path, archive: archive}
	for _, f := range archive.File {
		name := zipName(f)
		if !strings.HasSuffix(name, "/") && isImageName(name) && !slices.ContainsFunc(strings.Split(name, "/"), hidden) {
			s.files = append(s.files, f)
		}
	}
	if len(s.files) == 0 {
		return nil, fmt.Errorf("augment: the zip %s holds %d entries but none ends in .jpg, .jpeg or .png: %w", path, len(archive.File), ErrNoImages)
	}
	slices.SortStableFunc(s.files, func(a, b *zip.File) int { return strings.Compare(zipName(a), zipName(b)) })
	names := make([]string, len(s.files))
	for i, f := range s.files {
		names[i] = zipName(f)
	}
	var err error
	s.part, err = arrange(names, path, opt)
	return s, err
}

// zipName is the name of an entry with the separators of Windows tools mended. Names are used for
// labels and messages only; nothing is ever written under them.
func zipName(f *zip.File) string {
	return strings.TrimPrefix(strings.ReplaceAll(f.Name, `\`, "/"), "./")
}

func (s *zipSource) Len() int          { return len(s.part.index) }
func (s *zipSource) Name(i int) string { return s.path + "#" + zipName(s.files[s.part.index[i]]) }
func (s *zipSource) Classes() []string { return slices.Clone(s.part.classes) }
func (s *zipSource) Close() error      { return s.archive.Close() }

func (s *zipSource) Label(i int) int {
	if s.part.labels == nil {
		return -1
	}
	return s.part.labels[i]
}

func (s *zipSource) Image(i int) (*Image, error) {
	f := s.files[s.part.index[i]]
	if f.Flags&1 != 0 {
		return nil, fmt.Errorf("augment: decode %s: the entry is encrypted", s.Name(i))
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("augment: decode %s: %w", s.Name(i), err)
	}
	defer r.Close()
	m, err := decode(r)
	if err != nil {
		return nil, fmt.Errorf("augment: decode %s: %w", s.Name(i), err)
	}
	return m, nil
}
