package augment

import (
	"fmt"
	"image"
	"slices"
	"sync"
)

// Tiles cuts an image of w x h pixels into tiles of side x side, row by row. They cover it; the last
// of a row or column end at the border and overlap the ones before. A side of the image that is
// shorter than a tile is taken whole.
func Tiles(w, h, side int) []image.Rectangle {
	if w < 1 || h < 1 || side < 1 {
		panic(fmt.Sprintf("augment: tiles of %d in %dx%d pixels", side, w, h))
	}
	var out []image.Rectangle
	for _, y := range tileStarts(h, side) {
		for _, x := range tileStarts(w, side) {
			out = append(out, image.Rect(x, y, min(x+side, w), min(y+side, h)))
		}
	}
	return out
}

func tileStarts(length, side int) []int {
	n := (length + side - 1) / side
	out := make([]int, n)
	for k := range out {
		out[k] = max(0, min(k*side, length-side))
	}
	return out
}

// Tiled is a source of the tiles of another's images, see [Tiles]. It reads every image once to learn
// its size; one that cannot be read is one tile, which cannot be read. Closing it leaves src open.
func Tiled(src Source, side int) Source {
	t := &tiledSource{Source: src, side: side}
	for i := range src.Len() {
		m, err := src.Image(i)
		if err != nil {
			t.tiles = append(t.tiles, tile{image: i})
			continue
		}
		for _, r := range Tiles(m.W, m.H, side) {
			t.tiles = append(t.tiles, tile{i, r})
		}
	}
	return t
}

type tile struct {
	image int
	at    image.Rectangle // empty: the image could not be read
}

type tiledSource struct {
	Source
	side  int
	tiles []tile

	mu     sync.Mutex
	recent []decoded // the tiles of an image are asked for one after the other
}

type decoded struct {
	index int
	image *Image
}

// keepDecoded is the number of whole images that a tiled source holds: about one per worker.
const keepDecoded = 4

func (t *tiledSource) Len() int { return len(t.tiles) }

func (t *tiledSource) Name(i int) string {
	k := t.tiles[i]
	return fmt.Sprintf("%s#%d,%d", t.Source.Name(k.image), k.at.Min.X, k.at.Min.Y)
}

func (t *tiledSource) Label(i int) int { return t.Source.Label(t.tiles[i].image) }

func (t *tiledSource) Close() error { return nil }

func (t *tiledSource) Image(i int) (*Image, error) {
	k := t.tiles[i]
	m, err := t.whole(k.image)
	if err != nil {
		return nil, err
	}
	if !k.at.In(image.Rect(0, 0, m.W, m.H)) || k.at.Empty() {
		return nil, fmt.Errorf("augment: %s has changed while it was read: it is of %dx%d pixels", t.Source.Name(k.image), m.W, m.H)
	}
	return m.Crop(k.at.Min.X, k.at.Min.Y, k.at.Max.X, k.at.Max.Y), nil
}

func (t *tiledSource) whole(index int) (*Image, error) {
	t.mu.Lock()
	at := slices.IndexFunc(t.recent, func(d decoded) bool { return d.index == index })
	if at >= 0 {
		defer t.mu.Unlock()
		return t.recent[at].image, nil
	}
	t.mu.Unlock()
	m, err := t.Source.Image(index)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recent = append(t.recent, decoded{index, m})
	if len(t.recent) > keepDecoded {
		t.recent = slices.Delete(t.recent, 0, 1)
	}
	return m, nil
}
