package augment

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/goccy/go-yaml/ast"
)

// Cached returns src with its decoded images kept in at most limit bytes, so that a set that fits is
// decoded once. Images are kept as they come until the memory is full, and never given up for others: an
// epoch visits each once, so that any choice is as good. A set of which less than a quarter would fit is
// not worth it and is not kept at all, by the sizes of its first images. Those that it returns are shared
// and must not be changed. Its Close closes src.
func Cached(src Source, limit Memory) Source {
	if limit <= 0 {
		return src
	}
	return &cachedSource{Source: src, limit: int64(limit), images: make([]atomic.Pointer[Image], src.Len())}
}

type cachedSource struct {
	Source
	limit  int64
	images []atomic.Pointer[Image]
	used   atomic.Int64
	kept   atomic.Int64
	off    atomic.Bool // not worth it
	full   atomic.Bool // an image did not fit any more
}

// judged is the number of images after which their sizes decide whether the cache is worth it.
const judged = 64

func (s *cachedSource) Image(i int) (*Image, error) { return s.imageInto(i, nil) }

// imageInto reads into scratch what will not be kept.
func (s *cachedSource) imageInto(i int, scratch *Scratch) (*Image, error) {
	if m := s.images[i].Load(); m != nil {
		return m, nil
	}
	if s.off.Load() || s.full.Load() {
		return imageInto(s.Source, i, scratch)
	}
	m, err := s.Source.Image(i)
	if err == nil {
		s.keep(i, m)
	}
	return m, err
}

func (s *cachedSource) keep(i int, m *Image) {
	size := int64(cap(m.Pix)) + 64
	if s.used.Add(size) > s.limit {
		s.used.Add(-size)
		s.full.Store(true)
		return
	}
	if !s.images[i].CompareAndSwap(nil, m) {
		s.used.Add(-size)
		return
	}
	if n := s.kept.Add(1); n == judged && s.used.Load()/judged*int64(len(s.images)) > 4*s.limit {
		s.off.Store(true)
		for k := range s.images {
			s.images[k].Store(nil)
		}
		s.used.Store(0)
	}
}

// Memory is an amount of memory in bytes, written as 512MiB, 2GiB or a plain number.
type Memory int64

var memoryUnits = []struct {
	name  string
	shift int
}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}}

// ParseMemory is the inverse of [Memory.String].
func ParseMemory(text string) (Memory, error) {
	number, shift := text, 0
	for _, u := range memoryUnits {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, shift = strings.TrimSpace(n), u.shift
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<62)>>shift {
		return 0, fmt.Errorf("got %q, want bytes, such as 512MiB or 2GiB, or 0", text)
	}
	return Memory(n << shift), nil
}

// String writes the amount in the largest unit that it is a multiple of.
func (m Memory) String() string {
	for _, u := range memoryUnits {
		if m > 0 && m&(1<<u.shift-1) == 0 {
			return fmt.Sprintf("%d%s", m>>u.shift, u.name)
		}
	}
	return strconv.FormatInt(int64(m), 10)
}

// SetNode reads an amount.
func (m *Memory) SetNode(n ast.Node) error {
	text, ok := plainText(n)
	if !ok {
		text, _ = textOf(n)
	}
	v, err := ParseMemory(text)
	if err != nil {
		return at(n, "%w", err)
	}
	*m = v
	return nil
}

// MarshalYAML writes what SetNode reads.
func (m Memory) MarshalYAML() ([]byte, error) { return []byte(m.String()), nil }
