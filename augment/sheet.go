package augment

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
	sheet := NewImage(columns*(cw+sheetGap)+sheetGap, rows*(ch+sheetGap)+sheetGap)
	for i := range sheet.Pix {
		sheet.Pix[i] = 255
	}
	for k, m := range images {
		if m == nil {
			continue
		}
		x0 := sheetGap + k%columns*(cw+sheetGap) + (cw-m.W*zoom)/2
		y0 := sheetGap + k/columns*(ch+sheetGap) + (ch-m.H*zoom)/2
		for y := range m.H * zoom {
			for x := range m.W * zoom {
				s := (y/zoom*m.W + x/zoom) * 3
				sheet.set(((y0+y)*sheet.W+x0+x)*3, m.Pix[s], m.Pix[s+1], m.Pix[s+2])
			}
		}
	}
	return sheet
}
