package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/optim"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
	"github.com/sslrt/sslrt/runtime/ort"
)

// What a fine-tuning check does: so many steps of Adam on one batch must halve the
// loss at one of the rates, since weights differ in scale from model to model.
const (
	finetuneSteps   = 20
	finetuneBatch   = 8
	finetuneClasses = 4
)

var finetuneRates = []float64{1e-3, 1e-2, 1e-4}

// probe is what a model is fine-tuned for: the classes of its features, normalised
// over the batch first as MAE's linear probes do (He et al., 2022), since features of
// weights that nobody trained may hardly differ from image to image.
type probe struct{ encoder models.Encoder }

// Views returns 1.
func (probe) Views() int { return 1 }

// Loss is the cross-entropy.
func (p probe) Loss(b *train.Builder) *op.Node {
	h := p.encoder.Forward(b.Scope(objective.NameEncoder), b.Views())
	if h == nil {
		return nil
	}
	h = op.Sub(h, op.Mean(h, true, 0))
	h = op.Div(h, op.Sqrt(op.AddScalar(op.Mean(op.Mul(h, h), true, 0), 1e-12)))
	return objective.CrossEntropy(models.Linear(b.Scope(objective.NameClassifier), h, finetuneClasses, true), b.Labels())
}

// finetuned trains a model on one batch, on the last machine, writes it back and
// looks at what was written. The images are those given with noise added, their
// labels are arbitrary.
func (c *checks) finetuned(ctx context.Context, name string, model *onnx.Model, image []int, images []float32) error {
	encoder, err := export.Import(model, export.ImportOptions{Image: image})
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(3, 4))
	batch := make([]float32, finetuneBatch*op.Dims(image...).Size())
	for i := range batch {
		batch[i] = images[i%len(images)] + 0.3*float32(r.NormFloat64())
	}
	machine := c.machines[len(c.machines)-1]
	var first, last, rate float64
	var params engine.Tensors
	for _, rate = range finetuneRates {
		if first, last, params, err = trainedOn(ctx, machine, encoder, image, batch, rate); err != nil {
			return err
		}
		if last < first/2 {
			break
		}
	}
	var failure error
	if !(last < first/2) {
		failure = errors.New("want under half")
	}
	c.check(name+"/"+machine.Name(), fmt.Sprintf("loss of %d steps", finetuneSteps), failure, "(%.3g, then %.3g at rate %g)", first, last, rate)
	return c.writtenBack(ctx, name, model, encoder, params, image, images)
}

// trainedOn returns the loss before and after the steps, and the parameters.
func trainedOn(ctx context.Context, machine engine.Machine, encoder *export.Imported, image []int, batch []float32, rate float64) (first, last float64, params engine.Tensors, err error) {
	step, err := train.Build(train.Config{
		Objective: probe{encoder}, Optimizer: optim.Adam{},
		Rate: func(train.Step) float64 { return rate }, BatchSize: finetuneBatch, Image: image,
	})
	if err != nil {
		return 0, 0, nil, err
	}
	program, err := machine.Compile(step.Function)
	if err != nil {
		return 0, 0, nil, err
	}
	defer program.Close()
	if err := program.Load(engine.Tensors(step.Params.Init(1))); err != nil {
		return 0, 0, nil, err
	}
	labels := make([]int64, finetuneBatch)
	for i := range labels {
		labels[i] = int64(i % finetuneClasses)
	}
	for i := range finetuneSteps + 1 { // the last one tells the loss after the others
		in := step.Inputs(train.Step{Index: i, Total: finetuneSteps})
		in[train.InputViews] = engine.NewTensor(batch, append([]int{finetuneBatch}, image...)...)
		in[train.InputLabels] = engine.NewTensor(labels, finetuneBatch)
		got, err := program.Run(ctx, in)
		if err != nil {
			return 0, 0, nil, err
		}
		last = float64(got[train.OutputLoss].Float32s()[0])
		if i == 0 {
			first = last
		}
	}
	return first, last, program.Before(), nil
}

