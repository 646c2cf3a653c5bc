package augment

import "slices"

// Scratch lends the memory of intermediate images to one goroutine, so that augmenting takes no new
// memory once it runs. A nil Scratch allocates.
type Scratch struct {
	lent, free []*Image
}

// Image returns an image of w x h pixels with any content. It is valid until it is released.
func (s *Scratch) Image(w, h int) *Image {
	if s == nil {
		return NewImage(w, h)
	}
	var m *Image
	// The smallest that is large enough, else the largest, which grows.
	best := -1
	for i, f := range s.free {
		if best < 0 || fitsBetter(cap(f.Pix), cap(s.free[best].Pix), w*h*3) {
			best = i
		}
	}
	if best >= 0 {
		m = s.free[best]
		s.free = slices.Delete(s.free, best, best+1)
	} else {
		m = new(Image)
	}
	m.W, m.H, m.Pix = w, h, grow(m.Pix, w*h*3)
	s.lent = append(s.lent, m)
	return m
}

func fitsBetter(a, b, need int) bool {
	if (a >= need) != (b >= need) {
		return a >= need
	}
	if a >= need {
		return a < b
	}
	return a > b
}

// Release takes back an image that s lent; of any other it leaves its hands.
func (s *Scratch) Release(m *Image) {
	if s == nil {
		return
	}
	if i := slices.Index(s.lent, m); i >= 0 {
		s.lent = slices.Delete(s.lent, i, i+1)
		s.free = append(s.free, m)
	}
}

func (s *Scratch) copyOf(m *Image) *Image {
	out := s.Image(m.W, m.H)
	copy(out.Pix, m.Pix)
	return out
}

func (s *Scratch) releaseUnless(m, kept *Image) {
	if m != kept {
		s.Release(m)
	}
}
