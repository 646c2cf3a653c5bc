package augment

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// openZip opens a zip of images, laid out like a folder, in the order of their names, or a .npz file.
func openZip(path string, opt SourceOptions) (Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("augment: %w", err)
	}
	s, err := newZip(path, f, opt)
	if err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

func newZip(path string, f *os.File, opt SourceOptions) (Source, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("augment: %w", err)
	}
	archive, err := zip.NewReader(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("augment: %s: %w", path, err)
	}
	if isNPZ(archive.File) {
		return openNPZ(path, f, archive, opt)
	}
	s, err := newZipSource(path, archive, opt)
	if err != nil {
		return nil, err
	}
	s.close = f.Close
	return s, nil
}

func newZipSource(path string, archive *zip.Reader, opt SourceOptions) (*archiveSource, error) {
	s := &archiveSource{path: path, decode: opt.Decode}
	var files []*zip.File
	for _, f := range archive.File {
		if !strings.HasSuffix(f.Name, "/") && isMember(memberName(f.Name)) {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return nil, noMembers("zip", path, len(archive.File))
	}
	slices.SortStableFunc(files, func(a, b *zip.File) int { return strings.Compare(memberName(a.Name), memberName(b.Name)) })
	for _, f := range files {
		s.names = append(s.names, memberName(f.Name))
	}
	s.open = func(i int) (io.ReadCloser, error) {
		if files[i].Flags&1 != 0 {
			return nil, errors.New("the entry is encrypted")
		}
		return files[i].Open()
	}
	var err error
	s.part, err = arrange(s.names, path, opt)
	return s, err
}
