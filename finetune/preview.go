package finetune

import (
	"fmt"

	"github.com/sslrt/sslrt/augment"
)

// Preview draws n images of a source, each followed by views of it: what an
// objective compares.
func Preview(src augment.Source, p augment.Policy, size, n, views int, seed uint64) (*augment.Image, error) {
	var cells []*augment.Image
	exact := augment.EvalPreprocess(size)
	var last error
	stride := max(1, src.Len()/n)
	for i := 0; i < src.Len() && len(cells) < n*(views+1); {
		m, err := src.Image(i)
		if err != nil {
			last = err
			i++
			continue
		}
		cells = append(cells, exact.Apply(m))
		for v := range views {
			cells = append(cells, p.Apply(m, augment.NewRand(seed, 0, i, v)))
		}
		i += stride
	}
	if len(cells) == 0 {
		return nil, fmt.Errorf("finetune: preview: no image can be read: %w", last)
	}
	return augment.Sheet(cells, 4*(views+1), max(1, 64/size)), nil
}

// WritePreview leaves a contact sheet of augmented pairs in the run directory.
func (r *Run) WritePreview(src augment.Source) error {
	const images, views = 32, 2
	sheet, err := Preview(src, r.Config.Policy(), r.Config.ImageSize, images, views, r.Config.Seed)
	if err != nil {
		return err
	}
	return sheet.WritePNG(r.path(filePreview))
}
