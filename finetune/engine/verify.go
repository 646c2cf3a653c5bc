package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime/ort"
)

// Tolerance is the largest error at which two programs agree: the largest
// difference beside the largest value, see Verification.
const Tolerance = 1e-5

// WriteVerified writes a model to a temporary folder beside path, has verify look
// at the file there, and gives it its name only when that returns no error. A nil
// verify is no check. A file that exists is refused unless force is set.
func WriteVerified(path string, m *onnx.Model, force bool, verify func(file string) error) error {
	fail := func(err error) error { return fmt.Errorf("engine: write %s: %w", path, err) }
	if err := free(path, force); err != nil {
		return fail(err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, filepath.Base(path))
	if err := onnx.WriteFile(file, m); err != nil {
		return fail(err)
	}
	if verify != nil {
		if err := verify(file); err != nil {
			if errors.Is(err, ort.ErrNoLibrary) {
				err = fmt.Errorf("%w; or write the file without the check by --no-verify", err)
			}
			return fail(err)
		}
	}
	// A large model has its data in a second file, which must be there first.
	for _, suffix := range []string{".data", ""} {
		if err := os.Rename(file+suffix, path+suffix); err != nil && !(suffix != "" && errors.Is(err, os.ErrNotExist)) {
			return fail(err)
		}
	}
	return nil
}

func free(path string, force bool) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New("there is something of that name that is no file")
	case !force:
		return errors.New("the file exists: choose another name, or replace it by --force")
	}
	return nil
}

// Reference builds what a file must agree with for batches of n images: a function
// whose input is export.InputImage, or export.InputEmbedding where codes are compared,
// and whose outputs have the file's names.
type Reference func(n int) (Function, error)

// VerifyOptions says on which images a file and its reference are compared.
type VerifyOptions struct {
	Preprocess augment.Preprocess // of the file
	Images     augment.Source     // real images beside the random ones; may be nil
	Code       int                // not 0: compare on random codes of this size instead of images
	BatchSizes []int              // default 1, 3; real images go in batches of the last
	Session    ort.Options        // Inputs and Outputs are left to the file
	Tolerance  float64            // largest error; 0 is the constant Tolerance
}

// Verification is how far a file and its reference agree.
type Verification struct {
	// MaxError is the largest of max|difference| / max|value| over all outputs and
	// batches, and Output the output that has it.
	MaxError float64
	Output   string

	Random, Images int      // images compared
	Skipped        []string // images that could not be read, with the reason
}

// Add compares values of an output with those they should be.
func (v *Verification) Add(output string, got, want []float32) {
	v.add(output, relative(got, want))
}

func (v *Verification) add(output string, err float64) {
	if err > v.MaxError || v.Output == "" || math.IsNaN(err) {
		v.MaxError, v.Output = err, output
	}
}

// Verify runs an ONNX file on ONNX Runtime and its reference with these parameters
// on the Go machine, on random and on real images. An error above the tolerance
// is an error; what was measured is returned with it.
func Verify(ctx context.Context, file string, ref Reference, params Tensors, opt VerifyOptions) (Verification, error) {
	v := verifier{opt: opt, ref: ref, params: params}
	defer v.close()
	if len(v.opt.BatchSizes) == 0 {
		v.opt.BatchSizes = []int{1, 3}
	}
	opt.Session.Inputs, opt.Session.Outputs = nil, nil
	var err error
	if v.session, err = ort.OpenFile(file, opt.Session); err != nil {
		return Verification{}, fmt.Errorf("engine: verify: %w", err)
	}
	if err := v.run(ctx); err != nil {
		return v.found, fmt.Errorf("engine: verify: %w", err)
	}
	most := opt.Tolerance
	if most == 0 {
		most = Tolerance
	}
	if !(v.found.MaxError <= most) {
		return v.found, fmt.Errorf("engine: verify: output %q of the file and of the graph differ by %.3g of the largest value, want at most %g",
			v.found.Output, v.found.MaxError, most)
	}
	return v.found, nil
}

type verifier struct {
	opt     VerifyOptions
	ref     Reference
	params  Tensors
	session *ort.Session
	found   Verification

	program Program // the reference, for batches of size images
	size    int
}

func (v *verifier) close() {
	if v.session != nil {
		v.session.Close()
	}
	if v.program != nil {
		v.program.Close()
	}
}

