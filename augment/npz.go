package augment

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/sslrt/sslrt/augment/npy"
)

// npzArray is an array in a .npz file.
type npzArray struct {
	name   string
	file   *zip.File
	header npy.Header
}

// isNPZ tells a .npz file, a zip of arrays, from a zip of images.
func isNPZ(files []*zip.File) bool {
	return len(files) > 0 && !slices.ContainsFunc(files, func(f *zip.File) bool { return !strings.HasSuffix(f.Name, ".npy") })
}

// openNPZ opens the images of a .npz file: the array of uint8 with three or four axes, and the labels
// whose name goes with its. Names with train, test or val make splits.
func openNPZ(path string, f *os.File, archive *zip.Reader, opt SourceOptions) (Source, error) {
	arrays, err := readNPZ(archive)
	if err != nil {
		return nil, fmt.Errorf("augment: %s: %w", path, err)
	}
	images, err := chooseImages(path, arrays, opt)
	if err != nil {
		return nil, err
	}
	s, err := images.source(f, arrays, opt)
	if err != nil {
		return nil, fmt.Errorf("augment: %s: array %s: %w", path, images.name, err)
	}
	s.path = path
	return s, nil
}

func readNPZ(archive *zip.Reader) ([]*npzArray, error) {
	var arrays []*npzArray
	for _, f := range archive.File {
		a := &npzArray{name: strings.TrimSuffix(f.Name, ".npy"), file: f}
		r, err := f.Open()
		if err == nil {
			a.header, err = npy.ReadHeader(r)
			r.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("array %s: %w", a.name, err)
		}
		arrays = append(arrays, a)
	}
	return arrays, nil
}

// chooseImages finds the array of images of the split that is asked for.
func chooseImages(path string, arrays []*npzArray, opt SourceOptions) (*npzArray, error) {
	bySplit := map[string][]*npzArray{}
	var all []string
	for _, a := range arrays {
		all = append(all, a.name+" "+a.header.String())
		if isImages(a.header) {
			bySplit[arraySplit(a.name)] = append(bySplit[arraySplit(a.name)], a)
		}
	}
	if len(bySplit) == 0 {
		return nil, fmt.Errorf("augment: %s holds no array of images, uint8 with 3 or 4 axes, only %s: %w", path, strings.Join(all, ", "), ErrNoImages)
	}
	split, err := pickSplit(path, sortedKeys(bySplit), opt)
	if err != nil {
		return nil, err
	}
	found := bySplit[split]
	if len(found) > 1 { // masks beside images: take what is called so
		named := slices.DeleteFunc(slices.Clone(found), func(a *npzArray) bool { return len(labelNames(a.name)) == 1 })
		if len(named) != 1 {
			return nil, fmt.Errorf("augment: %s holds %d arrays of images: %s: keep one, or call one images", path, len(found), strings.Join(all, ", "))
		}
		found = named
	}
	return found[0], nil
}

func (a *npzArray) source(f *os.File, arrays []*npzArray, opt SourceOptions) (*arraySource, error) {
	s, err := imagesOf(a.header, opt.Decode)
	if err != nil {
		return nil, err
	}
	want := a.header.Size + a.header.Count()
	if a.file.UncompressedSize64 < uint64(want) {
		return nil, fmt.Errorf("the header says %v, %d bytes in all, but the file has %d: it is truncated", a.header, want, a.file.UncompressedSize64)
	}
	if err := a.place(f, s); err != nil {
		return nil, err
	}
	for _, name := range labelNames(a.name) {
		i := slices.IndexFunc(arrays, func(l *npzArray) bool { return l.name == name && !isImages(l.header) })
		if i < 0 {
			continue
		}
		r, err := arrays[i].file.Open()
		if err == nil {
			if _, err = io.CopyN(io.Discard, r, arrays[i].header.Size); err == nil {
				var labels []int64
				if labels, err = readLabels(arrays[i].header, r, s.n); err == nil {
					s.numbered(labels)
				}
			}
			r.Close()
		}
		if err != nil {
			if s.data != io.ReaderAt(f) {
				s.data.(*tempFile).Close()
			}
			return nil, fmt.Errorf("labels %s: %w", name, eofIsUnexpected(err))
		}
		break
	}
	return s, nil
}

// place makes the samples readable from anywhere: an array that is stored as it is lies in the archive,
// a compressed one is expanded to a temporary file.
func (a *npzArray) place(archive *os.File, s *arraySource) error {
	if a.file.Method == zip.Store {
		start, err := a.file.DataOffset()
		if err != nil {
			return err
		}
		s.data, s.close, s.offset = archive, archive.Close, start+a.header.Size
		return nil
	}
	if size, packed := a.header.Count(), a.file.CompressedSize64; packed > 1<<50 || size > maxExpanded(int64(packed)) {
		return fmt.Errorf("%d bytes expand to %d: no array of images is compressed that far", packed, size)
	}
	r, err := a.file.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, a.header.Size); err != nil {
		return eofIsUnexpected(err)
	}
	tmp, err := expand(r, a.header.Count())
	if err != nil {
		return err
	}
	s.data = tmp
	s.close = func() error { return errors.Join(tmp.Close(), archive.Close()) }
	return nil
}

// expand writes size bytes of r to a temporary file.
func expand(r io.Reader, size int64) (*tempFile, error) {
	tmp, err := newTempFile()
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(tmp, io.LimitReader(r, size))
	if err == nil && n < size {
		err = fmt.Errorf("%d of %d bytes are there: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err != nil {
		tmp.Close()
		return nil, err
	}
	return tmp, nil
}
