package augment

import (
	"image"
	"image/color"
	"image/draw"

	"github.com/disintegration/imaging"
)

// sheetGap separates the pictures of a contact sheet, in pixels of the sheet.
const sheetGap = 4

// Sheet lays pictures out row by row on white, each centred in a cell of the largest one's size, and
// every pixel drawn zoom x zoom large. A nil picture leaves its cell empty. At least one picture, one
// column and a zoom of 1 are needed.
func Sheet(images []*Image, columns, zoom int) *Image {
	if len(images) == 0 || columns < 1 || zoom < 1 {
		panic("augment: Sheet needs a picture, a column and a zoom of at least 1")
	}
	columns = min(columns, len(images))
	cw, ch := 1, 1
	for _, m := range images {
		if m != nil {
			cw, ch = max(cw, m.W*zoom), max(ch, m.H*zoom)
		}
	}
	rows := (len(images) + columns - 1) / columns
	sheet := imaging.New(columns*(cw+sheetGap)+sheetGap, rows*(ch+sheetGap)+sheetGap, color.White)
	for k, m := range images {
		if m == nil {
			continue
		}
		large := imaging.Resize(m.ToImage(), m.W*zoom, m.H*zoom, imaging.NearestNeighbor)
		at := image.Pt(sheetGap+k%columns*(cw+sheetGap)+(cw-m.W*zoom)/2, sheetGap+k/columns*(ch+sheetGap)+(ch-m.H*zoom)/2)
		draw.Draw(sheet, large.Bounds().Add(at), large, image.Point{}, draw.Src)
	}
	return FromImage(sheet)
}
