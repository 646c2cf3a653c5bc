package augment

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// archiveSource reads images out of an archive without unpacking it. open may be called by any number
// of goroutines.
type archiveSource struct {
	path   string
	names  []string // of the images
	open   func(i int) (io.ReadCloser, error)
	close  func() error
	part   part
	decode DecodeOptions
}

// memberName is the name of an entry as a path inside the archive: the separators of Windows tools
// mended, "./", "../" and a leading "/" taken away. Names are used for labels and messages only;
// nothing is ever written under them.
func memberName(name string) string {
	return path.Clean("/" + strings.ReplaceAll(name, `\`, "/"))[1:]
}

// isMember says whether an entry is an image that a user put there.
func isMember(name string) bool {
	return isImageName(name) && !slices.ContainsFunc(strings.Split(name, "/"), hidden)
}

func noMembers(kind, path string, entries int) error {
	return fmt.Errorf("augment: the %s %s holds %d entries but none ends in %s; if it holds data in other files, unpack it: %w",
		kind, path, entries, strings.Join(imageSuffixes, ", "), ErrNoImages)
}

func (s *archiveSource) Len() int          { return len(s.part.index) }
func (s *archiveSource) Name(i int) string { return s.path + "#" + s.names[s.part.index[i]] }
func (s *archiveSource) Classes() []string { return slices.Clone(s.part.classes) }
func (s *archiveSource) Close() error      { return s.close() }

func (s *archiveSource) Label(i int) int {
	if s.part.labels == nil {
		return -1
	}
	return s.part.labels[i]
}

func (s *archiveSource) Image(i int) (*Image, error) { return s.imageInto(i, nil) }

func (s *archiveSource) imageInto(i int, scratch *Scratch) (*Image, error) {
	opt := s.decode
	opt.scratch = scratch
	r, err := s.open(s.part.index[i])
	if err == nil {
		var m *Image
		m, err = decode(r, opt)
		r.Close()
		if err == nil {
			return m, nil
		}
	}
	return nil, fmt.Errorf("augment: decode %s: %w", s.Name(i), err)
}
