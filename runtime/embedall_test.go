package runtime_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
	"github.com/sslrt/sslrt/runtime/ort"
)

// madeUp is a source of images made on demand.
type madeUp struct {
	n     int
	order func(i int) int // which picture stands at place i; nil for the same
	bad   func(i int) bool
}

func (s madeUp) at(i int) int {
	if s.order != nil {
		return s.order(i)
	}
	return i
}
func (s madeUp) Len() int          { return s.n }
func (s madeUp) Name(i int) string { return fmt.Sprintf("%06d.png", s.at(i)) }
func (s madeUp) Label(i int) int   { return s.at(i)%3 - 1 }
func (s madeUp) Classes() []string { return []string{"cat", "dog"} }
func (s madeUp) Close() error      { return nil }
func (s madeUp) Image(i int) (*augment.Image, error) {
	if s.bad != nil && s.bad(s.at(i)) {
		return nil, fmt.Errorf("%s: unexpected EOF", s.Name(i))
	}
	return picture(uint64(s.at(i)), 18, 15), nil
}

func TestEmbedAll(t *testing.T) {
	needLibrary(t)
	e := load(t, build(t, modelSpec{info: encoderInfo(16), batch: onnx.Symbol("N"), size: 16}), runtime.Options{})
	bad := func(i int) bool { return i%50 == 7 }
	const n = 200
	var want runtime.Embeddings
	for i := range n {
		if bad(i) {
			continue
		}
		y, err := e.EmbedBatch(context.Background(), []*augment.Image{picture(uint64(i), 18, 15)})
		if err != nil {
			t.Fatal(err)
		}
		want.Write(fmt.Sprintf("%06d.png", i), []string{"", "cat", "dog"}[i%3], y)
	}
	// The same with runs beside each other, on fewer threads each.
	beside := load(t, build(t, modelSpec{info: encoderInfo(16), batch: onnx.Symbol("N"), size: 16}), runtime.Options{Runs: 3, Session: ort.Options{Threads: 4}})
	for _, c := range []struct {
		e              *runtime.Encoder
		batch, workers int
	}{{e, 0, 0}, {e, 1, 1}, {e, 7, 3}, {e, 64, 2}, {e, 1000, 5}, {beside, 0, 0}, {beside, 1, 3}, {beside, 7, 1}, {beside, 1000, 2}} {
		var got runtime.Embeddings
		var skipped []string
		last := 0
		sum, err := runtime.EmbedAll(context.Background(), c.e, madeUp{n: n, bad: bad}, &got, runtime.JobOptions{
			BatchSize: c.batch, Workers: c.workers,
			Progress: func(done, total int) {
				if done <= last || total != n {
					t.Errorf("progress: got %d of %d after %d", done, total, last)
				}
				last = done
			},
			Skipped: func(s augment.SkippedImage) { skipped = append(skipped, s.Name) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if sum.Done != n-4 || len(sum.Skipped) != 4 || last != n {
			t.Errorf("%v: got %d embedded, %d skipped, %d done, want %d, 4, %d", c, sum.Done, len(sum.Skipped), last, n-4, n)
		}
		if want := []string{"000007.png", "000057.png", "000107.png", "000157.png"}; !slices.Equal(skipped, want) {
			t.Errorf("%v: skipped: got %v, want %v", c, skipped, want)
		}
		if err := sum.Skipped[0].Err; err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
			t.Errorf("%v: reason: got %v", c, err)
		}
		if !slices.Equal(got.Files, want.Files) || !slices.Equal(got.Labels, want.Labels) || !equalBits(got.X, want.X) {
			t.Errorf("%v: the embeddings differ", c)
		}
	}
	// Another order permutes the rows and changes no bit.
	var got runtime.Embeddings
	if _, err := runtime.EmbedAll(context.Background(), e, madeUp{n: n, order: func(i int) int { return (i*77 + 3) % n }, bad: bad}, &got, runtime.JobOptions{}); err != nil {
		t.Fatal(err)
	}
	for i, f := range got.Files {
		k := slices.Index(want.Files, f)
		if !equalBits(got.X[i*testDim:(i+1)*testDim], want.X[k*testDim:(k+1)*testDim]) {
			t.Fatalf("%s in another order: the embedding differs", f)
		}
	}
}

func TestEmbedAllUint8(t *testing.T) {
	needLibrary(t)
	info := encoderInfo(16)
	info.Input = onnx.InputUint8
	e := load(t, build(t, modelSpec{info: info, batch: onnx.Symbol("N"), size: 16, bytes: true}), runtime.Options{})
	var got runtime.Embeddings
	if _, err := runtime.EmbedAll(context.Background(), e, madeUp{n: 11}, &got, runtime.JobOptions{BatchSize: 4}); err != nil {
		t.Fatal(err)
	}
	want, err := e.EmbedBatch(context.Background(), []*augment.Image{picture(10, 18, 15)})
	if err != nil || got.Len() != 11 || !equalBits(got.X[10*testDim:], want) {
		t.Errorf("got %d rows, last %v, %v, want 11, %v", got.Len(), got.X[10*testDim:], err, want)
	}
}

type failingSink struct{ after int }

func (s *failingSink) Write(string, string, []float32) error {
	if s.after--; s.after < 0 {
		return errors.New("no space left on device")
	}
	return nil
}

func TestEmbedAllStops(t *testing.T) {
	needLibrary(t)
	for _, runs := range []int{1, 2} {
		embedAllStops(t, load(t, build(t, modelSpec{info: encoderInfo(16), batch: onnx.Symbol("N"), size: 16}),
			runtime.Options{Runs: runs, Session: ort.Options{Threads: 2}}))
	}
}

func embedAllStops(t *testing.T, e *runtime.Encoder) {
	bg := context.Background()
	if sum, err := runtime.EmbedAll(bg, e, madeUp{n: 90}, &failingSink{after: 33}, runtime.JobOptions{BatchSize: 10}); err == nil ||
		!strings.Contains(err.Error(), "no space left") || sum.Done != 33 {
		t.Errorf("failing sink: got %d embedded, %v, want 33 and no space left", sum.Done, err)
	}
	ctx, cancel := context.WithCancel(bg)
	var kept runtime.Embeddings
	sum, err := runtime.EmbedAll(ctx, e, madeUp{n: 1000}, &kept, runtime.JobOptions{BatchSize: 10, Progress: func(done, _ int) {
		if done == 50 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || sum.Done != 50 || kept.Len() != 50 {
		t.Errorf("cancelled: got %d embedded, %d kept, %v, want 50 and cancelled", sum.Done, kept.Len(), err)
	}
	all := func(int) bool { return true }
	if sum, err := runtime.EmbedAll(bg, e, madeUp{n: 9, bad: all}, &kept, runtime.JobOptions{}); err == nil ||
		!strings.Contains(err.Error(), "none of 9 images") || len(sum.Skipped) != 9 {
		t.Errorf("all unreadable: got %v", err)
	}
	if _, err := runtime.EmbedAll(bg, e, madeUp{n: 0}, &kept, runtime.JobOptions{}); err == nil {
		t.Error("no images: got no error")
	}
	if _, err := runtime.EmbedAll(bg, e, madeUp{n: 5}, &kept, runtime.JobOptions{BatchSize: -1}); err == nil {
		t.Error("batch size -1: got no error")
	}
}

func TestJSONLines(t *testing.T) {
	needLibrary(t)
	e := load(t, build(t, modelSpec{info: encoderInfo(16), batch: onnx.Symbol("N"), size: 16}), runtime.Options{})
	path := filepath.Join(t.TempDir(), "x.jsonl")
	s, err := runtime.Create(path, e.Dim())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runtime.EmbedAll(context.Background(), e, madeUp{n: 3}, s, runtime.JobOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if len(lines) != 3 {
		t.Fatalf("got %d lines, want 3", len(lines))
	}
	for i, want := range []string{"", "cat", "dog"} {
		var o map[string]any
		if err := json.Unmarshal(lines[i], &o); err != nil {
			t.Fatal(err)
		}
		if label, ok := o["label"]; (ok || want != "") && label != want {
			t.Errorf("line %d: got label %v, want %q", i, label, want)
		}
		if x, ok := o["embedding"].([]any); !ok || len(x) != testDim {
			t.Errorf("line %d: got embedding %v, want %d numbers", i, o["embedding"], testDim)
		}
	}
}
