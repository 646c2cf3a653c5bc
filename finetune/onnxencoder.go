package finetune

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
	"github.com/sslrt/sslrt/runtime/ort"
)

// onnxPrefix starts the name of an encoder that is an ONNX file: "onnx:model.onnx",
// or "onnx:model.onnx#value" where a value of the file other than its output is the
// embedding.
const onnxPrefix = "onnx:"

// fileONNX is the copy of the file that a run keeps.
const fileONNX = "encoder.onnx"

// onnxFile returns the file of an encoder that is one, and its output, if it names
// one.
func (c *Config) onnxFile() (path, output string, ok bool) {
	name, ok := strings.CutPrefix(c.Encoder, onnxPrefix)
	path, output, _ = strings.Cut(name, "#")
	return path, output, ok
}

// setONNXFile makes another file the encoder's.
func (c *Config) setONNXFile(path string) {
	_, output, _ := c.onnxFile()
	c.Encoder = onnxPrefix + path
	if output != "" {
		c.Encoder += "#" + output
	}
}

// adoptONNX makes an ONNX file to start from the encoder: the network is in it too.
func (c *Config) adoptONNX() bool {
	if !strings.EqualFold(filepath.Ext(c.Init), ".onnx") {
		return false
	}
	c.Encoder, c.Init = onnxPrefix+c.Init, ""
	return true
}

// resolveONNX fills in what an encoder's ONNX file says of its images.
func (c *Config) resolveONNX() error {
	c.adoptONNX()
	path, _, ok := c.onnxFile()
	if !ok {
		return nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("finetune: encoder: %w", err)
	}
	c.setONNXFile(path)
	if c.Stem == "auto" {
		c.Stem = ""
	}
	size := c.ImageSize
	e, err := c.onnxEncoder()
	if err != nil && size == 0 {
		// A file that leaves the size open takes that of the images.
		return nil
	}
	if err != nil {
		return err
	}
	image := e.Image()
	if image[1] != image[2] {
		return fmt.Errorf("finetune: encoder %s: its images are %d x %d, want square ones", path, image[1], image[2])
	}
	c.ImageSize = image[1]
	return nil
}

// onnxCache keeps the file that was read last: a configuration makes its encoder
// again and again.
var onnxCache struct {
	sync.Mutex
	key string
	e   *export.Imported
}

// onnxEncoder reads the encoder's ONNX file.
func (c *Config) onnxEncoder() (*export.Imported, error) {
	path, output, _ := c.onnxFile()
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("finetune: encoder: %w", err)
	}
	key := fmt.Sprint(path, output, c.Channels, c.ImageSize, info.Size(), info.ModTime())
	onnxCache.Lock()
	defer onnxCache.Unlock()
	if onnxCache.key == key {
		return onnxCache.e, nil
	}
	m, err := onnx.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("finetune: encoder: %w", err)
	}
	e, err := export.Import(m, export.ImportOptions{Image: []int{c.Channels, c.ImageSize, c.ImageSize}, Output: output})
	if err != nil {
		return nil, fmt.Errorf("finetune: encoder %s: %w", path, err)
	}
	onnxCache.key, onnxCache.e = key, e
	return e, nil
}

// keepONNX copies the encoder's ONNX file into the run, so that it is complete.
func (r *Run) keepONNX() error {
	path, _, ok := r.Config.onnxFile()
	if !ok {
		return nil
	}
	m, err := onnx.ReadFile(path)
	if err != nil {
		return fmt.Errorf("finetune: create run: %w", err)
	}
	if err := onnx.WriteFile(r.path(fileONNX), m); err != nil {
		return fmt.Errorf("finetune: create run: %w", err)
	}
	return nil
}

// findONNX takes the run's own copy, wherever the directory is now.
func (r *Run) findONNX() {
	if _, _, ok := r.Config.onnxFile(); !ok {
		return
	}
	path, err := filepath.Abs(r.path(fileONNX))
	if err == nil {
		if _, err = os.Stat(path); err == nil {
			r.Config.setONNXFile(path)
		}
	}
}

// sameEncoder says whether two encoders are alike, also where two copies of one ONNX
// file are.
func (c Config) sameEncoder(other Config) bool {
	a, outA, ok := c.onnxFile()
	b, outB, also := other.onnxFile()
	if !ok || !also || outA != outB {
		return c.Encoder == other.Encoder
	}
	x, errA := onnx.ReadFile(a)
	y, errB := onnx.ReadFile(b)
	if errA != nil || errB != nil {
		return a == b
	}
	p, errA := x.Marshal()
	q, errB := y.Marshal()
	return errA == nil && errB == nil && bytes.Equal(p, q)
}

// ImportONNX makes a run of an ONNX file: its encoder, with the file's weights. The
// run can be exported, trained further by finetune, and runs can start from it.
// Weights that are not finite are an error.
func ImportONNX(path, dir string, c Config) (*Run, *export.Imported, error) {
	c.Encoder = onnxPrefix + path + c.Encoder
	c.Epochs, c.NoProjector = 0, true
	if err := c.resolveONNX(); err != nil {
		return nil, nil, err
	}
	e, err := c.onnxEncoder()
	if err != nil {
		return nil, nil, err
	}
	if bad := e.NonFinite(); len(bad) > 0 {
		return nil, nil, fmt.Errorf("finetune: import %s: %d tensors hold values that are infinite or not a number: %s", path, len(bad), shortList(bad))
	}
	if err := c.takePreprocess(e.Preprocess()); err != nil {
		return nil, nil, fmt.Errorf("finetune: import %s: %w", path, err)
	}
	pre := c.Preprocess()
	if c.Mean == nil {
		c.Mean = append([]float32(nil), pre.Mean[:c.Channels]...)
	}
	if c.Std == nil {
		c.Std = append([]float32(nil), pre.Std[:c.Channels]...)
	}
	r, err := CreateRun(dir, c)
	if err != nil {
		return nil, nil, err
	}
	state := models.StateDict{}
	for name, v := range e.Params() {
		state[backbonePrefix+name] = v
	}
	return r, e, r.SaveCheckpoint(state, CheckpointInfo{})
}

