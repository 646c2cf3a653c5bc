package export

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
)

// Imported is a network that an ONNX file holds, as an encoder: its parameters have
// the names of the file's initialisers, which are also what they start from.
type Imported struct {
	Input, Output string // the values of the file that are image and embedding

	model  *onnx.Model
	image  []int // C, H, W that it was checked for
	size   int
	params models.StateDict
	stats  map[string]bool // running statistics: kept, not trained
}

var _ models.Encoder = (*Imported)(nil)

// ImportOptions says which part of a model is the encoder.
type ImportOptions struct {
	Image  []int  // C, H, W; sizes of 0 are those of the file
	Output string // the value that is the embedding; default the first output [N, D], else the first
}

// Import makes an encoder of a model with one image as its input, float32
// [N, C, H, W] (or float16, which is computed in float32). The embedding is a value
// [N, D], or [N, D, ...], whose mean over all positions is taken.
//
// The file may say that the batch has a fixed size: it need not have it here, unless
// a node says so too.
func Import(m *onnx.Model, opt ImportOptions) (*Imported, error) {
	e := &Imported{model: m, Output: opt.Output, params: models.StateDict{}, stats: map[string]bool{}}
	if err := e.open(opt); err != nil {
		return nil, fmt.Errorf("export: import: %w", err)
	}
	return e, nil
}

func (e *Imported) open(opt ImportOptions) error {
	if err := validate(e.model, true); err != nil {
		return err
	}
	var images []*onnx.ValueInfo
	for _, in := range e.model.Graph.Inputs {
		if e.model.Graph.Initializer(in.Name) == nil {
			images = append(images, in)
		}
	}
	if len(images) != 1 || len(images[0].Dims) != 4 {
		return fmt.Errorf("the model has %d inputs, want one image [N, C, H, W]", len(images))
	}
	in := images[0]
	e.Input = in.Name
	e.image = slices.Clone(opt.Image)
	if e.image == nil {
		e.image = make([]int, 3)
	}
	for i, d := range in.Dims[1:] {
		switch {
		case e.image[i] == 0 && (d.Param != "" || d.Value <= 0):
			return fmt.Errorf("the file leaves the size of axis %d of %q open: say which one is meant", i+1, in.Name)
		case e.image[i] == 0:
			e.image[i] = int(d.Value)
		case d.Param == "" && d.Value > 0 && int64(e.image[i]) != d.Value:
			return fmt.Errorf("input %q: axis %d has size %d, the file says %d", in.Name, i+1, e.image[i], d.Value)
		}
	}
	if e.Output == "" {
		outputs := e.model.Graph.Outputs
		e.Output = outputs[max(slices.IndexFunc(outputs, func(o *onnx.ValueInfo) bool { return len(o.Dims) == 2 }), 0)].Name
	}
	for _, n := range e.model.Graph.Nodes {
		if n.OpType == "BatchNormalization" && len(n.Inputs) == 5 {
			e.stats[n.Inputs[3]], e.stats[n.Inputs[4]] = true, true
		}
	}
	g := op.NewGraph()
	x := g.Input("image", op.Float32, op.Batched(append([]int{2}, e.image...)...))
	if err := g.Err(); err != nil {
		return err
	}
	y, err := e.forward(models.NewScope(models.NewParams(g), false), x, func(name string, v *tensor.Dense) { e.params[name] = v })
	if err != nil {
		return err
	}
	if e.size = y.Dims[1]; len(e.params) == 0 {
		return errors.New("the model has no floating-point initialisers: there is nothing to train")
	}
	return nil
}

// Size returns the size of the embedding.
func (e *Imported) Size() int { return e.size }

// Image returns the sizes C, H, W of the images.
func (e *Imported) Image() []int { return slices.Clone(e.image) }

// Preprocess returns what the file says about how its images are prepared, by the keys
// of augment.ParsePreprocess; nothing of a file from elsewhere.
func (e *Imported) Preprocess() map[string]string {
	info, err := onnx.ReadInfo(e.model)
	if err != nil {
		return nil
	}
	return info.Preprocess
}

// Params returns the values of the file. Running statistics are among them.
func (e *Imported) Params() models.StateDict { return maps.Clone(e.params) }

// WriteBack returns the model with these values; see the function WriteBack.
func (e *Imported) WriteBack(params models.StateDict) (*onnx.Model, error) {
	return WriteBack(e.model, params)
}

// NonFinite lists the parameters with values that are infinite or not a number.
func (e *Imported) NonFinite() []string {
	var names []string
	for _, name := range e.params.Names() {
		if slices.ContainsFunc(e.params[name].Float32s(), func(v float32) bool {
			return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0)
		}) {
			names = append(names, name)
		}
	}
	return names
}

// Forward decodes the file into the graph of x: [N, C, H, W]. In training
// BatchNormalization uses the batch's statistics, where the file has kept it apart
// from the convolution before it, and Dropout passes its input on.
func (e *Imported) Forward(s models.Scope, x *op.Node) *op.Node {
	if x == nil {
		return nil
	}
	y, err := e.forward(s, x, func(string, *tensor.Dense) {})
	if err != nil {
		return s.Graph.Fail("export: imported network: %w", err)
	}
	return y
}

// forward tells read of each parameter that it comes upon.
func (e *Imported) forward(s models.Scope, x *op.Node, read func(name string, v *tensor.Dense)) (*op.Node, error) {
	mode := Inference
	if s.Train {
		mode = Training
	}
	d := newDecoder(e.model, s.Graph, DecodeOptions{Mode: mode, Half: true})
	d.used[e.Output] = true
	d.param = func(t *onnx.Tensor, sizes []int, values []float32) *op.Node {
		read(t.Name, tensor.New(tensor.WithShape(sizes...), tensor.WithBacking(values)))
		init := func(_ *rand.Rand, data []float32) { copy(data, values) }
		if e.stats[t.Name] {
			return s.Buffer(t.Name, init, sizes...)
		}
		return s.Weight(t.Name, init, sizes...)
	}
	if err := d.feed(e.Input, x); err != nil {
		return nil, err
	}
	if err := d.nodes(e.needed()); err != nil {
		return nil, err
	}
	y, err := d.data(e.Output)
	if err != nil {
		return nil, fmt.Errorf("output %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(d.next)) {
		s.SetBuffer(name, d.next[name])
	}
	if len(y.Dims) < 2 || y.DType != op.Float32 || y.Batch != 0 || y.Dims[0] != x.Dims[0] {
		return nil, fmt.Errorf("%q is %v, want one embedding [N, D] for each image", e.Output, y.Type)
	}
	var positions []int
	for i := 2; i < len(y.Dims); i++ {
		positions = append(positions, i)
	}
	if positions != nil {
		y = op.Mean(y, false, positions...)
	}
	return y, s.Graph.Err()
}

// needed returns the nodes that the embedding depends on.
func (e *Imported) needed() []*onnx.Node {
	want := map[string]bool{e.Output: true}
	nodes := e.model.Graph.Nodes
	keep := make([]bool, len(nodes))
	for i := len(nodes) - 1; i >= 0; i-- {
		for _, out := range nodes[i].Outputs {
			keep[i] = keep[i] || out != "" && want[out]
		}
		if keep[i] {
			for _, in := range nodes[i].Inputs {
				want[in] = true
			}
		}
	}
	var out []*onnx.Node
	for i, n := range nodes {
		if keep[i] {
			out = append(out, n)
		}
	}
	return out
}
