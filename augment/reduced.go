package augment

import "slices"

// Reduced returns src with JPEG files decoded at a half, a quarter or an eighth of their size, as long as
// the shorter side keeps side pixels. This is faster for large pictures and gives other pixels than scaling
// down would, so it is for training only; other formats are read as they are. It shares its files with src:
// close src alone. Sources of other packages are left as they are.
func Reduced(src Source, side int) Source {
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
			r.parts[i] = Reduced(p, side)
		}
		return &r
	case *subset:
		return &subset{Source: Reduced(s.Source, side), index: s.index}
	}
	return src
}
