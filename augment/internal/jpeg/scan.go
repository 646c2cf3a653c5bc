package jpeg

import (
	"errors"
	"io"

	"github.com/sslrt/sslrt/augment/internal/kernel"
)

// scanHeader is what a scan decodes: components, a band of coefficients and, of progressive files, bits of
// them.
type scanHeader struct {
	comps       []int
	first, last int
	high, low   int // successive approximation: the bit before and the one of this scan
}

var errScan = errors.New("a scan header is damaged")

// scan reads the scan header at d.pos and decodes the scan.
func (d *Decoder) scan() error {
	s, err := d.payload()
	if err != nil {
		return err
	}
	h, err := d.scanHeader(s)
	if err != nil {
		return err
	}
	d.bits = bits{data: d.data, pos: d.pos}
	d.eobRun, d.restarts = 0, 0
	for _, i := range h.comps {
		d.comps[i].pred = 0
	}
	if len(h.comps) == 1 {
		err = d.single(h)
	} else {
		err = d.interleaved(h)
	}
	if err != nil {
		return err
	}
	if d.bits.ended() {
		return io.ErrUnexpectedEOF
	}
	d.pos = d.bits.pos
	return nil
}

func (d *Decoder) scanHeader(s []byte) (h scanHeader, err error) {
	if len(s) < 1 || s[0] < 1 || int(s[0]) > d.Components || len(s) != 4+2*int(s[0]) {
		return h, errScan
	}
	h.comps = d.scanned[:0]
	blocks := 0
	for k := range int(s[0]) {
		id, tables := s[1+2*k], s[2+2*k]
		at := -1
		for i := range d.Components {
			if d.IDs[i] == id {
				at = i
			}
		}
		for _, i := range h.comps {
			if i == at {
				return h, errScan
			}
		}
		if at < 0 || tables>>4 > 3 || tables&15 > 3 {
			return h, errScan
		}
		c := &d.comps[at]
		c.td, c.ta = int(tables>>4), int(tables&15)
		h.comps = append(h.comps, at)
		blocks += c.h * c.v
	}
	if len(h.comps) > 1 && blocks > 10 {
		return h, errScan
	}
	end := s[len(s)-3:]
	h.first, h.last, h.high, h.low = int(end[0]), int(end[1]), int(end[2]>>4), int(end[2]&15)
	if !d.progressive {
		h.first, h.last, h.high, h.low = 0, 63, 0, 0
	} else if h.first > h.last || h.last > 63 || h.low > 13 || h.high != 0 && h.high != h.low+1 ||
		h.first == 0 && h.last != 0 || h.first > 0 && len(h.comps) != 1 {
		return h, errScan
	}
	for _, i := range h.comps {
		c := &d.comps[i]
		if h.first == 0 && h.high == 0 && !d.dc[c.td].set || h.last > 0 && !d.ac[c.ta].set {
			return h, errors.New("a scan uses a Huffman table that is not there")
		}
		if h.first > 0 && c.known[0] < 0 {
			return h, errors.New("a scan of details stands before that of the means")
		}
		// Each scan brings bits that are new: no number of scans takes longer than a picture can need.
		for k := h.first; k <= h.last; k++ {
			if had := int(c.known[k]); h.high == 0 && had >= 0 || h.high > 0 && had != h.high {
				return h, errors.New("a scan repeats or leaves out bits of another one")
			}
			c.known[k] = int8(h.low)
		}
		if !d.progressive && !d.hasQuant[c.tq] {
			return h, errNoQuant
		}
	}
	return h, nil
}

var errNoQuant = errors.New("a component uses a quantisation table that is not there")

