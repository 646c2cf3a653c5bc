package runtime

import (
	"context"
	"errors"
	"fmt"
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
	tile      int // side of the tiles that images are cut into, 0 for none
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
			return fail(errors.New("it has no metadata: want a detector (sslrt anomaly fit makes one)"))
		}
		return fail(fmt.Errorf("it is of kind %s, want a detector (sslrt anomaly fit makes one)", k))
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
	d.tile = d.info.Tile
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

// Detect judges a decoded image, in tiles if the detector was made with tiles: the
// score is then the highest of theirs.
func (d *Detector) Detect(ctx context.Context, m *augment.Image) (Detection, error) {
	if m == nil || m.W < 1 || m.H < 1 || len(m.Pix) != m.W*m.H*3 {
		return Detection{}, errors.New("runtime: detect: the image has no pixels, or not W*H*3 of them")
	}
	if d.tile > 0 {
		return d.detectTiles(ctx, m)
	}
	return d.detect(ctx, m)
}

func (d *Detector) detectTiles(ctx context.Context, m *augment.Image) (Detection, error) {
	var all Detection
	if d.heat {
		all.Heatmap = &Heatmap{W: m.W, H: m.H, Values: make([]float32, m.W*m.H)}
	}
	for k, r := range augment.Tiles(m.W, m.H, d.tile) {
		found, err := d.detect(ctx, m.Crop(r.Min.X, r.Min.Y, r.Max.X, r.Max.Y))
		if err != nil {
			return Detection{}, err
		}
		if k == 0 || found.Score > all.Score {
			all.Score, all.Anomalous = found.Score, found.Anomalous
		}
		if d.heat {
			found.Heatmap.Over(r.Dx(), r.Dy(), 0).paste(all.Heatmap, r.Min)
		}
	}
	return all, nil
}

// detect judges an image as a whole.
func (d *Detector) detect(ctx context.Context, m *augment.Image) (Detection, error) {
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
		found.Heatmap = &Heatmap{W: p.Width, H: p.Height, Values: heat[:p.Width*p.Height], pre: &d.pre}
	}
	return found, nil
}
