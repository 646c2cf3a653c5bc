package detector

import (
	"context"
	"fmt"
	"image"
	"math"
	"path/filepath"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/metrics"
	"github.com/sslrt/sslrt/runtime"
)

// proLimit is the false positive rate up to which AUPRO is taken.
const proLimit = 0.3

// Evaluation is how well a detector does on labelled images. Anomalous ones are the
// positives.
type Evaluation struct {
	Normal, Anomalous int // images
	Skipped           []augment.SkippedImage

	AUROC, AUPR          float64 // of the images' scores
	F1Max, F1Threshold   float64 // the best F1 of any threshold, chosen on these images
	Threshold            float64 // the detector's own, and what it decides:
	Precision, Recall    float64
	F1, FalsePositives   float64 // FalsePositives: share of the normal images
	PixelAUROC, AUPRO    float64 // NaN without masks
	Boxes, BoxesFound    int     // 0 without boxes
	BoxFalsePositiveRate float64 // normal images with a pixel above the pixel threshold
}

// Protocol says what the numbers mean.
func (e *Evaluation) Protocol() string {
	s := "image AUROC and AUPR (average precision) by score; F1-max is over all thresholds on these images, the other decisions by the detector's own threshold"
	if !math.IsNaN(e.PixelAUROC) {
		s += fmt.Sprintf("; pixels at the resolution of the heatmap, masks scaled to it by the nearest pixel; AUPRO: mean recall of the 8-connected regions of all masks, each of one weight, over the false positive rate of the defect-free pixels of all images up to %g, exact thresholds, divided by %g", proLimit, proLimit)
	}
	if e.Boxes > 0 {
		s += "; a box is found when a pixel in it is above the pixel threshold"
	}
	return s
}

// BoxRecall is the share of the boxes that are found.
func (e *Evaluation) BoxRecall() float64 { return float64(e.BoxesFound) / float64(e.Boxes) }

// Evaluate judges the images of a category by a detector.
func Evaluate(ctx context.Context, d *runtime.Detector, c *Category, job runtime.JobOptions) (*Evaluation, error) {
	e := &Evaluation{Threshold: d.Threshold(), PixelAUROC: math.NaN(), AUPRO: math.NaN()}
	v := evaluator{Category: c, d: d, e: e}
	sum, err := runtime.DetectAll(ctx, d, c.Source, job, v.add)
	if err != nil {
		return nil, err
	}
	e.Skipped = sum.Skipped
	if err := v.finish(); err != nil {
		return nil, fmt.Errorf("detector: evaluate: %w", err)
	}
	return e, nil
}

type evaluator struct {
	*Category
	d *runtime.Detector
	e *Evaluation

	scores         []float64
	positive       []bool
	decided        [2][2]int // [anomalous][called anomalous]
	pixels         metrics.Pixels
	loud, measured int // normal images with a pixel above the threshold, of those with a heatmap
}

