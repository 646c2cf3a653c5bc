package augment

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// tarMember is an image in a tar: where its bytes lie, or why they cannot be read.
type tarMember struct {
	offset, size int64
	err          error
}

// tarIndex is what reading through a tar once finds. Images are kept in the order of the archive.
type tarIndex struct {
	names   []string
	members []tarMember
	labels  tarLabels
	entries int
	byName  map[string]int // all regular files, for the links to them: an index into targets
	targets []tarMember
	links   map[int]string // of members that are links: the name they lead to
}

// openTar opens a tar of images, plain or .gz, laid out like a folder, or with a label beside each
// image as WebDataset has it.
func openTar(path string, opt SourceOptions) (Source, error) {
	fail := func(err error) (Source, error) { return nil, fmt.Errorf("augment: %s: %w", path, err) }
	f, r, err := openMaybeGzip(path)
	if err != nil {
		return fail(err)
	}
	data := &tempFile{File: f}
	index := newTarIndex()
	if r == io.Reader(f) {
		err = index.scan(f, func(h *tar.Header, _ io.Reader) (int64, error) { return f.Seek(0, io.SeekCurrent) })
	} else {
		data, err = index.expand(r, f)
		f.Close()
	}
	if err != nil {
		if data != nil {
			data.Close()
		}
		return fail(err)
	}
	s, err := index.source(path, data, opt)
	if err != nil {
		data.Close()
		return nil, err
	}
	return s, nil
}

func newTarIndex() *tarIndex {
	return &tarIndex{labels: newTarLabels(), byName: map[string]int{}, links: map[int]string{}}
}

// scan reads through an archive. place says where the bytes of an image, which the reader gives, will
// be found.
func (x *tarIndex) scan(r io.Reader, place func(*tar.Header, io.Reader) (int64, error)) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("entry %d: %w: the archive is damaged or truncated", x.entries+1, err)
		}
		x.entries++
		name := memberName(h.Name)
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeGNUSparse:
			if isMember(name) {
				m := tarMember{size: h.Size}
				if m.offset, err = place(h, t); errors.Is(err, io.ErrUnexpectedEOF) {
					return fmt.Errorf("entry %d: %s: %w: the archive is truncated", x.entries, name, err)
				} else if err != nil {
					return err
				}
				if isSparse(h) {
					m.err = errors.New("it is stored as a sparse file: unpack the archive")
				}
				x.byName[name] = len(x.targets)
				x.targets = append(x.targets, m)
				x.add(name, m)
			} else if err := x.labels.read(name, h.Size, t); err != nil {
				return err
			}
		case tar.TypeLink, tar.TypeSymlink:
			if isMember(name) {
				to := h.Linkname
				if h.Typeflag == tar.TypeSymlink && !strings.HasPrefix(to, "/") {
					to = path.Join(path.Dir(name), to)
				}
				x.links[len(x.names)] = memberName(to)
				x.add(name, tarMember{})
			}
		}
	}
}

func (x *tarIndex) add(name string, m tarMember) {
	x.names = append(x.names, name)
	x.members = append(x.members, m)
}

func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// expand copies the images of a compressed archive to a temporary file, since gzip cannot be read from
// the middle.
func (x *tarIndex) expand(r io.Reader, archive *os.File) (*tempFile, error) {
	info, err := archive.Stat()
	if err != nil {
		return nil, err
	}
	tmp, err := newTempFile()
	if err != nil {
		return nil, err
	}
	limited := &bombGuard{r: r, left: maxExpanded(info.Size())}
	w := bufio.NewWriterSize(tmp, 1<<16)
	var end int64
	err = x.scan(limited, func(h *tar.Header, body io.Reader) (int64, error) {
		start := end
		n, err := io.Copy(w, body)
		end += n
		return start, err
	})
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		tmp.Close()
		return nil, err
	}
	return tmp, nil
}

// maxExpanded bounds what a compressed file may grow to. Images are compressed already: honest archives
// of them hardly grow, even blank ones less than this.
func maxExpanded(compressed int64) int64 { return 1<<30 + 100*compressed }

// bombGuard is a reader that ends with an error after a number of bytes.
type bombGuard struct {
	r    io.Reader
	left int64
}

func (g *bombGuard) Read(p []byte) (int, error) {
	if g.left <= 0 {
		return 0, errors.New("it expands to more than 100 times its size and a gigabyte: this is no archive of images; unpack it yourself if it is")
	}
	n, err := g.r.Read(p[:min(int64(len(p)), g.left)])
	g.left -= int64(n)
	return n, err
}

// source makes the index a source of images that reads from data.
func (x *tarIndex) source(path string, data *tempFile, opt SourceOptions) (*archiveSource, error) {
	if len(x.names) == 0 {
		return nil, noMembers("tar", path, x.entries)
	}
	for i, to := range x.links {
		if k, ok := x.byName[to]; ok {
			x.members[i] = x.targets[k]
		} else {
			x.members[i].err = fmt.Errorf("it is a link to %q, which is no image of the archive", to)
		}
	}
	s := &archiveSource{path: path, names: x.names, close: data.Close, decode: opt.Decode}
	s.open = func(i int) (io.ReadCloser, error) {
		m := x.members[i]
		return io.NopCloser(io.NewSectionReader(data, m.offset, m.size)), m.err
	}
	var err error
	if s.part, err = arrange(x.names, path, opt); err != nil {
		return nil, err
	}
	labels, err := x.labels.of(x.names, s.part.index)
	if err != nil {
		return nil, fmt.Errorf("augment: %s: %w", path, err)
	}
	if labels != nil {
		s.part.labels, s.part.classes = labels.index, labels.classes
	}
	x.byName, x.targets, x.links, x.labels = nil, nil, nil, tarLabels{}
	return s, nil
}

// tempFile is a file whose name, where it is a temporary one, is gone when it is closed, however the
// program ends.
type tempFile struct {
	*os.File
	name string // to be removed on Close, where an open file cannot be
}

func newTempFile() (*tempFile, error) {
	f, err := os.CreateTemp("", "sslrt-data-*")
	if err != nil {
		return nil, err
	}
	t := &tempFile{File: f}
	if os.Remove(f.Name()) != nil {
		t.name = f.Name()
	}
	return t, nil
}

func (t *tempFile) Close() error {
	err := t.File.Close()
	if t.name != "" {
		os.Remove(t.name)
	}
	return err
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

const gzipMagic = "\x1f\x8b"

// isTar tells a tar by its first block: the checksum of its header.
func isTar(block []byte) bool {
	if len(block) < 512 {
		return false
	}
	_, err := tar.NewReader(strings.NewReader(string(block[:512]))).Next()
	// A header that is right but goes on (a long name) ends early.
	return err == nil || errors.Is(err, io.ErrUnexpectedEOF)
}
