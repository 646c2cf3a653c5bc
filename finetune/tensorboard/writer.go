package tensorboard

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image/png"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sslrt/sslrt/augment"
)

// Prefix is what the names of event files begin with.
const Prefix = "events.out.tfevents."

// Writer writes one event file. It is not safe for concurrent use.
type Writer struct {
	f   *os.File
	w   *bufio.Writer
	now func() time.Time
}

// Create makes a new event file in dir, named as TensorFlow names it:
// events.out.tfevents.<seconds since 1970>.<host>.<process>. TensorBoard reads
// all event files of a directory as one run, in the order of their names, so a
// resumed run adds another file. Its time is later than that of all that are there,
// also when the computer's clock was set back in between.
func Create(dir string) (*Writer, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost" // the name only keeps files apart
	}
	at, err := after(dir, time.Now().Unix())
	var f *os.File
	if err == nil {
		f, err = create(dir, at, host)
		for errors.Is(err, fs.ErrExist) { // begun by another in between
			at++
			f, err = create(dir, at, host)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("tensorboard: create: %w", err)
	}
	w := &Writer{f: f, w: bufio.NewWriter(f), now: time.Now}
	if err := errors.Join(w.write(versionEvent(w.seconds())), w.Flush()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return w, nil
}

// after returns now, or if event files of that time or later are there a second after
// the last of them.
func after(dir string, now int64) (int64, error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), Prefix)
		if !ok {
			continue
		}
		seconds, _, _ := strings.Cut(name, ".")
		if at, err := strconv.ParseInt(seconds, 10, 64); err == nil && at >= now && at < math.MaxInt64 {
			now = at + 1
		}
	}
	return now, err
}

func create(dir string, at int64, host string) (*os.File, error) {
	name := fmt.Sprintf("%s%010d.%s.%d", Prefix, at, host, os.Getpid())
	return os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
}

// Scalar adds a point to the curve named tag. The format keeps it as float32.
func (w *Writer) Scalar(step int, tag string, value float64) error {
	return w.write(scalarEvent(w.seconds(), step, tag, float32(value)))
}

// Image adds a picture, stored as PNG, to those named tag.
func (w *Writer) Image(step int, tag string, m *augment.Image) error {
	var data bytes.Buffer
	if err := png.Encode(&data, m.ToImage()); err != nil {
		return fmt.Errorf("tensorboard: write %s: image %s: %w", w.f.Name(), tag, err)
	}
	return w.write(imageEvent(w.seconds(), step, tag, m.W, m.H, data.Bytes()))
}

// Restart says that the run went on from an earlier state: what earlier files have
// at this step and later is written again and no longer counts.
func (w *Writer) Restart(step int) error {
	return w.write(restartEvent(w.seconds(), step))
}

// Flush hands what was written to the operating system, where TensorBoard sees it.
func (w *Writer) Flush() error {
	if err := w.w.Flush(); err != nil {
		return fmt.Errorf("tensorboard: %w", err) // names the file
	}
	return nil
}

// Close flushes and closes the file.
func (w *Writer) Close() error {
	err := w.Flush()
	if e := w.f.Close(); e != nil && err == nil {
		err = fmt.Errorf("tensorboard: %w", e)
	}
	return err
}

func (w *Writer) write(event []byte) error {
	if _, err := w.w.Write(record(event)); err != nil {
		return fmt.Errorf("tensorboard: %w", err)
	}
	return nil
}

// seconds is the wall time of an event.
func (w *Writer) seconds() float64 { return float64(w.now().UnixMicro()) / 1e6 }
