package augment

import (
	"errors"
	"slices"
)

// ErrNoReduced is the error of [Reduced] in a program that was built without libjpeg.
var ErrNoReduced = errors.New("augment: decoding JPEG at a reduced scale needs libjpeg: build with -tags libjpeg")

// Reduced returns src with JPEG files decoded at a half, a quarter or an eighth of their size, as long as
// the shorter side keeps side pixels. This is faster for large pictures and gives other pixels than scaling
// down would, so it is for training only; other formats are read as they are. It shares its files with src:
// close src alone. Sources of other packages are left as they are.
func Reduced(src Source, side int) (Source, error) {
	if !canReduce {
		return nil, ErrNoReduced
	}
	return reduced(src, side), nil
}

func reduced(src Source, side int) Source {
	switch s := src.(type) {
	case *fileSource:
		r := *s
		r.decode.side = side
		return &r
	case *archiveSource:
		r := *s
		r.decode.side = side
		return &r
	case *multiSource:
		r := *s
		r.parts = slices.Clone(s.parts)
		for i, p := range r.parts {
			r.parts[i] = reduced(p, side)
		}
		return &r
	case *subset:
		return &subset{Source: reduced(s.Source, side), index: s.index}
	}
	return src
}
