package checkpoint

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"strings"

	"github.com/nlpodyssey/gopickle/types"
)

// The zip format of PyTorch 1.6 and later: NAME/data.pkl, a pickle, NAME/data/KEY,
// the storages, NAME/byteorder, "little" or "big".
// https://pytorch.org/docs/stable/notes/serialization.html

// maxRatio bounds what a compressed record may grow to, over the file's size.
// PyTorch compresses nothing.
const maxRatio = 100

func (f *File) readZip(x io.ReaderAt) error {
	f.Format = "PyTorch zip"
	z, err := zip.NewReader(x, f.Size)
	if err != nil {
		return fmt.Errorf("a damaged zip archive: %w", err)
	}
	a := &archive{file: x, size: f.Size, records: map[string]*zip.File{}, storages: map[string]*storage{}}
	if err := a.list(z); err != nil {
		return err
	}
	if order, ok := a.records["byteorder"]; ok {
		text, err := a.bytes(order, 64)
		if err != nil {
			return err
		}
		switch strings.TrimSpace(string(text)) {
		case "little":
		case "big":
			a.big = true
		default:
			return fmt.Errorf("its byte order is %q, want little or big", shorten(string(text)))
		}
	}
	record := a.records["data.pkl"]
	r, err := a.open(record)
	if err != nil {
		return err
	}
	defer r.Close()
	data, err := scanPickle(bufio.NewReader(r), int64(record.UncompressedSize64))
	if err != nil {
		return fmt.Errorf("%s: %w", record.Name, err)
	}
	u := &unpickler{size: f.Size, storage: a.storage, globals: map[string]bool{}}
	if f.Root, err = u.load(data); err != nil {
		return fmt.Errorf("%s: %w", record.Name, err)
	}
	f.Foreign = foreign(u.globals)
	return nil
}

// archive is the zip file around a pickle.
type archive struct {
	file     io.ReaderAt
	size     int64
	records  map[string]*zip.File // by their names without the folder of the archive
	storages map[string]*storage
	big      bool

	cached string // the storage that was read last: views often share one
	data   []byte
}

func (a *archive) list(z *zip.Reader) error {
	root := ""
	for _, r := range z.File {
		if dir, name := path.Split(r.Name); name == "data.pkl" && (root == "" || len(dir) < len(root)) {
			root = dir
			a.records["data.pkl"] = r
		}
	}
	if a.records["data.pkl"] == nil {
		return errors.New("a zip archive without data.pkl: it is not a checkpoint of PyTorch")
	}
	seen := map[string]bool{}
	for _, r := range z.File {
		if seen[r.Name] {
			return fmt.Errorf("the zip archive has two records called %q", shorten(r.Name))
		}
		seen[r.Name] = true
		name, ok := strings.CutPrefix(r.Name, root)
		if !ok {
			continue
		}
		a.records[name] = r
		if name == "constants.pkl" {
			return errors.New("it is a TorchScript program: save the state_dict of the model instead, or export it as ONNX")
		}
	}
	return nil
}

// open opens a record whose size is plausible.
func (a *archive) open(r *zip.File) (io.ReadCloser, error) {
	if r.UncompressedSize64 > uint64(a.size)*maxRatio || r.Method == zip.Store && r.UncompressedSize64 > uint64(a.size) {
		return nil, fmt.Errorf("record %q: it claims %d bytes in a file of %d", shorten(r.Name), r.UncompressedSize64, a.size)
	}
	x, err := r.Open()
	if err != nil {
		return nil, fmt.Errorf("record %q: %w", shorten(r.Name), err)
	}
	return x, nil
}

// bytes reads a whole record and checks its sum.
func (a *archive) bytes(r *zip.File, most int64) ([]byte, error) {
	if r.UncompressedSize64 > uint64(most) {
		return nil, fmt.Errorf("record %q takes %d bytes, want %d at most", shorten(r.Name), r.UncompressedSize64, most)
	}
	fail := func(err error) ([]byte, error) {
		if errors.Is(err, zip.ErrChecksum) {
			err = errors.New("its values are not those that were written: the file is damaged (or it was saved without checksums)")
		}
		return nil, fmt.Errorf("record %q: %w", shorten(r.Name), err)
	}
	data := make([]byte, r.UncompressedSize64)
	if r.Method == zip.Store && r.CompressedSize64 == r.UncompressedSize64 {
		at, err := r.DataOffset()
		if err != nil {
			return fail(err)
		}
		if _, err := a.file.ReadAt(data, at); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fail(err)
		}
		if crc32.ChecksumIEEE(data) != r.CRC32 {
			return fail(zip.ErrChecksum)
		}
		return data, nil
	}
	x, err := r.Open()
	if err != nil {
		return fail(err)
	}
	defer x.Close()
	if _, err := io.ReadFull(x, data); err != nil {
		return fail(err)
	}
	if _, err := x.Read(make([]byte, 1)); err != io.EOF {
		return fail(err)
	}
	return data, nil
}

// storage returns a storage that the pickle refers to.
func (a *archive) storage(id *types.Tuple) (*storage, error) {
	dtype, key, count, err := storageID(id)
	if err != nil {
		return nil, err
	}
	size := dtypes[dtype].size
	if s := a.storages[key]; s != nil {
		if s.dtype == dtype && s.count == count {
			return s, nil
		}
		if s.count*dtypes[s.dtype].size < count*size {
			return nil, fmt.Errorf("storage %q: it is %d %s here and %d %s there", key, s.count, s.dtype, count, dtype)
		}
	}
	record := a.records["data/"+key]
	if record == nil {
		return nil, fmt.Errorf("storage %q is not in the archive", shorten(key))
	}
	have := record.UncompressedSize64
	if record.Method == zip.Store && have > uint64(a.size) || have > uint64(a.size)*maxRatio {
		return nil, fmt.Errorf("storage %q: its record claims %d bytes in a file of %d", key, have, a.size)
	}
	if uint64(count) > have/uint64(size) {
		return nil, fmt.Errorf("storage %q: %d elements of %s take more than the %d bytes of its record", key, count, dtype, have)
	}
	s := &storage{key: key, dtype: dtype, count: count, big: a.big}
	s.read = func() ([]byte, error) {
		if a.cached == key && a.data != nil {
			return a.data, nil
		}
		a.data = nil // before the next is made
		data, err := a.bytes(record, int64(have))
		if err != nil {
			return nil, err
		}
		a.cached, a.data = key, data
		return data, nil
	}
	a.storages[key] = s
	return s, nil
}
