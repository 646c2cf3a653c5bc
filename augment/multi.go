package augment

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
)

// multiSource joins sources end to end.
type multiSource struct {
	parts   []Source
	ends    []int // number of images up to and including each part
	labels  [][]int
	classes []string
}

func newMultiSource(parts []Source) *multiSource {
	s := &multiSource{parts: parts}
	seen := map[string]bool{}
	n := 0
	for _, p := range parts {
		n += p.Len()
		s.ends = append(s.ends, n)
		for _, c := range p.Classes() {
			seen[c] = true
		}
	}
	s.classes = sortClasses(seen)
	for _, p := range parts {
		// The same data set twice keeps its own order, such as that of numbers.
		if c := p.Classes(); len(c) == len(s.classes) {
			s.classes = c
			break
		}
	}
	for _, p := range parts {
		var to []int
		for _, c := range p.Classes() {
			to = append(to, slices.Index(s.classes, c))
		}
		s.labels = append(s.labels, to)
	}
	return s
}

func (s *multiSource) find(i int) (Source, int, int) {
	k := sort.SearchInts(s.ends, i+1)
	if k > 0 {
		i -= s.ends[k-1]
	}
	return s.parts[k], i, k
}

func (s *multiSource) Len() int          { return s.ends[len(s.ends)-1] }
func (s *multiSource) Classes() []string { return slices.Clone(s.classes) }

func (s *multiSource) Name(i int) string {
	p, i, _ := s.find(i)
	return p.Name(i)
}

func (s *multiSource) Label(i int) int {
	p, i, k := s.find(i)
	if l := p.Label(i); l >= 0 {
		return s.labels[k][l]
	}
	return -1
}

func (s *multiSource) Image(i int) (*Image, error) { return s.imageInto(i, nil) }

func (s *multiSource) imageInto(i int, scratch *Scratch) (*Image, error) {
	p, i, _ := s.find(i)
	return imageInto(p, i, scratch)
}

func (s *multiSource) Close() error {
	var errs []error
	for _, p := range s.parts {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// Subset returns the images of src at the given indices, in that order. Labels and classes stay as
// they are; closing the subset closes src.
func Subset(src Source, index []int) Source {
	for _, i := range index {
		if i < 0 || i >= src.Len() {
			panic(fmt.Sprintf("augment: index %d of a source of %d images", i, src.Len()))
		}
	}
	return &subset{Source: src, index: slices.Clone(index)}
}

// First returns the first n images of src, or src itself when n is 0 or it has no more.
func First(src Source, n int) Source {
	if n <= 0 || n >= src.Len() {
		return src
	}
	index := make([]int, n)
	for i := range index {
		index[i] = i
	}
	return Subset(src, index)
}

type subset struct {
	Source
	index []int
}

func (s *subset) Len() int                    { return len(s.index) }
func (s *subset) Name(i int) string           { return s.Source.Name(s.index[i]) }
func (s *subset) Label(i int) int             { return s.Source.Label(s.index[i]) }
func (s *subset) Image(i int) (*Image, error) { return s.Source.Image(s.index[i]) }

func (s *subset) imageInto(i int, scratch *Scratch) (*Image, error) {
	return imageInto(s.Source, s.index[i], scratch)
}

// sortedKeys orders class names as torchvision's ImageFolder does.
func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
