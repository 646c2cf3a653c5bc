package checkpoint

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/nlpodyssey/gopickle/pickle"
	"github.com/nlpodyssey/gopickle/types"
)

// The format of PyTorch before 1.6: five pickles (a magic number, a version, facts
// of the system, the object, the keys of its storages), then the storages in the
// order of the keys, each with the number of its elements in front.

const (
	legacyMagic   = "1950a86a20f9469cfc6c"
	legacyVersion = 1001
)

func (f *File) readLegacy(x io.ReaderAt) error {
	f.Format = "PyTorch legacy"
	l := &legacy{file: x, size: f.Size, r: bufio.NewReaderSize(io.NewSectionReader(x, 0, f.Size), 1<<16), left: f.Size, storages: map[string]*storage{}}
	if err := l.head(); err != nil {
		return err
	}
	data, err := l.pickle("the object")
	if err != nil {
		return err
	}
	u := &unpickler{size: f.Size, storage: l.storage, globals: map[string]bool{}}
	if f.Root, err = u.load(data); err != nil {
		return err
	}
	f.Foreign = foreign(u.globals)
	return l.place()
}

// legacy reads such a file.
type legacy struct {
	file     io.ReaderAt
	size     int64
	r        *bufio.Reader
	left     int64 // bytes behind r
	storages map[string]*storage

	cached string
	data   []byte
}

// pickle copies the next pickle.
func (l *legacy) pickle(what string) ([]byte, error) {
	data, err := scanPickle(l.r, l.left)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	l.left -= int64(len(data))
	return data, nil
}

// plain returns the object of the next pickle, which holds numbers and texts only.
func (l *legacy) plain(what string) (obj any, err error) {
	data, err := l.pickle(what)
	if err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: %v", what, shorten(fmt.Sprint(r)))
		}
	}()
	u := pickle.NewUnpickler(bytes.NewReader(data))
	u.FindClass = func(module, name string) (any, error) { return &class{module, name}, nil }
	if obj, err = u.Load(); err != nil {
		err = fmt.Errorf("%s: %s", what, shorten(err.Error()))
	}
	return obj, err
}

// head reads the three pickles in front.
func (l *legacy) head() error {
	magic, err := l.plain("the first pickle")
	if err != nil {
		return err
	}
	if n, ok := magic.(*big.Int); !ok || n.Text(16) != legacyMagic {
		return errors.New("it is a pickle, but not one of torch.save: save the state_dict with torch.save or as safetensors")
	}
	version, err := l.plain("the version")
	if err != nil {
		return err
	}
	if n, ok := version.(int); !ok || n != legacyVersion {
		return fmt.Errorf("the version of its format is %v, want %d", shorten(fmt.Sprint(version)), legacyVersion)
	}
	system, err := l.plain("the facts of the system")
	if err != nil {
		return err
	}
	if d, ok := system.(*types.Dict); ok {
		for _, e := range *d {
			if e.Key == "little_endian" && e.Value == false {
				return errors.New("it was written on a big-endian machine by PyTorch before 1.6, which is not read: save it anew")
			}
		}
	}
	return nil
}

// storage returns a storage that the pickle refers to. Where it lies is known
// behind the pickle.
func (l *legacy) storage(id *types.Tuple) (*storage, error) {
	dtype, key, count, err := storageID(id)
	if err != nil {
		return nil, err
	}
	if int64(count) > l.size/int64(dtypes[dtype].size) {
		return nil, fmt.Errorf("storage %q: %d elements of %s in a file of %d bytes", shorten(key), count, dtype, l.size)
	}
	root := l.storages[key]
	if root == nil {
		root = &storage{key: key, dtype: dtype, count: count}
		root.read = func() ([]byte, error) { return nil, errors.New("the file ends before its values") }
		l.storages[key] = root
	}
	if root.dtype != dtype {
		return nil, fmt.Errorf("storage %q: it is %s here and %s there", shorten(key), root.dtype, dtype)
	}
	if id.Len() < 6 || id.Get(5) == nil {
		return root, nil
	}
	return view(root, id.Get(5))
}

// view returns the part of a storage that a description names: key, offset, size.
func view(root *storage, description any) (*storage, error) {
	d, ok := description.(*types.Tuple)
	if !ok || d.Len() != 3 {
		return nil, errors.New("a view of a storage is not described by key, offset and size")
	}
	offset, ok1 := d.Get(1).(int)
	count, ok2 := d.Get(2).(int)
	if !ok1 || !ok2 || offset < 0 || count < 0 || offset > root.count || count > root.count-offset {
		return nil, fmt.Errorf("a view of storage %q reaches beyond it", shorten(root.key))
	}
	size := dtypes[root.dtype].size
	return &storage{key: root.key, dtype: root.dtype, count: count, read: func() ([]byte, error) {
		raw, err := root.read()
		if err != nil {
			return nil, err
		}
		if len(raw) < (offset+count)*size {
			return nil, errors.New("its storage is cut short")
		}
		return raw[offset*size:], nil
	}}, nil
}

// place reads the keys of the storages and finds where each lies.
func (l *legacy) place() error {
	obj, err := l.plain("the keys of the storages")
	if err != nil {
		return err
	}
	keys, ok := obj.(*types.List)
	if !ok {
		return errors.New("the keys of the storages are not a list")
	}
	at, placed := l.size-l.left, map[string]bool{}
	for _, k := range *keys {
		name := key(k)
		s := l.storages[name]
		if s == nil {
			return fmt.Errorf("storage %q belongs to no tensor", shorten(name))
		}
		if placed[name] {
			return fmt.Errorf("storage %q comes twice", shorten(name))
		}
		placed[name] = true
		var head [8]byte
		if _, err := l.file.ReadAt(head[:], at); err != nil {
			return fmt.Errorf("storage %q: the file is cut short", shorten(name))
		}
		at += 8
		count := int64(binary.LittleEndian.Uint64(head[:]))
		if count != int64(s.count) {
			return fmt.Errorf("storage %q: it has %d elements, the pickle says %d", shorten(name), count, s.count)
		}
		bytes := count * int64(dtypes[s.dtype].size)
		if bytes > l.size-at {
			return fmt.Errorf("storage %q: %d bytes are wanted and %d are left: the file is cut short", shorten(name), bytes, l.size-at)
		}
		s.read = l.reader(name, at, bytes)
		at += bytes
	}
	for name := range l.storages {
		if !placed[name] {
			return fmt.Errorf("the values of storage %q are not in the file", shorten(name))
		}
	}
	return nil
}

// reader returns what reads a storage and keeps it until another one is read.
func (l *legacy) reader(key string, at, size int64) func() ([]byte, error) {
	return func() ([]byte, error) {
		if l.cached == key && l.data != nil {
			return l.data, nil
		}
		l.data = nil
		data := make([]byte, size)
		if _, err := l.file.ReadAt(data, at); err != nil {
			return nil, err
		}
		l.cached, l.data = key, data
		return data, nil
	}
}
