package augment

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// arraySource reads images of one size out of a file that holds them as they are, one at a time.
type arraySource struct {
	path           string
	data           io.ReaderAt
	close          func() error
	offset, stride int64 // of the first image's samples; from one image to the next
	n, h, w, c     int   // c: samples per pixel: 1 grey, 3 RGB, 4 with alpha, which is dropped
	planar         bool  // one channel behind the other: [C, H, W]
	labels         []int32
	classes        []string
}

func (s *arraySource) Len() int          { return s.n }
func (s *arraySource) Name(i int) string { return s.path + "#" + strconv.Itoa(i) }
func (s *arraySource) Classes() []string { return slices.Clone(s.classes) }
func (s *arraySource) Close() error      { return s.close() }

func (s *arraySource) Label(i int) int {
	if s.labels == nil {
		return -1
	}
	return int(s.labels[i])
}

func (s *arraySource) Image(i int) (*Image, error) {
	in := make([]uint8, s.h*s.w*s.c)
	if _, err := s.data.ReadAt(in, s.offset+int64(i)*s.stride); err != nil {
		return nil, fmt.Errorf("augment: read %s: %w", s.Name(i), eofIsUnexpected(err))
	}
	m := NewImage(s.w, s.h)
	plane, pixel := 1, s.c // from a sample to the next channel's; to the next pixel's
	if s.planar {
		plane, pixel = s.h*s.w, 1
	}
	for j := range s.h * s.w {
		p := in[j*pixel:]
		if s.c < 3 {
			m.set(3*j, p[0], p[0], p[0])
		} else {
			m.set(3*j, p[0], p[plane], p[2*plane])
		}
	}
	return m, nil
}

// checkSize refuses what a header claims when it is nothing, or too much.
func (s *arraySource) checkSize(opt DecodeOptions) error {
	if s.n < 1 || s.h < 1 || s.w < 1 {
		return fmt.Errorf("the header says %d images of %dx%d pixels: %w", s.n, s.w, s.h, ErrNoImages)
	}
	if limit := opt.maxPixels(); int64(s.w) > limit/int64(s.h) {
		return fmt.Errorf("the header says images of %dx%d pixels, more than the limit of %d", s.w, s.h, limit)
	}
	return nil
}

// numbered gives labels that are numbers to the source: the classes are the different ones, in order;
// negative numbers mean no label.
func (s *arraySource) numbered(labels []int64) {
	seen := map[string]bool{}
	for _, l := range labels {
		if l >= 0 {
			seen[strconv.FormatInt(l, 10)] = true
		}
	}
	s.classes = sortClasses(seen)
	number := map[string]int32{}
	for n, c := range s.classes {
		number[c] = int32(n)
	}
	s.labels = make([]int32, len(labels))
	for i, l := range labels {
		s.labels[i] = -1
		if l >= 0 {
			s.labels[i] = number[strconv.FormatInt(l, 10)]
		}
	}
}

// pickSplit chooses one of the parts that a source has by name; "" is the name of an only part.
func pickSplit(name string, have []string, opt SourceOptions) (string, error) {
	if opt.Split != "" {
		if slices.Contains(have, opt.Split) {
			return opt.Split, nil
		}
		if len(have) == 1 && have[0] == "" {
			return "", noSplit(name, opt)
		}
		return "", fmt.Errorf("augment: %s has no split %q, only %s", name, opt.Split, strings.Join(have, ", "))
	}
	switch {
	case len(have) == 1:
		return have[0], nil
	case slices.Contains(have, opt.DefaultSplit):
		return opt.DefaultSplit, nil
	}
	return "", fmt.Errorf("augment: %s holds the splits %s: choose one with --split", name, strings.Join(have, ", "))
}
