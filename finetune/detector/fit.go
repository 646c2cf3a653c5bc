package detector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/runtime"
	"github.com/sslrt/sslrt/runtime/ort"
)

// Names in a detector's file.
const (
	InputImage      = "image"
	InputThreshold  = runtime.InputThreshold // float32, has a default
	OutputScore     = runtime.OutputScore    // float32 [N]
	OutputHeatmap   = runtime.OutputHeatmap  // float32 [N, 1, H, W]; not of knn and mahalanobis
	OutputDecision  = runtime.OutputDecision // bool [N]: the score is above the threshold
	heatSigma       = 4.0                    // pixels, at heatSize
	heatSize        = 224
	maxGaussianSize = 4 << 30 // bytes of PaDiM's matrices
)

// Report says what Fit did.
type Report struct {
	Method   string
	Features string // the layers, for a reader
	Images   int    // normal images that the detector was fitted with
	Held     int    // and those that set the threshold
	Skipped  int    // images that could not be read, those of Validation too
	Bank     string // of patchcore: what the memory holds
	Calibration
}

// Fit makes a detector of an encoder's model, of method autoencoder of an
// autoencoder's, and normal images.
func Fit(ctx context.Context, encoder *onnx.Model, good augment.Source, opt Options) (*onnx.Model, *Report, error) {
	m, r, err := fit(ctx, encoder, good, opt)
	if err != nil {
		return nil, nil, fmt.Errorf("detector: %w", err)
	}
	return m, r, nil
}

func fit(ctx context.Context, encoder *onnx.Model, good augment.Source, opt Options) (*onnx.Model, *Report, error) {
	opt, err := opt.resolve()
	if err != nil {
		return nil, nil, err
	}
	skipped, told := 0, opt.Skipped
	opt.Skipped = func(i augment.SkippedImage) {
		if skipped++; told != nil {
			told(i)
		}
	}
	f, err := newFitter(encoder, opt)
	if err != nil {
		return nil, nil, fmt.Errorf("the encoder: %w", err)
	}
	n := good.Len()
	held := max(1, int(opt.HoldOut*float64(n)+0.5))
	if n-held < 2 {
		return nil, nil, fmt.Errorf("%d normal images are too few: want four or more, some to learn from and some for the threshold", n)
	}
	order := rand.New(rand.NewPCG(opt.Seed, 3)).Perm(n)
	kept := order[held:]
	slices.Sort(kept)
	slices.Sort(order[:held])
	if f.trains() {
		src := augment.Subset(good, kept)
		if opt.Tile > 0 {
			src = augment.Tiled(src, opt.Tile)
		}
		if err := f.learn(ctx, src); err != nil {
			return nil, nil, err
		}
	}
	m, err := f.model(ctx)
	if err != nil {
		return nil, nil, err
	}
	f.report.Images, f.report.Held = len(kept), held
	if f.report.Calibration, err = calibrate(ctx, m, augment.Subset(good, order[:held]), &f.opt); err != nil {
		return nil, nil, err
	}
	f.report.Skipped = skipped
	return m, &f.report, nil
}

// fitter makes one detector.
type fitter struct {
	opt    Options
	face   *onnx.Model // the encoder, with the image input as the detector has it
	image  *onnx.ValueInfo
	pre    augment.Preprocess
	info   onnx.Info
	layers []Layer // of padim and patchcore
	output string  // of the other methods: the value to judge by

	padim     *padim
	patchcore *patchcore
	rows      *rows
	report    Report
}