// interleaved decodes a scan of several components: MCU by MCU.
func (d *Decoder) interleaved(h scanHeader) error {
	left := d.interval
	for my := range d.mcusH {
		for mx := range d.mcusW {
			if err := d.restart(h, &left); err != nil {
				return err
			}
			for _, i := range h.comps {
				c := &d.comps[i]
				for y := my * c.v; y < (my+1)*c.v; y++ {
					for x := mx * c.h; x < (mx+1)*c.h; x++ {
						if err := d.decode(h, c, x, y); err != nil {
							return err
						}
					}
				}
			}
		}
		if d.bits.ended() {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

// single decodes a scan of one component, which has no more blocks than it needs.
func (d *Decoder) single(h scanHeader) error {
	c, left := &d.comps[h.comps[0]], d.interval
	for y := range c.scanH {
		for x := range c.scanW {
			if err := d.restart(h, &left); err != nil {
				return err
			}
			if err := d.decode(h, c, x, y); err != nil {
				return err
			}
		}
		if d.bits.ended() {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

// restart counts MCUs and reads the marker that stands between two intervals.
func (d *Decoder) restart(h scanHeader, left *int) error {
	if d.interval == 0 {
		return nil
	}
	if *left > 0 {
		*left--
		return nil
	}
	*left = d.interval - 1
	b := &d.bits
	if b.ended() {
		return io.ErrUnexpectedEOF
	}
	if b.n-b.over >= 8 {
		return errors.New("data stand where a restart marker should")
	}
	for b.pos+1 < len(b.data) && b.data[b.pos] == 0xff && b.data[b.pos+1] == 0xff {
		b.pos++ // fill bytes
	}
	if b.pos+2 > len(b.data) {
		return io.ErrUnexpectedEOF
	}
	if m := b.data[b.pos+1]; b.data[b.pos] != 0xff || m != 0xd0+byte(d.restarts&7) {
		return errors.New("a restart marker is missing")
	}
	d.restarts++
	d.bits = bits{data: b.data, pos: b.pos + 2}
	d.eobRun = 0
	for _, i := range h.comps {
		d.comps[i].pred = 0
	}
	return nil
}

// decode decodes one block.
func (d *Decoder) decode(h scanHeader, c *component, x, y int) error {
	if !d.progressive {
		return d.baseline(c, x, y)
	}
	at := (y*c.blocksW + x) * 64
	block := (*[64]int16)(c.coefs[at : at+64])
	switch {
	case h.first == 0 && h.high == 0:
		return d.firstDC(c, block, h.low)
	case h.first == 0:
		d.bits.fill()
		if d.bits.take(1) != 0 {
			block[0] |= 1 << h.low
		}
		return nil
	case h.high == 0:
		return d.firstAC(&d.ac[c.ta], block, h)
	}
	return d.refineAC(&d.ac[c.ta], block, h)
}

// difference decodes a DC value's difference to the last one.
func (d *Decoder) difference(c *component) (int, error) {
	d.bits.fill()
	size, ok := d.dc[c.td].symbol(&d.bits)
	if !ok || size > 16 {
		return 0, errData
	}
	return d.bits.value(size), nil
}

// baseline decodes a block and writes its samples.
func (d *Decoder) baseline(c *component, x, y int) error {
	diff, err := d.difference(c)
	if err != nil {
		return err
	}
	c.pred += diff
	quant := &d.quant[c.tq]
	block := &d.block
	block[0] = int16(c.pred * int(quant[0]))

	// The loop below is where decoding spends its time: the state of bits stands in variables, and 32 bits
	// are there for a code of 16 and a value of 15.
	b, ac := &d.bits, &d.ac[c.ta]
	acc, n, last := b.acc, b.n, 0
	for k := 1; k < 64; {
		if n < 32 {
			b.acc, b.n = acc, n
			b.fill()
			acc, n = b.acc, b.n
		}
		at := acc >> (64 - lutBits)
		if e := ac.fast[at]; e != 0 {
			k += int(e >> 8 & 15)
			if k > 63 {
				return errData
			}
			acc <<= uint(e & 63)
			n -= int(e & 63)
			z := zigzag[k] & 63
			block[z] = int16(int32(e>>16) * int32(quant[z]))
			last = k
			k++
			continue
		}
		e := int(ac.lut[at])
		if e == 0 {
			if e = ac.long(acc); e == 0 {
				return errData
			}
		}
		acc <<= uint(e & 63)
		n -= e & 63
		run, size := e>>12, uint(e>>8&15)
		if size == 0 {
			if run != 15 {
				break
			}
			k += 16
			continue
		}
		k += run
		if k > 63 {
			return errData
		}
		v := int(acc >> (64 - size))
		if v < 1<<(size-1) {
			v += -1<<size + 1
		}
		acc <<= size
		n -= int(size)
		z := zigzag[k] & 63
		block[z] = int16(v * int(quant[z]))
		last = k
		k++
	}
	b.acc, b.n = acc, n
	d.samples(c, x, y, last == 0)
	clear(block[1:])
	return nil
}

// samples writes the samples of the block in d.block. flat says that all but the mean are 0.
func (d *Decoder) samples(c *component, x, y int, flat bool) {
	stride := c.size * c.blocksW
	dst, block := c.pix[(y*stride+x)*c.size:], &d.block
	switch {
	case c.size == 8 && flat:
		kernel.FillBlock(dst, stride, block[0])
	case c.size == 8:
		kernel.InverseDCT(dst, stride, block)
	case c.size == 4: // means of four samples
		kernel.InverseDCT(d.whole[:], 8, block)
		for i := range 4 {
			a, b, out := d.whole[16*i:16*i+8], d.whole[16*i+8:16*i+16], dst[i*stride:i*stride+4]
			for k := range out {
				out[k] = uint8((int(a[2*k]) + int(a[2*k+1]) + int(b[2*k]) + int(b[2*k+1]) + 2) >> 2)
			}
		}
	case c.size == 2: // the transform of size 2, of the lowest coefficients
		m, h, v, hv := int(block[0])+128*8+4, int(block[1]), int(block[8]), int(block[9])
		dst[0], dst[1] = clip((m+h+v+hv)>>3), clip((m-h+v-hv)>>3)
		dst[stride], dst[stride+1] = clip((m+h-v-hv)>>3), clip((m-h-v+hv)>>3)
	default:
		dst[0] = clip((int(block[0]) + 128*8 + 4) >> 3)
	}
}

func clip(v int) uint8 { return uint8(min(max(v, 0), 255)) }
