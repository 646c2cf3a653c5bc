package metrics

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
)

// Pixels measures score maps against masks of defects, over many images. The zero
// value is ready. It keeps 8 bytes per pixel.
//
// AUPRO is the area under the per-region overlap (Bergmann et al., "MVTec AD",
// IJCV 2021): a region is an 8-connected component of a mask, and all regions of all
// images weigh the same. PRO(t) is the mean over regions of the share of their
// pixels that score t or more; FPR(t) the share of all defect-free pixels, of all
// images, that do. The curve has a point for every distinct score, from high to low
// and starting at (0, 0); its area by trapezoids up to a limit of the FPR (0.3
// usually), with linear interpolation there, is divided by the limit.
type Pixels struct {
	scores []pixel
	sizes  []int // pixels of each region
	good   int   // defect-free pixels
	sorted bool
}

type pixel struct {
	score  float32
	region int32 // -1: defect-free
}

// Add adds an image.
//
//	scores: [height, width]
//	mask: [height, width], 0 is defect-free
func (p *Pixels) Add(scores []float32, mask []uint8, width, height int) error {
	if width < 1 || height < 1 || len(scores) != width*height || len(mask) != width*height {
		return fmt.Errorf("metrics: pixels: got %d scores and a mask of %d for %dx%d pixels", len(scores), len(mask), width, height)
	}
	for i, s := range scores {
		if s != s {
			return fmt.Errorf("metrics: pixels: the score at (%d, %d) is not a number", i%width, i/width)
		}
	}
	if len(p.sizes) > math.MaxInt32-width*height {
		return errors.New("metrics: pixels: more regions than can be counted")
	}
	region, sizes := Regions(mask, width, height)
	for i, s := range scores {
		r := int32(-1)
		if region[i] >= 0 {
			r = int32(len(p.sizes)) + region[i]
		} else {
			p.good++
		}
		p.scores = append(p.scores, pixel{s, r})
	}
	p.sizes = append(p.sizes, sizes...)
	p.sorted = false
	return nil
}

// Regions returns for each pixel the number of its 8-connected component of
// non-zero pixels, in reading order of their first pixel, -1 for zeros; and the
// number of pixels of each.
func Regions(mask []uint8, width, height int) (region []int32, sizes []int) {
	region = make([]int32, len(mask))
	for i := range region {
		region[i] = -1
	}
	var todo []int
	for start, m := range mask {
		if m == 0 || region[start] >= 0 {
			continue
		}
		n := int32(len(sizes))
		region[start] = n
		todo = append(todo[:0], start)
		size := 0
		for len(todo) > 0 {
			i := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			size++
			x, y := i%width, i/width
			for v := max(y-1, 0); v <= min(y+1, height-1); v++ {
				for u := max(x-1, 0); u <= min(x+1, width-1); u++ {
					if j := v*width + u; mask[j] != 0 && region[j] < 0 {
						region[j] = n
						todo = append(todo, j)
					}
				}
			}
		}
		sizes = append(sizes, size)
	}
	return region, sizes
}

// RegionCount returns the number of regions added.
func (p *Pixels) RegionCount() int { return len(p.sizes) }

func (p *Pixels) sort() error {
	if len(p.sizes) == 0 || p.good == 0 {
		return fmt.Errorf("metrics: pixels: got %d regions and %d defect-free pixels, want some of both", len(p.sizes), p.good)
	}
	if !p.sorted {
		slices.SortFunc(p.scores, func(a, b pixel) int { return cmp.Compare(b.score, a.score) })
		p.sorted = true
	}
	return nil
}

// walk calls point at each distinct score, from high to low, with the false
// positives and the region pixels found so far.
func (p *Pixels) walk(point func(score float32, fp, tp int, overlap float64)) {
	weight := make([]float64, len(p.sizes))
	for i, n := range p.sizes {
		weight[i] = 1 / float64(n) / float64(len(p.sizes))
	}
	fp, tp, overlap := 0, 0, 0.0
	for i, s := range p.scores {
		if s.region < 0 {
			fp++
		} else {
			tp++
			overlap += weight[s.region]
		}
		if i+1 == len(p.scores) || p.scores[i+1].score != s.score {
			point(s.score, fp, tp, overlap)
		}
	}
}

// PROCurve returns the curve of false positive rate and per-region overlap.
func (p *Pixels) PROCurve() (fpr, pro []float64, err error) {
	if err := p.sort(); err != nil {
		return nil, nil, err
	}
	fpr, pro = []float64{0}, []float64{0}
	p.walk(func(_ float32, fp, _ int, overlap float64) {
		fpr = append(fpr, float64(fp)/float64(p.good))
		pro = append(pro, overlap)
	})
	return fpr, pro, nil
}

// AUPRO is the area under the per-region overlap up to that false positive rate,
// more than 0 and at most 1, divided by it.
func (p *Pixels) AUPRO(limit float64) (float64, error) {
	if !(limit > 0 && limit <= 1) {
		return 0, fmt.Errorf("metrics: AUPRO: got a limit of %g, want more than 0 and at most 1", limit)
	}
	fpr, pro, err := p.PROCurve()
	if err != nil {
		return 0, err
	}
	return areaUpTo(fpr, pro, limit) / limit, nil
}

// Detection measures single pixels, each being an example: pixel AUROC and so on.
func (p *Pixels) Detection() (*Detection, error) {
	if err := p.sort(); err != nil {
		return nil, err
	}
	d := &Detection{}
	p.walk(func(score float32, fp, tp int, _ float64) {
		d.points = append(d.points, operating{float64(score), tp, fp})
		d.pos, d.neg = tp, fp
	})
	return d, d.finish()
}

// BoxesFound counts the boxes that a threshold finds: those in which some pixel
// scores the threshold or more. Boxes are cut to the map; an empty one is never
// found. The box-level recall is their share of all boxes of all images.
//
//	scores: [height, width]
func BoxesFound(scores []float32, width int, boxes []image.Rectangle, threshold float64) int {
	if width < 1 || len(scores)%width != 0 {
		panic(fmt.Sprintf("metrics: boxes: %d scores are no map of width %d", len(scores), width))
	}
	found := 0
	for _, b := range boxes {
		b = b.Intersect(image.Rect(0, 0, width, len(scores)/width))
		highest := math.Inf(-1)
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for _, s := range scores[y*width+b.Min.X : y*width+b.Max.X] {
				highest = max(highest, float64(s))
			}
		}
		if !b.Empty() && highest >= threshold {
			found++
		}
	}
	return found
}
