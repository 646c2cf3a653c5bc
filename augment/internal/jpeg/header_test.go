package jpeg

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

// segment is a marker with what it says.
func segment(marker byte, payload ...byte) []byte {
	n := len(payload) + 2
	return append([]byte{0xff, marker, byte(n >> 8), byte(n)}, payload...)
}

// oneCode is a Huffman table with one code, 0, for symbol; class is 0 for DC, 1 for AC.
func oneCode(class, symbol byte) []byte {
	return segment(0xc4, append([]byte{class << 4, 1}, append(make([]byte, 15), symbol)...)...)
}

// written is a progressive file of one component of side x side pixels, all coefficients 0: the scans, after
// one of the means.
func written(side int, scans ...[]byte) []byte {
	size := []byte{byte(side >> 8), byte(side), byte(side >> 8), byte(side)}
	blocks := ((side + 7) / 8) * ((side + 7) / 8)
	return slices.Concat([]byte{0xff, markerSOI},
		segment(0xdb, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)...),
		segment(0xc2, slices.Concat([]byte{8}, size, []byte{1, 7, 0x11, 0})...),
		oneCode(0, 0), oneCode(1, 0xe0),
		segment(markerSOS, 1, 7, 0, 0, 0, 0), make([]byte, (blocks+7)/8),
		slices.Concat(scans...), []byte{0xff, markerEOI})
}

// The longest run of blocks that end: 2^14 and 14 bits more.
func TestLongestRun(t *testing.T) {
	p := planes(t, new(Decoder), written(1024, segment(markerSOS, 1, 7, 0, 1, 63, 0), []byte{0, 0}))
	for i, v := range p[0].Pix {
		if v != 128 {
			t.Fatalf("sample %d is %d, want 128", i, v)
		}
	}
}

func TestBadScans(t *testing.T) {
	for _, c := range []struct {
		scan []byte
		want string
	}{
		{[]byte{1, 7, 0, 1, 63, 0}, ""},
		{[]byte{0, 1, 63, 0}, "scan header"},
		{[]byte{2, 7, 0, 7, 0, 1, 63, 0}, "scan header"},
		{[]byte{1, 8, 0, 1, 63, 0}, "scan header"},
		{[]byte{1, 7, 0x40, 1, 63, 0}, "scan header"},
		{[]byte{1, 7, 4, 1, 63, 0}, "scan header"},
		{[]byte{1, 7, 1, 1, 63, 0}, "Huffman table that is not there"},
		{[]byte{1, 7, 0, 1, 64, 0}, "scan header"},
		{[]byte{1, 7, 0, 2, 1, 0}, "scan header"},
		{[]byte{1, 7, 0, 0, 63, 0}, "scan header"},
		{[]byte{1, 7, 0, 1, 63, 14}, "scan header"},
		{[]byte{1, 7, 0, 1, 63, 0x31}, "scan header"},
		{[]byte{1, 7, 0, 1, 63, 0x10}, "repeats or leaves out"},
		{[]byte{1, 7, 0, 0, 0, 0}, "repeats or leaves out"},
	} {
		var d Decoder
		if err := d.Head(written(16, segment(markerSOS, c.scan...), []byte{0, 0})); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Planes(8); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("scan % x: got %v, want %q", c.scan, err, c.want)
		}
	}
}

// A file without tables is refused, also after one that had them.
func TestTablesOfTheFileBefore(t *testing.T) {
	var d Decoder
	data := photo(t, 16, 16)
	for marker, want := range map[byte]string{0xc4: "Huffman table that is not there", 0xdb: "quantisation table that is not there"} {
		planes(t, &d, data)
		bare := slices.Clone(data)
		for at := bytes.Index(bare, []byte{0xff, marker}); at >= 0; at = bytes.Index(bare, []byte{0xff, marker}) {
			bare = slices.Delete(bare, at, at+2+int(bare[at+2])<<8+int(bare[at+3]))
		}
		if err := d.Head(bare); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Planes(8); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without % x: got %v, want %q", marker, err, want)
		}
	}
}

// What stands between the blocks and a restart marker is damage.
func TestDataBeforeRestart(t *testing.T) {
	data, err := os.ReadFile("../../testdata/formats/gray-restarts.jpg")
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte{0xff, 0xd0})
	for extra, want := range map[string]string{"": "", "\xff": "", "\x00": "data stand where", "\xff\xd1": "restart marker is missing"} {
		var d Decoder
		if err := d.Head(slices.Insert(slices.Clone(data), at, []byte(extra)...)); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Planes(8); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", extra, err, want)
		}
	}
}
