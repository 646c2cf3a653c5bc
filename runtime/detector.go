package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime/ort"
)

// Names of a detector's second input and of its outputs.
const (
	InputThreshold = "threshold" // float32 scalar; the file has a default
	OutputScore    = "score"     // float32 [N], larger is less normal
	OutputHeatmap  = "heatmap"   // float32 [N, 1, H, W], of detectors that have one
	OutputDecision = "decision"  // bool [N], the score is above the threshold
)

// Detector finds images that are not normal. Images are run one by one, so that a
// score depends on the image alone. It must be closed; all methods are safe for
// concurrent use.
type Detector struct {
	name      string
	session   *ort.Session
	info      onnx.Info
	pre       augment.Preprocess
	batch     int // images of a run; the first counts
	bytes     bool
	heat      bool
	threshold float32
}

// Detection is what a detector says of an image.
type Detection struct {
	Score     float32
	Anomalous bool     // the score is above the threshold
	Heatmap   *Heatmap // nil when the detector judges images as a whole
}

// LoadDetector opens the ONNX file of a detector. opt.Threshold replaces the
// threshold in the file.
func LoadDetector(path string, opt Options) (*Detector, error) {
	d := &Detector{name: filepath.Base(path), batch: 1}
	fail := func(err error) (*Detector, error) {
		return nil, fmt.Errorf("runtime: load %s: %w", d.name, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("runtime: load model: %w", err)
	}
	model, err := onnx.Unmarshal(data)
	if err != nil {
		return fail(err)
	}
	if d.info, err = onnx.ReadInfo(model); err != nil {
		return fail(err)
	}
	if k := d.info.Kind; k != onnx.KindDetector {
		if k == "" {
			k = "model without metadata"
		}
		return fail(fmt.Errorf("it is a %s, want a detector (sslrt anomaly fit)", k))
	}
	in, err := ImageInput(model)
	if err != nil {
		return fail(err)
	}
	d.bytes = in.Type == onnx.Uint8
	if d.pre, err = InputPreprocess(d.info, in, opt.Preprocess); err != nil {
		return fail(err)
	}
	if d.info.Threshold == nil {
		return fail(fmt.Errorf("its metadata lack %s", onnx.KeyThreshold))
	}
	d.threshold = float32(*d.info.Threshold)
	if opt.Threshold != nil {
		d.threshold = float32(*opt.Threshold)
	}
	if _, err := ort.Init(ort.FindOptions{Path: opt.Library}); err != nil {
		return nil, err
	}
	so := opt.Session
	shape := sizes(in)
	if shape[0] > 0 {
		d.batch = shape[0]
	}
	so.Inputs = []ort.Info{{Name: in.Name, Type: ort.Float32, Shape: shape}, {Name: InputThreshold, Type: ort.Float32}}
	if d.bytes {
		so.Inputs[0].Type = ort.Uint8
	}
	d.heat = slices.ContainsFunc(model.Graph.Outputs, func(o *onnx.ValueInfo) bool { return o.Name == OutputHeatmap })
	so.Outputs = []ort.Info{{Name: OutputScore, Type: ort.Float32, Shape: []int{-1}}, {Name: OutputDecision, Type: ort.Bool, Shape: []int{-1}}}
	if d.heat {
		so.Outputs = append(so.Outputs, ort.Info{Name: OutputHeatmap, Type: ort.Float32, Shape: []int{-1, 1, d.pre.Height, d.pre.Width}})
	}
	if d.session, err = ort.OpenFile(path, so); err != nil {
		return fail(err)
	}
	return d, nil
}

// Info returns the metadata of the detector's file.
func (d *Detector) Info() onnx.Info { return d.info }

// Preprocess returns how an image becomes the detector's input.
func (d *Detector) Preprocess() augment.Preprocess { return d.pre }

// Threshold returns the score above which an image is anomalous.
func (d *Detector) Threshold() float64 { return float64(d.threshold) }

// HasHeatmap reports whether the detector says where in an image it finds something.
func (d *Detector) HasHeatmap() bool { return d.heat }

// Close waits for calls under way and frees the model. A second Close does nothing.
func (d *Detector) Close() error { return d.session.Close() }

// DetectFile judges the image in a file.
func (d *Detector) DetectFile(ctx context.Context, path string) (Detection, error) {
	m, err := augment.DecodeFile(path)
	if err != nil {
		return Detection{}, fmt.Errorf("runtime: detect: %w", err)
	}
	return d.Detect(ctx, m)
}

// Detect judges a decoded image.
func (d *Detector) Detect(ctx context.Context, m *augment.Image) (Detection, error) {
	if m == nil || m.W < 1 || m.H < 1 || len(m.Pix) != m.W*m.H*3 {
		return Detection{}, errors.New("runtime: detect: the image has no pixels, or not W*H*3 of them")
	}
	if d.bytes {
		x := make([]uint8, d.pre.Len())
		d.pre.Bytes(x, m)
		return run(ctx, d, x)
	}
	x := make([]float32, d.pre.Len())
	d.pre.Tensor(x, m)
	return run(ctx, d, x)
}

// run judges one prepared image.
func run[T uint8 | float32](ctx context.Context, d *Detector, x []T) (Detection, error) {
	fail := func(err error) (Detection, error) { return Detection{}, fmt.Errorf("runtime: run %s: %w", d.name, err) }
	p := d.pre
	if d.batch > 1 {
		x = append(slices.Clip(x), make([]T, (d.batch-1)*p.Len())...)
	}
	shape := []int{d.batch, p.Channels, p.Height, p.Width}
	if d.bytes {
		shape = []int{d.batch, p.Height, p.Width, p.Channels}
	}
	in, err := ort.NewTensor(shape, x)
	if err != nil {
		return fail(err)
	}
	threshold, err := ort.NewTensor(nil, []float32{d.threshold})
	if err != nil {
		return fail(err)
	}
	out := make([]*ort.Tensor, 2, 3)
	if d.heat {
		out = out[:3]
	}
	if err := d.session.Run(ctx, []*ort.Tensor{in, threshold}, out); err != nil {
		return fail(err)
	}
	score, err := ort.Data[float32](out[0])
	if err != nil {
		return fail(err)
	}
	decision, err := ort.Data[bool](out[1])
	if err != nil {
		return fail(err)
	}
	found := Detection{Score: score[0], Anomalous: decision[0]}
	if d.heat {
		heat, err := ort.Data[float32](out[2])
		if err != nil {
			return fail(err)
		}
		found.Heatmap = &Heatmap{W: p.Width, H: p.Height, Values: heat[:p.Width*p.Height]}
	}
	return found, nil
}

// DetectAll judges all images of src, in order, and hands each result to each with
// the image's index. Images are decoded beside the model; memory does not grow with
// their number. An image that cannot be read is left out and reported; that none can
// be read is an error.
func DetectAll(ctx context.Context, d *Detector, src augment.Source, opt JobOptions, each func(i int, found Detection) error) (Summary, error) {
	var sum Summary
	loader, err := augment.NewLoader(src, augment.LoaderOptions{BatchSize: min(max(opt.BatchSize, 1), src.Len()),
		Preprocess: d.pre, Workers: opt.Workers, Bytes: d.bytes, KeepFailed: true})
	if err != nil {
		return sum, fmt.Errorf("runtime: detect: %w", err)
	}
	defer loader.Close()
	size := d.pre.Len()
	for done := 0; ; {
		b, err := loader.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return sum, fmt.Errorf("runtime: detect: %w", err)
		}
		for _, s := range b.Skipped {
			sum.Skipped = append(sum.Skipped, s)
			if opt.Skipped != nil {
				opt.Skipped(s)
			}
		}
		for k, i := range b.Index {
			if b.Failed != nil && b.Failed[k] != nil {
				continue
			}
			var found Detection
			if d.bytes {
				found, err = run(ctx, d, b.Pixels[0][k*size:(k+1)*size])
			} else {
				found, err = run(ctx, d, b.Views[0][k*size:(k+1)*size])
			}
			if err == nil {
				err = each(i, found)
			}
			if err != nil {
				return sum, err
			}
			sum.Embedded++
		}
		done += len(b.Index)
		loader.Release(b)
		if opt.Progress != nil {
			opt.Progress(done, src.Len())
		}
	}
	if sum.Embedded == 0 {
		return sum, fmt.Errorf("runtime: detect: none of %d images could be read; the first: %w", src.Len(), sum.Skipped[0].Err)
	}
	return sum, nil
}
