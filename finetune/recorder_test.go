package finetune

import (
	"errors"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/finetune/tensorboard"
)

// record writes epochs as one start of a run does whose checkpoint is of a step.
func record(t *testing.T, run *Run, checkpoint int, epochs ...int) {
	t.Helper()
	r, err := newRecorder(run, checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range epochs {
		if err := r.epoch(10*e, e, map[string]float64{"loss": 4 / float64(e), "knn": math.NaN()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func eventFiles(t *testing.T, run *Run) []string {
	t.Helper()
	files, err := filepath.Glob(run.path(tensorboard.Prefix + "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestRecorderWritesMetricsAndEvents(t *testing.T) {
	run := &Run{Dir: t.TempDir()}
	if err := augment.NewImage(40, 30).WritePNG(run.path(filePreview)); err != nil {
		t.Fatal(err)
	}
	record(t, run, 0, 1, 2)

	// Killed while it wrote, and gone on with from the checkpoint before.
	f, err := os.OpenFile(run.path(fileMetrics), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"epoch":3,"lo`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if last, err := run.LastMetrics(); err != nil || last["epoch"] != 2 {
		t.Errorf("with half a line at the end: %v, %v", last, err)
	}
	record(t, run, 15, 2, 3)

	lines, err := run.readMetrics()
	if err != nil {
		t.Fatal(err)
	}
	want := []map[string]float64{ // NaN is left out
		{"epoch": 1, "step": 10, "loss": 4}, {"epoch": 2, "step": 20, "loss": 2},
		{"epoch": 3, "step": 30, "loss": 4. / 3},
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Errorf("metrics.jsonl: %s", d)
	}

	files := eventFiles(t, run)
	if len(files) != 2 {
		t.Fatalf("event files %v", files)
	}
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got := string(data)
		// pictures, restarts (session_log with status START), curves
		for part, n := range map[string]int{"\x89PNG": 1 - i, "\x3a\x02\x08\x01": 1, "\x0a\x04loss": 2, "\x0a\x03knn": 2} {
			if strings.Count(got, part) != n {
				t.Errorf("%s: %q comes %d times, want %d", file, part, strings.Count(got, part), n)
			}
		}
	}
}

func TestRecorderNeedsARun(t *testing.T) {
	run := &Run{Dir: filepath.Join(t.TempDir(), "missing")}
	if _, err := newRecorder(run, 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	run = &Run{Dir: t.TempDir()}
	if err := writeFile(run.path(filePreview), []byte("no picture")); err != nil {
		t.Fatal(err)
	}
	if _, err := newRecorder(run, 0); !errors.Is(err, augment.ErrFormat) {
		t.Errorf("a broken preview: %v", err)
	}
}

func TestMetricCurves(t *testing.T) {
	curves, err := metricCurves([]map[string]float64{
		{"epoch": 1, "step": 10, "loss": 5, "zeta": 1, "knn": 0.25},
		{"epoch": 3, "step": 30, "loss": 9, "gone": 1},
		{"epoch": 2, "step": 20, "loss": 4, "alpha": 1},
		{"epoch": 3, "step": 30, "loss": 3, "uniformity": -2, "alignment": 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range curves {
		names = append(names, c.name)
	}
	// What the first record of epoch 3 alone had does not count.
	if want := []string{"loss", "alignment", "uniformity", "knn", "alpha", "zeta"}; !slices.Equal(names, want) {
		t.Errorf("curves %v, want %v", names, want)
	}
	for i, p := range curves[0].points {
		if want := float64(i + 1); p.X != want || p.Y != 6-want {
			t.Errorf("loss of epoch %g is %g", p.X, p.Y)
		}
	}
	if p := curves[3].points; len(p) != 1 || p[0].Y != 0.25 {
		t.Errorf("knn %v", p)
	}
}

func TestTicksSayWhereTheyAre(t *testing.T) {
	for _, c := range []struct {
		lo, hi, smallest float64
		want             string
	}{
		{4.547, 4.998, 0, "4.6 4.7 4.8 4.9"},
		{-2.9675, -2.8512, 0, "-2.96 -2.94 -2.92 -2.90 -2.88 -2.86"},
		{0, 1, 0, "0.0 0.2 0.4 0.6 0.8 1.0"},
		{1, 10, 1, "2 4 6 8 10"},
		{1, 2, 1, "1 2"},
		{0.5, 1.5, 1, "1"},
		{1, 800, 1, "200 400 600 800"},
		{-1e-7, 2.6e-7, 0, "-1e-07 0 1e-07 2e-07"},
		{2.2e-7, 3.2e-7, 0, "2.2e-07 2.4e-07 2.6e-07 2.8e-07 3.0e-07 3.2e-07"},
	} {
		var labels []string
		for _, tick := range ticks(c.lo, c.hi, c.smallest) {
			labels = append(labels, tick.Label)
			if v, err := strconv.ParseFloat(tick.Label, 64); err != nil || math.Abs(v-tick.Value) > 1e-9*math.Abs(v) {
				t.Errorf("the tick at %g says %s", tick.Value, tick.Label)
			}
		}
		if got := strings.Join(labels, " "); got != c.want {
			t.Errorf("from %g to %g: %s, want %s", c.lo, c.hi, got, c.want)
		}
	}
}

// TestPlotMetrics looks for each plot's line in its part of the picture.
func TestPlotMetrics(t *testing.T) {
	run := &Run{Dir: t.TempDir()}
	if err := run.PlotMetrics(); err != nil {
		t.Errorf("without metrics: %v", err)
	}
	if _, err := os.Stat(run.path(fileCurves)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without metrics there is a picture: %v", err)
	}
	for epoch := range 4 {
		err := run.appendMetrics(map[string]any{"epoch": epoch + 1, "loss": 5 - epoch, "alignment": 0.5, "knn": 0.1 * float64(epoch)})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := run.PlotMetrics(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(run.path(fileCurves))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	w, h := m.Bounds().Dx()/2, m.Bounds().Dy()/2
	for i, want := range []bool{true, true, true, false} { // 2 x 2 places for 3 metrics
		blue := 0
		for y := range h {
			for x := range w {
				r, _, b, _ := m.At(i%2*w+x, i/2*h+y).RGBA()
				if b > r+0x4000 {
					blue++
				}
			}
		}
		if got := blue > w/2; got != want {
			t.Errorf("place %d of the picture has %d coloured pixels", i, blue)
		}
	}
}

func TestBadMetrics(t *testing.T) {
	for text, want := range map[string]string{
		"{\"epoch\":1}\nno json\n":          "metrics.jsonl:2: invalid character",
		"{\"epoch\":1,\"loss\":\"high\"}\n": "metrics.jsonl:1: ",
		"{\"loss\":1}\n":                    "entry 1 has no epoch",
		"{\"epoch\":1.5}\n":                 "entry 1 is of epoch 1.5",
		"{\"epoch\":1e12}\n":                "entry 1 is of epoch 1e+12",
		"{\"epoch\":1,\"loss\":1e300}\n":    "loss is 1e+300 in epoch 1",
	} {
		run := &Run{Dir: t.TempDir()}
		if err := writeFile(run.path(fileMetrics), []byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := run.PlotMetrics(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// FuzzMetrics draws what a file of metrics holds.
func FuzzMetrics(f *testing.F) {
	f.Add([]byte("{\"epoch\":1,\"step\":10,\"loss\":4.5}\n{\"epoch\":2,\"loss\":4.25,\"knn\":0.5}\n{\"epoch\":2"))
	f.Add([]byte("{\"epoch\":0,\"a\":1e30}\n{\"epoch\":999999999,\"a\":1.000001e30,\"b\":-3e38}\n"))
	f.Add([]byte("{\"epoch\":7,\"\":1e-300}\n\n{\"epoch\":8,\"\":2e-300,\"é\":0}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines, err := parseMetrics(data)
		if err != nil {
			return
		}
		curves, err := metricCurves(lines)
		if err != nil || len(curves) == 0 || len(curves) > 6 {
			return
		}
		if _, err := drawCurves(curves); err != nil {
			t.Error(err)
		}
	})
}