func (v *evaluator) add(i int, found runtime.Detection) error {
	if notFinite(found.Score) {
		return fmt.Errorf("detector: evaluate: the score of %s is %g", v.Source.Name(i), found.Score)
	}
	bad := v.anomalous(i)
	v.scores = append(v.scores, float64(found.Score))
	v.positive = append(v.positive, bad)
	v.decided[index(bad)][index(found.Anomalous)]++
	h := found.Heatmap
	if h == nil {
		return nil
	}
	if v.HasMasks() {
		mask, err := v.heatMask(i, h)
		if err != nil {
			return err
		}
		if err := v.pixels.Add(h.Values, mask, h.W, h.H); err != nil {
			return fmt.Errorf("%s: %w", v.Source.Name(i), err)
		}
	}
	if v.boxes != nil {
		return v.addBoxes(i, h, bad)
	}
	return nil
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// heatMask returns the mask of an image at the heatmap's places: each takes the pixel
// at its centre.
func (v *evaluator) heatMask(i int, h *runtime.Heatmap) ([]uint8, error) {
	out := make([]uint8, h.W*h.H)
	mask, err := v.mask(i)
	if err != nil || mask == nil {
		return out, err
	}
	m, err := v.Source.Image(i)
	if err != nil {
		return nil, err
	}
	if mask.W != m.W || mask.H != m.H {
		return nil, fmt.Errorf("detector: the mask of %s is of %dx%d pixels, the image of %dx%d", v.Source.Name(i), mask.W, mask.H, m.W, m.H)
	}
	x0, y0, x1, y1 := h.Window(m.W, m.H)
	for y := range h.H {
		for x := range h.W {
			px := int(math.Floor(x0 + (float64(x)+0.5)/float64(h.W)*(x1-x0)))
			py := int(math.Floor(y0 + (float64(y)+0.5)/float64(h.H)*(y1-y0)))
			if px >= 0 && py >= 0 && px < m.W && py < m.H {
				out[y*h.W+x] = mask.Pix[(py*m.W+px)*3]
			}
		}
	}
	return out, nil
}

// addBoxes counts the boxes that the heatmap finds.
func (v *evaluator) addBoxes(i int, h *runtime.Heatmap, bad bool) error {
	threshold := v.d.Threshold()
	if p := v.d.Info().PixelThresh; p != nil {
		threshold = *p
	}
	above := math.Nextafter(threshold, math.Inf(1))
	if !bad {
		v.measured++
		if float64(h.Max()) > threshold {
			v.loud++
		}
	}
	boxes := v.boxesOf(i)
	if len(boxes) == 0 {
		return nil
	}
	m, err := v.Source.Image(i)
	if err != nil {
		return err
	}
	x0, y0, x1, y1 := h.Window(m.W, m.H)
	sx, sy := float64(h.W)/(x1-x0), float64(h.H)/(y1-y0)
	scaled := make([]image.Rectangle, len(boxes))
	for k, b := range boxes {
		scaled[k] = image.Rect(
			int(math.Floor((float64(b.Min.X)-x0)*sx)), int(math.Floor((float64(b.Min.Y)-y0)*sy)),
			int(math.Ceil((float64(b.Max.X)-x0)*sx)), int(math.Ceil((float64(b.Max.Y)-y0)*sy)))
	}
	v.e.Boxes += len(boxes)
	v.e.BoxesFound += metrics.BoxesFound(h.Values, h.W, scaled, above)
	return nil
}

// boxesOf returns the boxes of image i: by its path below the category's folder, as
// boxes.csv names it, else by its bare name.
func (c *Category) boxesOf(i int) []image.Rectangle {
	name := filepath.ToSlash(c.Source.Name(i))
	if rel, err := filepath.Rel(c.dir, c.Source.Name(i)); err == nil {
		if b, ok := c.boxes[filepath.ToSlash(rel)]; ok {
			return b
		}
	}
	return c.boxes[filepath.Base(name)]
}

func (v *evaluator) finish() error {
	e := v.e
	for _, bad := range v.positive {
		if bad {
			e.Anomalous++
		} else {
			e.Normal++
		}
	}
	if e.Normal == 0 || e.Anomalous == 0 {
		return fmt.Errorf("%d normal and %d anomalous images could be read, want some of both", e.Normal, e.Anomalous)
	}
	images, err := metrics.NewDetection(v.scores, v.positive)
	if err != nil {
		return err
	}
	e.AUROC, e.AUPR = images.AUROC(), images.AveragePrecision()
	e.F1Max, e.F1Threshold = images.F1Max()
	hit, miss, alarm := v.decided[1][1], v.decided[1][0], v.decided[0][1]
	e.Recall = float64(hit) / float64(e.Anomalous)
	e.FalsePositives = float64(alarm) / float64(e.Normal)
	if hit+alarm > 0 {
		e.Precision = float64(hit) / float64(hit+alarm)
	}
	e.F1 = 2 * float64(hit) / float64(2*hit+alarm+miss)
	if v.measured > 0 {
		e.BoxFalsePositiveRate = float64(v.loud) / float64(v.measured)
	}
	if !v.HasMasks() || !v.d.HasHeatmap() {
		return nil
	}
	pixels, err := v.pixels.Detection()
	if err != nil {
		return err
	}
	e.PixelAUROC = pixels.AUROC()
	e.AUPRO, err = v.pixels.AUPRO(proLimit)
	return err
}
