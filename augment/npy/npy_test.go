package npy_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sbinet/npyio"

	"github.com/sslrt/sslrt/augment/npy"
)

func Example() {
	var file bytes.Buffer
	if err := npyio.Write(&file, []int64{3, 1, 2}); err != nil {
		fmt.Println(err)
		return
	}
	h, err := npy.ReadHeader(&file)
	fmt.Println(h, h.Count(), err)
	// Output: <i8 [3] 3 <nil>
}

// header is that of a version with a dict.
func header(version byte, dict string) string {
	start := []byte{0x93, 'N', 'U', 'M', 'P', 'Y', version, 0}
	if version == 1 {
		start = binary.LittleEndian.AppendUint16(start, uint16(len(dict)))
	} else {
		start = binary.LittleEndian.AppendUint32(start, uint32(len(dict)))
	}
	return string(start) + dict
}

func TestReadHeader(t *testing.T) {
	for name, c := range map[string]struct {
		file  string
		shape []int64
	}{
		"version 1":                 {header(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n"), []int64{2, 3}},
		"version 3":                 {header(3, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"), []int64{2, 3}},
		"other order and quotes":    {header(2, `{"shape":(7,),"descr":"<f4","fortran_order":False}`), []int64{7}},
		"a single value":            {header(1, "{'descr': '<f4', 'fortran_order': False, 'shape': ()}"), nil},
		"one axis in either order":  {header(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (4,)}"), []int64{4}},
		"a size of 0, then a large": {header(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 1099511627775)}"), []int64{0, 1<<40 - 1}},
	} {
		r := strings.NewReader(c.file + "values")
		h, err := npy.ReadHeader(r)
		if err != nil || h.Type != "<f4" || !slices.Equal(h.Shape, c.shape) || h.Size != int64(len(c.file)) || r.Len() != len("values") {
			t.Errorf("%s: got %v, size %d, %d bytes left, %v; want %v, %d, 6", name, h, h.Size, r.Len(), err, c.shape, len(c.file))
		}
	}
}

func TestReadHeaderOfBadFiles(t *testing.T) {
	plain := "{'descr': '<f4', 'fortran_order': False, 'shape': (%s)}"
	for file, want := range map[string]string{
		"":                                     "not a .npy array",
		"PK\x03\x04 and so on":                 "not a .npy array",
		header(1, plain)[:20]:                  "header: unexpected EOF",
		header(2, plain)[:11]:                  "header: unexpected EOF",
		header(2, "")[:8] + "\xff\xff\xff\xff": "got a header of 4294967295 bytes",
		header(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}"):   "want that of a plain array",
		header(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}"):           "in C order",
		header(1, fmt.Sprintf(plain, "1099511627776,")):                                 "below 2^40",
		header(1, fmt.Sprintf(plain, "1, 1, 1, 1, 1, 1, 1, 1, 1")):                      "up to 8 sizes",
		header(1, fmt.Sprintf(plain, "1000000000, 1000000000")):                         "no more than 2^59 values",
		header(1, fmt.Sprintf(plain, "0, 1099511627775, 1099511627775, 1099511627775")): "no more than 2^59 values",
	} {
		if h, err := npy.ReadHeader(strings.NewReader(file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: got %v, %v, want an error with %q", file, h, err, want)
		}
	}
}

func FuzzReadHeader(f *testing.F) {
	f.Add([]byte(header(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n")))
	f.Add([]byte(header(3, "{'descr': '|u1', 'fortran_order': True, 'shape': (9,)}")))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := npy.ReadHeader(bytes.NewReader(data))
		if err != nil {
			return
		}
		if h.Size > int64(len(data)) || h.Count() < 0 || h.Count() > math.MaxInt64/16 {
			t.Errorf("got %v, size %d of %d bytes", h, h.Size, len(data))
		}
	})
}
