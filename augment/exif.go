package augment

import "encoding/binary"

// exifOrientation returns the orientation in an EXIF block, 1 to 8; 1, as it is, where the block says
// nothing that can be used.
func exifOrientation(block []byte) int {
	if v := tiffValue(block, 0x0112); v >= 1 && v <= 8 {
		return v
	}
	return 1
}

// tiffValue returns a 16-bit number from the first directory of a TIFF file, which an EXIF block is too;
// -1 where it is not there.
func tiffValue(block []byte, tag uint16) int {
	if len(block) < 8 {
		return -1
	}
	var order binary.ByteOrder
	switch string(block[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return -1
	}
	at := int64(order.Uint32(block[4:]))
	if at+2 > int64(len(block)) {
		return -1
	}
	entries := block[at+2:]
	for range int(order.Uint16(block[at:])) {
		if len(entries) < 12 {
			return -1
		}
		// tag, type, count, value: type 3 is a 16-bit number, which stands at the value's beginning.
		if order.Uint16(entries) == tag {
			if order.Uint16(entries[2:]) != 3 || order.Uint32(entries[4:]) != 1 {
				return -1
			}
			return int(order.Uint16(entries[8:]))
		}
		entries = entries[12:]
	}
	return -1
}

// orient turns m upright by the orientation of EXIF. The result may be m itself.
func orient(m *Image, orientation int) *Image {
	if orientation <= 1 || orientation > 8 {
		return m
	}
	out := NewImage(m.W, m.H)
	if orientation >= 5 {
		out.W, out.H = m.H, m.W
	}
	// from gives the place in m of the pixel at x, y of the result.
	from := func(x, y int) (int, int) {
		switch orientation {
		case 2: // mirrored left to right
			return m.W - 1 - x, y
		case 3: // turned by 180 degrees
			return m.W - 1 - x, m.H - 1 - y
		case 4: // mirrored top to bottom
			return x, m.H - 1 - y
		case 5: // mirrored at the diagonal
			return y, x
		case 6: // to be turned clockwise
			return y, m.H - 1 - x
		case 7: // mirrored at the other diagonal
			return m.W - 1 - y, m.H - 1 - x
		default: // 8: to be turned counter-clockwise
			return m.W - 1 - y, x
		}
	}
	for y := range out.H {
		for x := range out.W {
			fx, fy := from(x, y)
			copy(out.Pix[(y*out.W+x)*3:(y*out.W+x)*3+3], m.Pix[(fy*m.W+fx)*3:])
		}
	}
	return out
}
