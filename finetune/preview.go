package finetune

import (
	"fmt"
	"math"

	"github.com/sslrt/sslrt/augment"
)

// Preview draws n images of a source, each followed by its views: what an objective
// compares. A view that is smaller than size is drawn smaller.
func Preview(src augment.Source, views augment.Views, size, n int, seed uint64) (*augment.Image, error) {
	var cells []*augment.Image
	exact := augment.EvalPreprocess(size)
	count := views.Len()
	var last error
	stride := max(1, src.Len()/n)
	for i := 0; i < src.Len() && len(cells) < n*(count+1); {
		m, err := src.Image(i)
		if err != nil {
			last = err
			i++
			continue
		}
		cells = append(cells, exact.Apply(m))
		cells = append(cells, views.Draw(m, exact, seed, 0, i)...)
		i += stride
	}
	if len(cells) == 0 {
		return nil, fmt.Errorf("finetune: preview: no image can be read: %w", last)
	}
	return augment.Sheet(cells, max(1, 12/(count+1))*(count+1), max(1, 64/size)), nil
}

// WritePreview leaves a contact sheet of augmented views in the run directory.
func (r *Run) WritePreview(src augment.Source) error {
	const images, views = 32, 2
	sheet, err := Preview(src, r.Config.ViewPlan(views), r.Config.ImageSize, images, r.Config.Seed)
	if err != nil {
		return err
	}
	return sheet.WritePNG(r.path(filePreview))
}

// shownImages is the number of images of which an objective's pictures are shown.
const shownImages = 16

// show leaves the pictures that the objective made of the last batch, beside the
// first view of each image, in the run directory and among the events: one sheet,
// called as the last of the pictures. An epoch that was only ended after a restart has
// none.
func (t *trainer) show() error {
	if t.last == nil || len(t.step.Images) == 0 {
		return nil
	}
	pre := t.Config.Preprocess()
	var cells []*augment.Image
	for i := range min(shownImages, t.Config.BatchSize) {
		cells = append(cells, picture(t.views.Float32s(), t.views.Shape(), i, pre))
		for _, name := range t.step.Images {
			cells = append(cells, picture(t.last[name].Float32s(), t.last[name].Shape(), i, pre))
		}
	}
	name := t.step.Images[len(t.step.Images)-1]
	sheet := augment.Sheet(cells, 4*(1+len(t.step.Images)), max(1, 64/t.Config.ImageSize))
	if err := sheet.WritePNG(t.path(name + ".png")); err != nil {
		return fmt.Errorf("finetune: show %s: %w", name, err)
	}
	return t.record.image(t.at.Step, name, sheet)
}

// picture returns image i of x: [N, C, H, W], normalised as pre says, as pixels.
func picture(x []float32, shape []int, i int, pre augment.Preprocess) *augment.Image {
	channels, area := shape[1], shape[2]*shape[3]
	x = x[i*channels*area : (i+1)*channels*area]
	m := augment.NewImage(shape[3], shape[2])
	for k := range m.Pix {
		c := min(k%3, channels-1)
		v := float64(x[c*area+k/3]*pre.Std[c] + pre.Mean[c])
		m.Pix[k] = uint8(math.Round(255 * max(0, min(1, v))))
	}
	return m
}