// takePreprocess takes over how a file says its images are normalised and resized,
// unless that is given.
func (c *Config) takePreprocess(entries map[string]string) error {
	if entries["mean"] == "" || entries["std"] == "" {
		return nil
	}
	p, err := augment.ParsePreprocess(entries)
	if err != nil {
		return err
	}
	if c.Mean == nil && c.Std == nil {
		c.Mean = append([]float32(nil), p.Mean[:c.Channels]...)
		c.Std = append([]float32(nil), p.Std[:c.Channels]...)
	}
	if c.Interpolation == "" {
		c.Interpolation = p.Interpolation.String()
	}
	if c.Crop == 0 && p.Resize == augment.ResizeShorter && p.ResizeTo > 0 {
		c.Crop = float64(min(p.Width, p.Height)) / float64(p.ResizeTo)
	}
	return nil
}

// writesBack says whether a part is written as the ONNX file that it came from, with
// other weights.
func (r *Run) writesBack(kind string, opt export.ModelOptions) bool {
	_, _, ok := r.Config.onnxFile()
	return ok && kind == onnx.KindEncoder && opt.Input != onnx.InputUint8
}

// backModel returns the encoder's ONNX file with the weights of a state, and its
// check.
func (r *Run) backModel(ctx context.Context, out *Exported, state models.StateDict, opt ExportOptions) (*onnx.Model, func(string) error, error) {
	e, err := r.Config.onnxEncoder()
	if err != nil {
		return nil, nil, err
	}
	params := models.StateDict{}
	for name, v := range trained(state) {
		if of, ok := strings.CutPrefix(name, backbonePrefix); ok {
			params[of] = v
		}
	}
	m, err := e.WriteBack(params)
	if err != nil || opt.NoVerify {
		return m, nil, err
	}
	return m, func(file string) error {
		out.Checked = true
		out.Verification, err = verifyBack(ctx, file, e.Image())
		return err
	}, nil
}

// backTolerance is the largest error of a file that others wrote: the order in which
// its operators are fused and summed is not ours, and weights that were hardly trained
// make much of that on random images.
const backTolerance = 1e-3

// verifyBack runs a file on ONNX Runtime and, decoded, on the Go machine. A file in
// float16 is only opened: ONNX Runtime computes it in another precision.
func verifyBack(ctx context.Context, file string, image []int) (engine.Verification, error) {
	var v engine.Verification
	fail := func(err error) (engine.Verification, error) { return v, fmt.Errorf("finetune: verify: %w", err) }
	session, err := ort.OpenFile(file, ort.Options{})
	if err != nil {
		return fail(err)
	}
	defer session.Close()
	m, err := onnx.ReadFile(file)
	if err != nil {
		return fail(err)
	}
	ins := session.Inputs()
	if len(ins) != 1 || len(ins[0].Shape) != 4 {
		return fail(fmt.Errorf("the file's inputs are %v, want one image", ins))
	}
	if ins[0].Type != ort.Float32 {
		return v, nil
	}
	sizes := []int{1, 3}
	if n := ins[0].Shape[0]; n > 0 {
		sizes = []int{n}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range sizes {
		shape := append([]int{n}, image...)
		x := make([]float32, op.Dims(shape...).Size())
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		in, err := ort.NewTensor(shape, x)
		if err != nil {
			return fail(err)
		}
		got, err := session.RunMap(ctx, map[string]*ort.Tensor{ins[0].Name: in})
		if err != nil {
			return fail(err)
		}
		want, err := runDecoded(ctx, m, ins[0].Name, x, shape)
		if err != nil {
			return fail(err)
		}
		for name, w := range want {
			values, err := ort.Data[float32](got[name])
			if err != nil {
				return fail(fmt.Errorf("output %q: %w", name, err))
			}
			v.Add(name, values, w.Float32s())
		}
		v.Random += n
	}
	if !(v.MaxError <= backTolerance) {
		return fail(fmt.Errorf("output %q of the file and of the graph differ by %.3g of the largest value, want at most %g", v.Output, v.MaxError, backTolerance))
	}
	return v, nil
}

// runDecoded computes the float32 outputs of a model on the Go machine.
func runDecoded(ctx context.Context, m *onnx.Model, input string, x []float32, shape []int) (engine.Tensors, error) {
	d, err := export.Decode(m, map[string]op.Shape{input: op.Dims(shape...)})
	if err != nil {
		return nil, err
	}
	var f engine.Function
	for _, o := range m.Graph.Outputs {
		if n := d.Outputs[o.Name]; n.DType == op.Float32 {
			f.Outputs = append(f.Outputs, export.Output{Name: o.Name, Node: n})
		}
	}
	if len(f.Outputs) == 0 {
		return nil, errors.New("the model has no float32 output")
	}
	p, err := engine.Go{}.Compile(f)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if err := p.Load(engine.Tensors(d.Params)); err != nil {
		return nil, err
	}
	return p.Run(ctx, engine.Tensors{input: engine.NewTensor(x, shape...)})
}