func newFitter(m *onnx.Model, opt Options) (*fitter, error) {
	f := &fitter{opt: opt, report: Report{Method: opt.Method}}
	var err error
	if f.info, err = onnx.ReadInfo(m); err != nil {
		return nil, err
	}
	in, err := runtime.ImageInput(m)
	if err != nil {
		return nil, err
	}
	override := map[string]string{"resize": string(augment.ResizeExact), "resize_to": "0", "crop": string(augment.CropNone)}
	for k, v := range opt.Preprocess {
		override[k] = v
	}
	open := *in
	if override["size"] != "" { // the file's own size may be another: the network decides whether it can do it
		open.Dims = []onnx.Dim{in.Dims[0], {Value: -1}, {Value: -1}, {Value: -1}}
		channels := 1
		if in.Type == onnx.Uint8 {
			channels = 3
		}
		open.Dims[channels] = in.Dims[channels]
	}
	if f.pre, err = runtime.InputPreprocess(f.info, &open, override); err != nil {
		return nil, err
	}
	f.image = imageInfo(in, f.pre)
	f.face = withInput(m, f.image)
	f.image = f.face.Graph.Inputs[slices.IndexFunc(f.face.Graph.Inputs, func(i *onnx.ValueInfo) bool { return i.Name == InputImage })]
	switch kind := f.info.Kind; {
	case opt.Method == MethodAutoencoder && kind != "" && kind != onnx.KindAutoencoder:
		return nil, fmt.Errorf("it is of kind %s: method %s takes a file of kind %s (sslrt export --part autoencoder)", kind, opt.Method, onnx.KindAutoencoder)
	case opt.Method != MethodAutoencoder && (kind == onnx.KindDetector || kind == onnx.KindTrainStep || kind == onnx.KindDecoder):
		return nil, fmt.Errorf("it is of kind %s, want an encoder", kind)
	}
	return f, f.chooseFeatures()
}

// chooseFeatures settles what the method looks at.
func (f *fitter) chooseFeatures() (err error) {
	switch f.opt.Method {
	case MethodPaDiM:
		f.layers, err = chooseLayers(f.face, f.image, f.opt.Layers, []string{"stage1", "stage2", "stage3"})
	case MethodPatchCore:
		f.layers, err = chooseLayers(f.face, f.image, f.opt.Layers, []string{"stage2", "stage3"})
	case MethodAutoencoder:
		f.output, err = autoencoderOutput(f.face)
	default:
		name := ""
		if len(f.opt.Layers) > 1 {
			return fmt.Errorf("method %s takes one embedding, got the layers %v", f.opt.Method, f.opt.Layers)
		}
		if len(f.opt.Layers) == 1 {
			name = f.opt.Layers[0]
		}
		f.output, err = embeddingOutput(f.face, name)
	}
	f.report.Features = f.output
	if len(f.layers) > 0 {
		f.report.Features = layerNames(f.layers)
	}
	return err
}

func autoencoderOutput(m *onnx.Model) (string, error) {
	const usual = "reconstruction"
	for _, o := range m.Graph.Outputs {
		if o.Name == usual || len(m.Graph.Outputs) == 1 {
			return o.Name, nil
		}
	}
	return "", fmt.Errorf("it has no output %q: export it by sslrt export --part autoencoder", usual)
}

// withInput returns m with another image input, called InputImage.
func withInput(m *onnx.Model, image *onnx.ValueInfo) *onnx.Model {
	out, g := *m, *m.Graph
	out.Graph = &g
	was := image.Name
	named := *image
	named.Name = InputImage
	g.Inputs = slices.Clone(g.Inputs)
	for i, in := range g.Inputs {
		if in.Name == was {
			g.Inputs[i] = &named
		}
	}
	g.ValueInfo = nil // shapes of another size
	if was == InputImage {
		return &out
	}
	g.Nodes = slices.Clone(g.Nodes)
	for k, n := range g.Nodes {
		if slices.Contains(n.Inputs, was) {
			c := *n
			c.Inputs = slices.Clone(n.Inputs)
			for i, in := range c.Inputs {
				if in == was {
					c.Inputs[i] = InputImage
				}
			}
			g.Nodes[k] = &c
		}
	}
	return &out
}

func (f *fitter) trains() bool { return f.opt.Method != MethodAutoencoder }

// features writes what the method learns from and judges by.
func (f *fitter) features(w writer) (string, grid) {
	switch f.opt.Method {
	case MethodPaDiM:
		x, g := patches(w, f.layers, "nearest", false)
		return keep(w, x, g, f.opt.Channels, f.opt.Seed)
	case MethodPatchCore:
		return patches(w, f.layers, "linear", true)
	}
	return f.output, grid{}
}

