package augment

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// viewKind is what the loader needs for one view of an image.
type viewKind struct {
	policy Policy
	pre    Preprocess
	norm   *normalizer
	group  int // index into Loader.sizes
}

// planViews works out the views of an image and their sizes.
func (l *Loader) planViews() error {
	views := l.opt.Views
	if len(views) == 0 {
		views = Views{{}}
	}
	for i, v := range views.each() {
		k := viewKind{policy: v.Policy, pre: l.opt.Preprocess}
		if v.Size > 0 {
			k.pre.Width, k.pre.Height = v.Size, v.Size
		}
		switch changed := k.pre.Width != l.opt.Preprocess.Width || k.pre.Height != l.opt.Preprocess.Height; {
		case v.Size < 0 || v.Size > maxSide:
			return fmt.Errorf("augment: view %d: size %d: want 1 to %d pixels, or 0 for that of the preprocessing", i+1, v.Size, maxSide)
		case changed && v.Policy == nil:
			return fmt.Errorf("augment: view %d: a size of its own (%d) needs a policy", i+1, v.Size)
		}
		size := Size{k.pre.Height, k.pre.Width}
		if k.group = slices.Index(l.sizes, size); k.group < 0 {
			k.group = len(l.sizes)
			l.sizes = append(l.sizes, size)
		}
		k.norm = k.pre.normalizer()
		l.kinds = append(l.kinds, k)
	}
	return nil
}

// layOut cuts the memory of a batch of n images into groups and views.
func (l *Loader) layOut(b *Batch, n int) {
	for g := range l.sizes {
		total := 0
		for _, k := range l.kinds {
			if k.group == g {
				total += n * k.pre.Len()
			}
		}
		if l.opt.Bytes {
			b.PixelGroups[g] = grow(b.PixelGroups[g], total)
		} else {
			b.Groups[g] = grow(b.Groups[g], total)
		}
	}
	used := make([]int, len(l.sizes))
	for _, k := range l.kinds {
		lo := used[k.group]
		hi := lo + n*k.pre.Len()
		used[k.group] = hi
		if l.opt.Bytes {
			b.Pixels = append(b.Pixels, b.PixelGroups[k.group][lo:hi:hi])
		} else {
			b.Views = append(b.Views, b.Groups[k.group][lo:hi:hi])
		}
	}
	if l.opt.Bytes {
		b.Groups = nil
	} else {
		b.PixelGroups = nil
	}
}

// worker is the memory of a goroutine that augments.
type worker struct {
	Scratch          // of views
	pictures Scratch // of what is decoded, which views must not release
	pcg      rand.PCG
	rand     *rand.Rand
}

func newWorker() *worker {
	w := new(worker)
	w.rand = rand.New(&w.pcg)
	return w
}

// draw makes a view of m, which stays as it is. The result is to be released.
func (k *viewKind) draw(m *Image, seed uint64, epoch, index, view int, w *worker) *Image {
	if k.policy == nil {
		return k.pre.apply(m, &w.Scratch)
	}
	seedRand(&w.pcg, seed, epoch, index, view)
	return k.policy.view(m, w.rand, &w.Scratch)
}
