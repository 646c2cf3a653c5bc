package augment

import (
	"fmt"
	"strings"
)

// View is a kind of random view of an image.
type View struct {
	Count  int    // views of this kind; 0 means 1
	Size   int    // pixels of a side; 0 means that of the preprocessing
	Policy Policy // nil: resized and cropped as for evaluation
}

// Views are all views that are made of each image, in order. Two alike are SimCLR's pair; two unlike are
// BYOL's; a few large and many small ones are the crops of SwAV and DINO.
type Views []View

// Alike returns n views by one policy.
func Alike(n int, p Policy) Views { return Views{{Count: n, Policy: p}} }

// Len is the number of views of an image.
func (v Views) Len() int {
	n := 0
	for _, k := range v {
		n += max(k.Count, 1)
	}
	return n
}

// each lists the kind of each view.
func (v Views) each() []View {
	var out []View
	for _, k := range v {
		for range max(k.Count, 1) {
			out = append(out, k)
		}
	}
	return out
}

// Draw makes all views of image number index of an epoch: what a [Loader] yields, before it becomes
// numbers. pre is for views without a policy.
func (v Views) Draw(m *Image, pre Preprocess, seed uint64, epoch, index int) []*Image {
	var out []*Image
	for i, k := range v.each() {
		if k.Policy == nil {
			out = append(out, pre.Apply(m))
			continue
		}
		out = append(out, k.Policy.Apply(m, NewRand(seed, epoch, index, i)))
	}
	return out
}

// String describes all views in one line.
func (v Views) String() string {
	parts := make([]string, len(v))
	for i, k := range v {
		parts[i] = k.String()
	}
	return strings.Join(parts, "; ")
}

// String describes the view in one line.
func (k View) String() string {
	s := fmt.Sprintf("%d x ", max(k.Count, 1))
	if k.Size > 0 {
		s += fmt.Sprintf("%d px: ", k.Size)
	}
	return s + k.Policy.String()
}

// Check tries every policy on images of several shapes and returns an error unless the results are
// square, of the view's size, or of size where it has none.
func (v Views) Check(size int) error {
	for i, k := range v {
		want := size
		if k.Size > 0 {
			want = k.Size
		}
		if k.Count < 0 || k.Count > maxViews || want < 1 || want > maxSide {
			return fmt.Errorf("augment: view %d: got count %d, size %d: want 1 to %d views of 1 to %d pixels", i+1, k.Count, want, maxViews, maxSide)
		}
		if k.Policy == nil {
			continue
		}
		for n, m := range []*Image{NewImage(want, want), NewImage(2*want, want+1), NewImage(want+3, 3*want)} {
			out := k.Policy.Apply(m, NewRand(0, 0, n, i))
			if out.W != want || out.H != want {
				return fmt.Errorf("augment: view %d: the policy makes %dx%d pixels of an image of %dx%d, want %dx%d: let it end in a RandomResizedCrop, RandomCrop or CenterCrop with size: %d",
					i+1, out.W, out.H, m.W, m.H, want, want, want)
			}
		}
	}
	return nil
}

const maxViews = 1000