// writtenBack writes trained parameters into the file and checks it.
func (c *checks) writtenBack(ctx context.Context, name string, model *onnx.Model, encoder *export.Imported, trained engine.Tensors, image []int, images []float32) error {
	params := models.StateDict{}
	for p, v := range trained {
		if file, ok := strings.CutPrefix(p, objective.NameEncoder+"."); ok {
			params[file] = v
		}
	}
	written, err := encoder.WriteBack(params)
	if err != nil {
		return err
	}
	return c.written(ctx, name, model, written, image, images)
}

// written checks a model that was written back.
func (c *checks) written(ctx context.Context, name string, was, is *onnx.Model, image []int, images []float32) error {
	c.check(name, "all but the initialisers as they were", sameButInitializers(was, is), "")
	dir, err := os.MkdirTemp("", "onnxcheck")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "model.onnx")
	if err := onnx.WriteFile(path, is); err != nil {
		return err
	}
	if c.python != "" {
		out, err := exec.CommandContext(ctx, c.python, "-c", "import onnx, sys; onnx.checker.check_model(sys.argv[1], full_check=True)", path).CombinedOutput()
		c.check(name, "onnx.checker", err, "%s", bytes.TrimSpace(out))
	}
	return c.agrees(ctx, name, path, image, images)
}

// sameButInitializers compares the bytes of two models without their initialisers.
func sameButInitializers(a, b *onnx.Model) error {
	strip := func(m *onnx.Model) ([]byte, error) {
		to, graph := *m, *m.Graph
		to.Graph, graph.Initializers = &graph, nil
		for _, t := range m.Graph.Initializers {
			empty := *t
			empty.Raw, empty.FloatData, empty.DoubleData, empty.Int32Data = nil, nil, nil, nil
			graph.Initializers = append(graph.Initializers, &empty)
		}
		return to.Marshal()
	}
	x, err := strip(a)
	if err != nil {
		return err
	}
	y, err := strip(b)
	if err != nil {
		return err
	}
	if !bytes.Equal(x, y) {
		return fmt.Errorf("they differ")
	}
	return nil
}

// agrees runs a file on ONNX Runtime, and decoded on the Go machine, on these images,
// or random ones.
func (c *checks) agrees(ctx context.Context, name, path string, image []int, images []float32) error {
	if _, err := ort.Init(ort.FindOptions{}); err != nil {
		c.check(name, "ONNX Runtime and the machine", err, "")
		return nil
	}
	session, err := ort.OpenFile(path, ort.Options{})
	if err != nil {
		return err
	}
	defer session.Close()
	m, err := onnx.ReadFile(path)
	if err != nil {
		return err
	}
	sizes := append([]int{2}, image...)
	in := session.Inputs()[0]
	if in.Shape[0] > 0 {
		sizes[0] = in.Shape[0]
	}
	r := rand.New(rand.NewPCG(5, 6))
	x := make([]float32, op.Dims(sizes...).Size())
	for i := range x {
		if x[i] = float32(r.NormFloat64()); len(images) > 0 {
			x[i] = images[i%len(images)]
		}
	}
	bound, err := ort.NewTensor(sizes, x)
	if err != nil {
		return err
	}
	want, err := session.RunMap(ctx, map[string]*ort.Tensor{in.Name: bound})
	if err != nil {
		return err
	}
	d, err := export.Decode(m, map[string]op.Shape{in.Name: op.Dims(sizes...)})
	if err != nil {
		return err
	}
	var f engine.Function
	for _, o := range m.Graph.Outputs {
		f.Outputs = append(f.Outputs, export.Output{Name: "output " + o.Name, Node: d.Outputs[o.Name]})
	}
	got, err := runOnce(ctx, engine.Go{}, f, engine.Tensors(d.Params), engine.Tensors{in.Name: engine.NewTensor(x, sizes...)})
	if err != nil {
		return err
	}
	for _, o := range m.Graph.Outputs {
		v, err := ort.Data[float32](want[o.Name])
		if err != nil {
			return err
		}
		c.within(name, "ONNX Runtime and the machine, "+o.Name, maxError(got["output "+o.Name].Float32s(), v), outputTolerance)
	}
	return nil
}
