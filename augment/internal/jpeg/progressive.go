package jpeg

// firstDC decodes the upper bits of a block's mean.
func (d *Decoder) firstDC(c *component, block *[64]int16, low int) error {
	diff, err := d.difference(c)
	if err != nil {
		return err
	}
	c.pred += diff
	block[0] = int16(c.pred << low)
	return nil
}

// firstAC decodes the upper bits of a band of coefficients.
func (d *Decoder) firstAC(ac *huffman, block *[64]int16, h scanHeader) error {
	if d.eobRun > 0 {
		d.eobRun--
		return nil
	}
	b := &d.bits
	for k := h.first; k <= h.last; k++ {
		b.fill()
		s, ok := ac.symbol(b)
		if !ok {
			return errData
		}
		run, size := s>>4, s&15
		if size == 0 {
			if run < 15 {
				d.eobRun = 1<<run + b.take(run) - 1
				return nil
			}
			k += 15
			continue
		}
		if k += run; k > h.last {
			return errData
		}
		block[zigzag[k]] = int16(b.value(size) << h.low)
	}
	return nil
}

// refineAC decodes the next lower bit of a band.
func (d *Decoder) refineAC(ac *huffman, block *[64]int16, h scanHeader) error {
	b, bit := &d.bits, int16(1)<<h.low
	k := h.first
	if d.eobRun == 0 {
	symbols:
		for ; k <= h.last; k++ {
			b.fill()
			s, ok := ac.symbol(b)
			if !ok {
				return errData
			}
			run, size, value := s>>4, s&15, int16(0)
			switch size {
			case 0:
				if run < 15 {
					d.eobRun = 1<<run + b.take(run)
					break symbols
				}
			case 1:
				value = -bit
				if b.take(1) != 0 {
					value = bit
				}
			default:
				return errData
			}
			if k = d.refine(block, k, h.last, run, bit); k > h.last {
				if value != 0 {
					return errData
				}
				break
			}
			if value != 0 {
				block[zigzag[k]] = value
			}
		}
	}
	if d.eobRun > 0 {
		d.eobRun--
		d.refine(block, k, h.last, -1, bit)
	}
	return nil
}

// refine reads a bit for each coefficient from k on that is not zero, and returns the place of the zero
// that follows run others, or what is behind the band.
func (d *Decoder) refine(block *[64]int16, k, last, run int, bit int16) int {
	b := &d.bits
	for ; k <= last; k++ {
		v := &block[zigzag[k]]
		if *v == 0 {
			if run == 0 {
				return k
			}
			run--
			continue
		}
		b.fill()
		if b.take(1) != 0 && *v&bit == 0 {
			if *v > 0 {
				*v += bit
			} else {
				*v -= bit
			}
		}
	}
	return k
}

// transform computes the samples of a component whose coefficients are complete.
func (d *Decoder) transform(c *component) error {
	if !d.hasQuant[c.tq] {
		return errNoQuant
	}
	quant, block := &d.quant[c.tq], &d.block
	for y := range c.blocksH {
		for x := range c.blocksW {
			at := (y*c.blocksW + x) * 64
			coefs := c.coefs[at : at+64]
			for i, v := range coefs {
				block[i] = int16(int(v) * int(quant[i]))
			}
			d.samples(c, x, y, false)
		}
	}
	clear(block[:])
	return nil
}
