package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sbinet/npyio"
	"github.com/sbinet/npyio/npz"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime/ort"
)

// testCase is a checkpoint and the arrays beside it.
type testCase struct {
	name  string
	file  string // perhaps compressed
	data  string // an .npz file or a folder of .npy files
	pairs bool
}

// find lists the cases of the shared folder.
func find(shared string) ([]testCase, error) {
	var cases []testCase
	arrays, err := filepath.Glob(filepath.Join(shared, "checkpoints", "*.npz"))
	if err != nil {
		return nil, err
	}
	for _, a := range arrays {
		base := strings.TrimSuffix(a, ".npz")
		file := base + ".gz"
		if _, err := os.Stat(file); err != nil {
			file = base
		}
		cases = append(cases, testCase{name: filepath.Base(base), file: file, data: a})
	}
	err = filepath.WalkDir(filepath.Join(shared, "models"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || !strings.HasSuffix(path, ".pairs") {
			return err
		}
		base := strings.TrimSuffix(path, ".pairs")
		for _, ext := range []string{".th", ".pth", ".pt", ".ckpt", ".safetensors"} {
			if _, err := os.Stat(base + ext); err == nil {
				cases = append(cases, testCase{name: filepath.Base(base) + ext, file: base + ext, data: path, pairs: true})
			}
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil && len(cases) == 0 {
		err = fmt.Errorf("%s has no checkpoints with outputs beside them", shared)
	}
	return cases, err
}

// unpack writes the checkpoint to a folder, under its own name.
func (c testCase) unpack(dir string) (string, error) {
	if !strings.HasSuffix(c.file, ".gz") {
		return filepath.Abs(c.file)
	}
	in, err := os.Open(c.file)
	if err != nil {
		return "", err
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, c.name)
	out, err := os.Create(path)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, z)
	return path, errors.Join(err, out.Close())
}

// wanted is an array and the part of the network that gives it.
type wanted struct {
	array, part, output, column string
	unit                        bool // rows are compared at length 1
}

// outputs lists what of a case can be compared.
func (c testCase) outputs(d data) []wanted {
	var out []wanted
	for _, w := range []wanted{
		{"features", "encoder", "embedding", "features", false},
		{"h", "encoder", "embedding", "features", false},
		{"projector", "projector", "projection", "projector", false},
		{"projector_l2", "projector", "projection", "projector", true},
		{"z", "projector", "projection", "projector", false},
		{"classifier_logits", "classifier", "logits", "classifier", false},
		{"output", "classifier", "logits", "classifier", false},
	} {
		if d.has(w.array) {
			out = append(out, w)
		}
	}
	return out
}

// export runs the command that is tested: import and export in one go.
func (r *runner) export(ctx context.Context, file, model, part string, size int) (profile string, err error) {
	cmd := exec.CommandContext(ctx, r.bin, "export", model, "--checkpoint", file, "--part", part, "--image-size", strconv.Itoa(size), "--json")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	if r.log != nil {
		fmt.Fprintf(r.log, "%s\n%s", strings.Join(cmd.Args, " "), stdout.String())
	}
	var result struct {
		Import struct {
			Profile string `json:"profile"`
		} `json:"import"`
	}
	err = json.Unmarshal(stdout.Bytes(), &result)
	return result.Import.Profile, err
}

// compareOutput runs a model and returns the largest difference over the largest
// value.
func compareOutput(ctx context.Context, model string, input []float32, shape []int, d data, w wanted) (float64, error) {
	s, err := ort.OpenFile(model, ort.Options{})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	x, err := ort.NewTensor(shape, input)
	if err != nil {
		return 0, err
	}
	out, err := s.RunMap(ctx, map[string]*ort.Tensor{"image": x})
	if err != nil {
		return 0, err
	}
	if out[w.output] == nil {
		return 0, fmt.Errorf("the model has no output %q", w.output)
	}
	got, err := ort.Data[float32](out[w.output])
	if err != nil {
		return 0, err
	}
	want, wantShape, err := d.floats(w.array)
	if err != nil {
		return 0, err
	}
	if len(got) != len(want) || len(wantShape) == 0 {
		return 0, fmt.Errorf("the model gives %v, want %v", out[w.output].Shape(), wantShape)
	}
	if w.unit {
		got = units(got, wantShape[len(wantShape)-1])
	}
	return difference(got, want), nil
}

// units scales rows of n values to length 1.
func units(v []float32, n int) []float32 {
	out := make([]float32, len(v))
	for lo := 0; lo+n <= len(v); lo += n {
		sum := 0.0
		for _, x := range v[lo : lo+n] {
			sum += float64(x) * float64(x)
		}
		for i := lo; i < lo+n; i++ {
			out[i] = float32(float64(v[i]) / max(math.Sqrt(sum), 1e-12))
		}
	}
	return out
}

func difference(got, want []float32) float64 {
	worst, largest := 0.0, 0.0
	for i := range want {
		d := math.Abs(float64(got[i]) - float64(want[i]))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		worst, largest = max(worst, d), max(largest, math.Abs(float64(want[i])))
	}
	return worst / max(largest, 1e-30)
}

// compareInput prepares the stored pixels by the model's metadata and returns the
// difference from the stored input, over its largest value.
func compareInput(model string, input []float32, shape []int, d data) (float64, error) {
	m, err := onnx.ReadFile(model)
	if err != nil {
		return 0, err
	}
	info, err := onnx.ReadInfo(m)
	if err != nil {
		return 0, err
	}
	pre, err := augment.ParsePreprocess(info.Preprocess)
	if err != nil {
		return 0, err
	}
	pixels, _, err := d.floats("image_u8") // [N, H, W, 3]
	if err != nil {
		return 0, err
	}
	n, c, h, w := shape[0], shape[1], shape[2], shape[3]
	got := make([]float32, len(input))
	if len(pixels) != n*h*w*3 || c != 3 {
		return 0, fmt.Errorf("image_u8 has %d values for an input of %v", len(pixels), shape)
	}
	for i := range n {
		for ch := range c {
			for p := range h * w {
				got[(i*c+ch)*h*w+p] = (pixels[(i*h*w+p)*3+ch]/255 - pre.Mean[ch]) / pre.Std[ch]
			}
		}
	}
	return difference(got, input), nil
}

// data are the arrays of a case.
type data interface {
	has(name string) bool
	names() []string
	floats(name string) (values []float32, shape []int, err error)
	close()
}

func (c testCase) load() (data, error) {
	if c.pairs {
		return folder(c.data), nil
	}
	r, err := npz.Open(c.data)
	if err != nil {
		return nil, err
	}
	return archive{r}, nil
}

type archive struct{ r *npz.Reader }

func (a archive) close() { a.r.Close() }

func (a archive) names() []string {
	var out []string
	for _, k := range a.r.Keys() {
		out = append(out, strings.TrimSuffix(k, ".npy"))
	}
	return out
}

func (a archive) has(name string) bool { return a.r.Header(name+".npy") != nil }

func (a archive) floats(name string) ([]float32, []int, error) {
	h := a.r.Header(name + ".npy")
	if h == nil {
		return nil, nil, fmt.Errorf("there is no array %q", name)
	}
	v, err := convert(h.Descr.Type, func(to any) error { return a.r.Read(name+".npy", to) })
	return v, h.Descr.Shape, err
}

type folder string

func (f folder) close() {}

func (f folder) names() []string {
	found, _ := filepath.Glob(filepath.Join(string(f), "*.npy"))
	var out []string
	for _, p := range found {
		out = append(out, strings.TrimSuffix(filepath.Base(p), ".npy"))
	}
	return out
}

func (f folder) path(name string) string { return filepath.Join(string(f), name+".npy") }

func (f folder) has(name string) bool {
	_, err := os.Stat(f.path(name))
	return err == nil
}

func (f folder) floats(name string) ([]float32, []int, error) {
	x, err := os.Open(f.path(name))
	if err != nil {
		return nil, nil, err
	}
	defer x.Close()
	r, err := npyio.NewReader(x)
	if err != nil {
		return nil, nil, err
	}
	v, err := convert(r.Header.Descr.Type, func(to any) error { return r.Read(to) })
	return v, r.Header.Descr.Shape, err
}

// convert reads an array of any of the stored types as float32.
func convert(typ string, read func(to any) error) ([]float32, error) {
	switch typ {
	case "<f4":
		var v []float32
		err := read(&v)
		return v, err
	case "<f8":
		var v []float64
		err := read(&v)
		return widen(v), err
	case "|u1":
		var v []uint8
		err := read(&v)
		return widen(v), err
	}
	return nil, fmt.Errorf("an array of type %q", typ)
}

func widen[T float64 | uint8](v []T) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}