func (v *verifier) run(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(1, 2))
	pre := v.opt.Preprocess
	for _, n := range v.opt.BatchSizes {
		if v.opt.Code > 0 {
			codes := make([]float32, n*v.opt.Code)
			for i := range codes {
				codes[i] = float32(rng.NormFloat64())
			}
			if err := v.compareOn(ctx, export.InputEmbedding, nil, codes, n, v.opt.Code); err != nil {
				return err
			}
			v.found.Random += n
			continue
		}
		batch := make([]*augment.Image, n)
		for i := range batch {
			batch[i] = augment.NewImage(pre.Width, pre.Height)
			for k := range batch[i].Pix {
				batch[i].Pix[k] = uint8(rng.Uint32())
			}
		}
		if err := v.compare(ctx, batch); err != nil {
			return err
		}
		v.found.Random += n
	}
	if v.opt.Images == nil || v.opt.Code > 0 {
		return nil
	}
	var batch []*augment.Image
	last := v.opt.BatchSizes[len(v.opt.BatchSizes)-1]
	for i := range v.opt.Images.Len() {
		m, err := v.opt.Images.Image(i)
		if err != nil {
			v.found.Skipped = append(v.found.Skipped, err.Error())
			continue
		}
		batch = append(batch, pre.Apply(m))
		if len(batch) == last {
			if err := v.compare(ctx, batch); err != nil {
				return err
			}
			v.found.Images += len(batch)
			batch = batch[:0]
		}
	}
	if len(batch) > 0 {
		if err := v.compare(ctx, batch); err != nil {
			return err
		}
		v.found.Images += len(batch)
	}
	return nil
}

// compare runs both on images of the input's size.
func (v *verifier) compare(ctx context.Context, batch []*augment.Image) error {
	n, pre := len(batch), v.opt.Preprocess
	// The images have their final size: only the normalisation is left.
	pre.Resize, pre.ResizeTo, pre.Crop = augment.ResizeNone, 0, augment.CropCenter
	floats := make([]float32, n*pre.Len())
	for i, m := range batch {
		pre.Tensor(floats[i*pre.Len():(i+1)*pre.Len()], m)
	}
	var pixels []uint8
	if in := v.session.Inputs(); len(in) == 1 && in[0].Type == ort.Uint8 {
		pixels = make([]uint8, n*pre.Len())
		for i, m := range batch {
			pre.Bytes(pixels[i*pre.Len():(i+1)*pre.Len()], m)
		}
	}
	return v.compareOn(ctx, export.InputImage, pixels, floats, n, pre.Channels, pre.Height, pre.Width)
}

// compareOn runs both on values of an input. The file gets the bytes, [N, H, W, C],
// where there are some.
func (v *verifier) compareOn(ctx context.Context, name string, pixels []uint8, floats []float32, sizes ...int) error {
	inputs := v.session.Inputs()
	if len(inputs) != 1 || inputs[0].Name != name {
		return fmt.Errorf("the file's inputs are %v, want one, %q", inputs, name)
	}
	in, err := ort.NewTensor(sizes, floats)
	if pixels != nil {
		in, err = ort.NewTensor([]int{sizes[0], sizes[2], sizes[3], sizes[1]}, pixels)
	}
	if err != nil {
		return err
	}
	got, err := v.session.RunMap(ctx, map[string]*ort.Tensor{name: in})
	if err != nil {
		return err
	}
	if err := v.compile(sizes[0]); err != nil {
		return err
	}
	want, err := v.program.Run(ctx, Tensors{name: NewTensor(floats, sizes...)})
	if err != nil {
		return err
	}
	return v.found.compare(got, want)
}

// compile makes the reference ready for batches of n images.
func (v *verifier) compile(n int) error {
	if v.size == n {
		return nil
	}
	f, err := v.ref(n)
	if err != nil {
		return err
	}
	program, err := Go{}.Compile(f)
	if err != nil {
		return err
	}
	if v.program != nil {
		v.program.Close()
	}
	v.program, v.size = program, n
	return program.Load(v.params)
}

// compare adds the errors of all outputs.
func (v *Verification) compare(got map[string]*ort.Tensor, want Tensors) error {
	if len(got) != len(want) {
		return fmt.Errorf("the file has %d outputs, want %d", len(got), len(want))
	}
	for name, w := range want {
		g := got[name]
		if g == nil {
			return fmt.Errorf("the file has no output %q", name)
		}
		if !slices.Equal(g.Shape(), []int(w.Shape())) {
			return fmt.Errorf("output %q of the file is %v, want %v", name, g.Shape(), w.Shape())
		}
		values, err := ort.Data[float32](g)
		if err != nil {
			return fmt.Errorf("output %q: %w", name, err)
		}
		v.add(name, relative(values, w.Float32s()))
	}
	return nil
}

// relative is max|got - want| / max|want|, not a number when a value is none.
func relative(got, want []float32) float64 {
	diff, scale := 0.0, 0.0
	for i, w := range want {
		d := math.Abs(float64(got[i]) - float64(w))
		if math.IsNaN(d) {
			return d
		}
		diff = math.Max(diff, d)
		scale = math.Max(scale, math.Abs(float64(w)))
	}
	if diff == 0 {
		return 0
	}
	return diff / scale
}
