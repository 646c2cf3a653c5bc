package jpeg

import (
	"errors"
	"fmt"
	"io"
)

// Plane is one component of a picture.
type Plane struct {
	Pix    []uint8 // [>= H, Stride], whole blocks
	W, H   int     // the samples that the picture needs
	Stride int
	SX, SY int // pixels for one sample: the component is subsampled where they are more than 1
}

// Decoder decodes one file after the other: Head, then Planes.
type Decoder struct {
	W, H       int // of the whole picture
	Components int // 1, 3 or 4
	IDs        [4]byte
	JFIF       bool // there is a JFIF marker
	Adobe      bool // there is an Adobe marker
	Transform  byte // what it says about colours
	Exif       []byte

	data        []byte
	pos         int
	frame       bool
	progressive bool
	interval    int // MCUs between two restart markers; 0: none
	hmax, vmax  int
	mcusW       int
	mcusH       int
	comps       [4]component
	quant       [4][64]uint16 // in natural order
	hasQuant    [4]bool
	dc, ac      [4]huffman
	bits        bits
	block       [64]int16
	whole       [64]uint8 // the samples of a block that is reduced
	planes      [4]Plane
	scanned     [4]int
	eobRun      int
	restarts    int // markers of the scan so far
}

// component is what the frame header says about one, and its memory.
type component struct {
	h, v, tq         int
	blocksW, blocksH int // whole MCUs
	scanW, scanH     int // blocks of a scan of this component alone
	size             int // samples of a block's side: 8, or less at a reduced scale
	pix              []uint8
	coefs            []int16  // of progressive files: 64 for each block
	known            [64]int8 // by place in zigzag order: the lowest bit that scans gave, -1 if none did
	pred             int      // the last DC value
	td, ta           int      // Huffman tables of the scan
}

var (
	errNoPixels = errors.New("the file ends before its pixels")
	errNoFrame  = errors.New("there is no frame header before the pixels")
	errData     = errors.New("the compressed data are damaged")
)

// Head reads up to the first scan. data is kept until Planes is done.
func (d *Decoder) Head(data []byte) error {
	d.data, d.pos, d.frame = data, 0, false
	d.W, d.H, d.Components, d.interval, d.eobRun = 0, 0, 0, 0, 0
	d.JFIF, d.Adobe, d.Transform, d.Exif = false, false, 0, nil
	d.hasQuant = [4]bool{}
	for i := range 4 {
		d.dc[i].set, d.ac[i].set = false, false
	}
	for {
		marker, err := d.marker()
		if err != nil {
			return err
		}
		if marker == markerEOI {
			return errNoPixels
		}
		if marker == markerSOS {
			if !d.frame {
				return errNoFrame
			}
			return nil
		}
		if err := d.segment(marker); err != nil {
			return err
		}
	}
}

const (
	markerSOI = 0xd8
	markerEOI = 0xd9
	markerSOS = 0xda
)

// marker skips to the next marker that has a segment, or the end, and returns its code.
func (d *Decoder) marker() (byte, error) {
	last := byte(0)
	for ; d.pos < len(d.data); d.pos++ {
		b := d.data[d.pos]
		if last == 0xff && b != 0 && b != 0xff && !(b >= 0xd0 && b <= markerSOI) && b != 0x01 {
			d.pos++
			return b, nil
		}
		last = b
	}
	return 0, io.ErrUnexpectedEOF
}

// payload returns what stands in the segment at d.pos and goes behind it.
func (d *Decoder) payload() ([]byte, error) {
	rest := d.data[d.pos:]
	if len(rest) < 2 {
		return nil, io.ErrUnexpectedEOF
	}
	n := int(rest[0])<<8 | int(rest[1])
	if n < 2 {
		return nil, errors.New("a segment is shorter than its own length")
	}
	if n > len(rest) {
		return nil, io.ErrUnexpectedEOF
	}
	d.pos += n
	return rest[2:n], nil
}

// segment reads a segment that is not a scan.
func (d *Decoder) segment(marker byte) error {
	s, err := d.payload()
	if err != nil {
		return err
	}
	switch {
	case marker == 0xc4:
		return d.huffmanTables(s)
	case marker == 0xdb:
		return d.quantTables(s)
	case marker == 0xdd:
		if len(s) != 2 {
			return errors.New("the restart interval has the wrong length")
		}
		d.interval = int(s[0])<<8 | int(s[1])
	case marker >= 0xc0 && marker <= 0xcf && marker != 0xc8 && marker != 0xcc:
		return d.frameHeader(marker, s)
	case marker == 0xe0 && len(s) >= 5 && string(s[:5]) == "JFIF\x00":
		d.JFIF = true
	case marker == 0xee && len(s) >= 12 && string(s[:5]) == "Adobe":
		d.Adobe, d.Transform = true, s[11]
	case marker == 0xe1 && len(s) >= 6 && string(s[:6]) == "Exif\x00\x00" && d.Exif == nil:
		d.Exif = s[6:]
	}
	return nil
}

