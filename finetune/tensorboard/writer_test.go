package tensorboard

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sslrt/sslrt/augment"
)

// TestRecordsAreTensorBoards compares with records that tensorboard 2.21 wrote:
// RecordWriter(f).write(Event(...).SerializeToString()).
func TestRecordsAreTensorBoards(t *testing.T) {
	for _, c := range []struct {
		name  string
		event []byte
		want  string
	}{
		{"version", versionEvent(1700000000.5),
			"1800000000000000a37f4b220900002040fc54d9411a0d627261696e2e4576656e743a322b353110"},
		{"scalar", scalarEvent(1700000001.25, 390, "loss", 4.5),
			"1b000000000000001a0d9e130900005040fc54d9411086032a0d0a0b0a046c6f737315000090405a15769d"},
		{"image", imageEvent(1700000002, 1, "preview", 3, 2, []byte("png")),
			"2500000000000000eabc36f30900008040fc54d94110012a180a160a0770726576696577220b0802100318032203706e673e966f46"},
		{"restart", restartEvent(1700000003, 780),
			"100000000000000095fbfe18090000c040fc54d941108c063a020801ef9e54be"},
	} {
		if got := hex.EncodeToString(record(c.event)); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// field is a field of a message: varints and fixed values in n, bytes in b.
type field struct {
	n uint64
	b []byte
}

// parse reads a message whose fields come once each.
func parse(t *testing.T, b []byte) map[protowire.Number]field {
	t.Helper()
	m := map[protowire.Number]field{}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		var f field
		switch typ {
		case protowire.VarintType:
			f.n, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			f.n, n = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			f.n = uint64(v)
		case protowire.BytesType:
			f.b, n = protowire.ConsumeBytes(b)
		default:
			t.Fatalf("field %d has type %d", num, typ)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		if _, twice := m[num]; twice {
			t.Fatalf("field %d comes twice", num)
		}
		m[num] = f
		b = b[n:]
	}
	return m
}

// readEvents reads an event file and checks its checksums.
func readEvents(t *testing.T, path string) []map[protowire.Number]field {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(b []byte, want uint32) {
		t.Helper()
		want -= 0xa282ead8 // undo the mask
		want = want>>17 | want<<15
		if got := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)); got != want {
			t.Fatalf("%s: checksum %08x, want %08x", path, got, want)
		}
	}
	var events []map[protowire.Number]field
	for len(data) > 0 {
		size := binary.LittleEndian.Uint64(data)
		check(data[:8], binary.LittleEndian.Uint32(data[8:]))
		payload := data[12 : 12+size]
		check(payload, binary.LittleEndian.Uint32(data[12+size:]))
		events = append(events, parse(t, payload))
		data = data[16+size:]
	}
	return events
}

func TestWriter(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	clock := time.Unix(1700000000, 250e6)
	w.now = func() time.Time { return clock }
	m := augment.NewImage(5, 2)
	for i := range m.Pix {
		m.Pix[i] = uint8(8 * i)
	}
	values := []float64{0, -2.5, math.NaN(), math.Inf(1)}
	errs := []error{w.Image(0, "preview", m), w.Restart(3)}
	for i, v := range values {
		errs = append(errs, w.Scalar(1<<40+i, "a/b", v))
	}
	if err := errors.Join(append(errs, w.Close())...); err != nil {
		t.Fatal(err)
	}

	name := w.f.Name()
	if want := regexp.MustCompile(fmt.Sprintf(`^events\.out\.tfevents\.\d+\..+\.%d$`, os.Getpid())); !want.MatchString(filepath.Base(name)) {
		t.Errorf("the file is %s", name)
	}
	events := readEvents(t, name)
	if len(events) != 3+len(values) {
		t.Fatalf("%d events", len(events))
	}
	if v := string(events[0][3].b); v != "brain.Event:2" {
		t.Errorf("the first event has version %q", v)
	}
	for _, e := range events[1:] {
		if wall := math.Float64frombits(e[1].n); wall != 1700000000.25 {
			t.Errorf("wall time %f", wall)
		}
	}

	value := parse(t, parse(t, events[1][5].b)[1].b)
	if string(value[1].b) != "preview" || events[1][2].n != 0 {
		t.Errorf("image %q at step %d", value[1].b, events[1][2].n)
	}
	picture := parse(t, value[4].b)
	if picture[1].n != 2 || picture[2].n != 5 || picture[3].n != 3 {
		t.Errorf("image of %dx%d pixels, colours %d", picture[2].n, picture[1].n, picture[3].n)
	}
	decoded, err := png.Decode(bytes.NewReader(picture[4].b))
	if err != nil {
		t.Fatal(err)
	}
	if back := augment.FromImage(decoded); !bytes.Equal(back.Pix, m.Pix) {
		t.Errorf("pixels %v", back.Pix)
	}

	if log := parse(t, events[2][7].b); events[2][2].n != 3 || log[1].n != 1 {
		t.Errorf("restart: %v", events[2])
	}
	for i, want := range values {
		e := events[3+i]
		value := parse(t, parse(t, e[5].b)[1].b)
		got := math.Float32frombits(uint32(value[2].n))
		same := float64(got) == want || got != got && want != want
		if e[2].n != 1<<40+uint64(i) || string(value[1].b) != "a/b" || !same {
			t.Errorf("scalar %d: step %d, tag %q, %g", i, e[2].n, value[1].b, got)
		}
	}
}

// TestResumedRunAddsAFile begins several writers within a second.
func TestResumedRunAddsAFile(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		w, err := Create(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Scalar(i, "loss", 1), w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, Prefix+"*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for i, f := range files {
		events := readEvents(t, f)
		if len(events) != 2 || events[1][2].n != uint64(i) {
			t.Errorf("%s: %v: files do not sort as they were begun", f, events)
		}
	}
}

func TestFlushShowsWhatWasWritten(t *testing.T) {
	w, err := Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if n := len(readEvents(t, w.f.Name())); n != 1 {
		t.Errorf("%d events after Create, want the version", n)
	}
	if err := errors.Join(w.Scalar(1, "loss", 1), w.Flush()); err != nil {
		t.Fatal(err)
	}
	if n := len(readEvents(t, w.f.Name())); n != 2 {
		t.Errorf("%d events after Flush", n)
	}
}

func TestErrors(t *testing.T) {
	if _, err := Create(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
	w, err := Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w.f.Close() // as if the disk were gone
	if err := errors.Join(w.Scalar(1, "loss", 1), w.Flush()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("writing to a closed file: %v", err)
	}
	if err := w.Close(); err == nil {
		t.Error("Close forgets that events were lost")
	}
}

// Files are read in the order of their names: that of a resumed run comes last, also
// after the computer's clock was set back.
func TestFilesAreInOrder(t *testing.T) {
	dir := t.TempDir()
	future := fmt.Sprintf("%s%d.zebra.1", Prefix, time.Now().Unix()+1000000)
	for _, name := range []string{future, Prefix + "x", Prefix + "99999999999999999999.y"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	last := future
	for range 3 {
		w, err := Create(dir)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(w.f.Name())
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if name <= last {
			t.Errorf("%s does not come after %s", name, last)
		}
		last = name
	}
}