// learn runs the encoder over normal images and hands their features to the method.
func (f *fitter) learn(ctx context.Context, src augment.Source) error {
	w, err := newWriter(f.face)
	if err != nil {
		return err
	}
	const name = "detector.features"
	x, g := f.features(w)
	w.NodeTo("Identity", []string{x}, []string{name})
	var add func(x []float32) error
	dims := []onnx.Dim{onnx.Symbol("N"), {Value: -1}}
	switch f.opt.Method {
	case MethodPaDiM:
		if size := 4 * int64(g.places()) * int64(g.C) * int64(g.C); size > maxGaussianSize {
			return fmt.Errorf("padim: %d places of %d channels need %d MB: keep fewer channels, or choose smaller images or layers", g.places(), g.C, size>>20)
		}
		f.padim = newPadim(g, f.opt.Ridge)
		add = f.padim.add
	case MethodPatchCore:
		if f.patchcore, err = newPatchcore(g, src.Len(), f.opt); err != nil {
			return err
		}
		add = f.patchcore.add
	default:
		if f.opt.Method == MethodKNN {
			if err := knnNeighbours(f.opt.Neighbors, src.Len()); err != nil {
				return err
			}
		}
		f.rows = &rows{}
		add = f.rows.add
	}
	if g.C > 0 {
		dims = []onnx.Dim{onnx.Symbol("N"), onnx.Fixed(int64(g.C)), onnx.Fixed(int64(g.H)), onnx.Fixed(int64(g.W))}
	}
	w.Output(onnx.TensorInfo(name, onnx.Float, dims...))
	m, err := w.Model("features", onnx.Info{})
	if err != nil {
		return err
	}
	data, err := m.Marshal()
	if err != nil {
		return err
	}
	s, err := ort.Open(data, f.opt.Session)
	if err != nil {
		return err
	}
	defer s.Close()
	return f.run(ctx, s, src, add)
}

// run gives the features of all images of src to add.
func (f *fitter) run(ctx context.Context, s *ort.Session, src augment.Source, add func(x []float32) error) error {
	size := f.opt.BatchSize
	if b := f.image.Dims[0]; b.Param == "" && b.Value > 0 {
		size = int(b.Value)
	}
	bytes := f.image.Type == onnx.Uint8
	loader, err := augment.NewLoader(src, augment.LoaderOptions{BatchSize: min(size, src.Len()), Preprocess: f.pre,
		Workers: f.opt.Workers, Bytes: bytes, KeepFailed: true})
	if err != nil {
		return err
	}
	defer loader.Close()
	p := f.pre
	read := 0
	for done := 0; ; {
		b, err := loader.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		for _, i := range b.Skipped {
			f.opt.Skipped(i)
		}
		n := len(b.Index)
		var in *ort.Tensor
		if bytes {
			in, err = ort.NewTensor([]int{n, p.Height, p.Width, p.Channels}, b.Pixels[0])
		} else {
			in, err = ort.NewTensor([]int{n, p.Channels, p.Height, p.Width}, b.Views[0])
		}
		if err != nil {
			return err
		}
		out := make([]*ort.Tensor, 1)
		if err := s.Run(ctx, []*ort.Tensor{in}, out); err != nil {
			return err
		}
		x, err := ort.Data[float32](out[0])
		if err != nil {
			return err
		}
		each := len(x) / n
		if f.rows != nil {
			f.rows.dim = each
		}
		for k := range n {
			if b.Failed != nil && b.Failed[k] != nil {
				continue
			}
			row := x[k*each : (k+1)*each]
			if i := slices.IndexFunc(row, notFinite); i >= 0 {
				return fmt.Errorf("the features of %s are not finite (%g): are the encoder's weights sound?", src.Name(b.Index[k]), row[i])
			}
			if err := add(row); err != nil {
				return err
			}
			read++
		}
		loader.Release(b)
		done += n
		f.opt.progress("features", done, src.Len())
	}
	if read < 2 {
		return fmt.Errorf("%d of %d normal images could be read, want two or more", read, src.Len())
	}
	return nil
}

func notFinite(v float32) bool { return v-v != 0 }