func (d *Decoder) frameHeader(marker byte, s []byte) error {
	switch {
	case d.frame:
		return errors.New("two frame headers")
	case marker > 0xc2:
		return fmt.Errorf("unsupported JPEG: process %d (lossless, hierarchical or arithmetic coding)", marker-0xc0)
	case len(s) < 6 || len(s) != 6+3*int(s[5]):
		return errors.New("the frame header has the wrong length")
	case s[0] != 8:
		return fmt.Errorf("unsupported JPEG: %d bits per sample", s[0])
	case s[5] != 1 && s[5] != 3 && s[5] != 4:
		return fmt.Errorf("unsupported JPEG: %d components", s[5])
	}
	d.frame, d.progressive = true, marker == 0xc2
	d.H, d.W, d.Components = int(s[1])<<8|int(s[2]), int(s[3])<<8|int(s[4]), int(s[5])
	d.hmax, d.vmax = 1, 1
	for i := range d.Components {
		c, f := &d.comps[i], s[6+3*i:]
		d.IDs[i] = f[0]
		c.h, c.v, c.tq = int(f[1]>>4), int(f[1]&15), int(f[2])
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.tq > 3 {
			return fmt.Errorf("component %d: sampling %dx%d, table %d: want 1 to 4, 0 to 3", i, c.h, c.v, c.tq)
		}
		for k := range i {
			if d.IDs[k] == f[0] {
				return fmt.Errorf("two components have the number %d", f[0])
			}
		}
		d.hmax, d.vmax = max(d.hmax, c.h), max(d.vmax, c.v)
	}
	for i := range d.Components {
		if c := &d.comps[i]; d.hmax%c.h != 0 || d.vmax%c.v != 0 {
			return fmt.Errorf("unsupported JPEG: component %d has sampling %dx%d of %dx%d", i, c.h, c.v, d.hmax, d.vmax)
		}
	}
	return nil
}

// zigzag gives the natural place of each coefficient.
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

func (d *Decoder) quantTables(s []byte) error {
	for len(s) > 0 {
		wide, table := int(s[0]>>4), int(s[0]&15)
		size := 64 * (1 + wide)
		if wide > 1 || table > 3 || len(s) < 1+size {
			return errors.New("a quantisation table is damaged")
		}
		s = s[1:]
		for i, at := range zigzag {
			if wide == 1 {
				d.quant[table][at] = uint16(s[2*i])<<8 | uint16(s[2*i+1])
			} else {
				d.quant[table][at] = uint16(s[i])
			}
		}
		d.hasQuant[table] = true
		s = s[size:]
	}
	return nil
}

// Planes decodes all scans at a scale of 8, 4, 2 or 1 eighths; of a reduced one the picture's sides are
// rounded up. The planes are the Decoder's own, until the next Head.
func (d *Decoder) Planes(eighths int) ([]Plane, error) {
	if d.W < 1 || d.H < 1 {
		return nil, fmt.Errorf("the header says %dx%d pixels", d.W, d.H)
	}
	clear(d.block[:])
	d.mcusW = (d.W + 8*d.hmax - 1) / (8 * d.hmax)
	d.mcusH = (d.H + 8*d.vmax - 1) / (8 * d.vmax)
	for i := range d.Components {
		c := &d.comps[i]
		c.blocksW, c.blocksH = d.mcusW*c.h, d.mcusH*c.v
		for k := range c.known {
			c.known[k] = -1
		}
		w, h := (d.W*c.h+d.hmax-1)/d.hmax, (d.H*c.v+d.vmax-1)/d.vmax
		c.scanW, c.scanH = (w+7)/8, (h+7)/8
		// A subsampled component is reduced less, so that nothing is thrown away to be made up again.
		for c.size = eighths; c.size < 8 && d.hmax*eighths%(2*c.h*c.size) == 0 && d.vmax*eighths%(2*c.v*c.size) == 0; {
			c.size *= 2
		}
		w, h = (d.W*c.h*c.size+8*d.hmax-1)/(8*d.hmax), (d.H*c.v*c.size+8*d.vmax-1)/(8*d.vmax)
		c.pix = grow(c.pix, c.blocksW*c.blocksH*c.size*c.size)
		if d.progressive {
			c.coefs = grow(c.coefs, c.blocksW*c.blocksH*64)
			clear(c.coefs)
		}
		d.planes[i] = Plane{Pix: c.pix, W: w, H: h, Stride: c.size * c.blocksW,
			SX: d.hmax * eighths / (c.h * c.size), SY: d.vmax * eighths / (c.v * c.size)}
	}
	for {
		if err := d.scan(); err != nil {
			return nil, err
		}
		marker, err := d.nextScan()
		if err != nil {
			return nil, err
		}
		if marker == markerEOI {
			break
		}
	}
	for i := range d.Components {
		c := &d.comps[i]
		if c.known[0] < 0 {
			return nil, errors.New("a component has no scan")
		}
		if d.progressive {
			if err := d.transform(c); err != nil {
				return nil, err
			}
		}
	}
	return d.planes[:d.Components], nil
}

// nextScan reads up to the next scan, or the end.
func (d *Decoder) nextScan() (byte, error) {
	for {
		marker, err := d.marker()
		if err != nil || marker == markerEOI || marker == markerSOS {
			return marker, err
		}
		if err := d.segment(marker); err != nil {
			return 0, err
		}
	}
}

// grow returns a slice of n values, any content.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
