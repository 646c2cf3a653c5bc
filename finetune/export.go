package finetune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/sslrt/sslrt/augment"
	"github.com/sslrt/sslrt/export"
	"github.com/sslrt/sslrt/finetune/engine"
	"github.com/sslrt/sslrt/finetune/objective"
	"github.com/sslrt/sslrt/finetune/train"
	"github.com/sslrt/sslrt/models"
	"github.com/sslrt/sslrt/models/onnx"
	"github.com/sslrt/sslrt/models/op"
	"github.com/sslrt/sslrt/runtime/ort"
)

// PartAuto is the part of a run that its method is for: the encoder of a
// self-supervised run, the classifier of a supervised one, the whole of an autoencoder.
const PartAuto = "auto"

// ExportOptions says what Export writes, and how. The zero value writes the part
// PartAuto with the usual options and checks it.
type ExportOptions struct {
	Part     string // PartAuto or one of onnx's kinds: encoder, projector, decoder, autoencoder, classifier, train-step
	Weights  string // WeightsLast, the default, or WeightsBest
	Model    export.ModelOptions
	Version  string // of the program, for the metadata
	Force    bool   // replace files that exist
	NoVerify bool   // write without running the file
	Check    CheckOptions
}

// CheckOptions says how a file is compared with its graph.
type CheckOptions struct {
	Images    augment.Source // real images beside the random ones; may be nil
	BatchSize int            // images per run, beside runs of one; default 3

	// Slow is called before a check that may take long: a training step of so many
	// images on the Go machine. It may be nil.
	Slow func(images int)
}

// Exported is what Export wrote.
type Exported struct {
	Path  string
	State string // the safetensors file beside a training step: its parameters' values
	Kind  string
	Info  onnx.Info
	Step  int // of the checkpoint

	Checked                 bool
	engine.StepVerification // of a part for inference, the Verification alone
}

// Export writes a part of a run, with the weights of a checkpoint, as an ONNX file.
// Of a run that keeps moving averages of the weights these are what is written. It
// runs the file and the graph and compares them before the file gets its name.
//
// The part "train-step" is one step of training: views, labels, learning rate and
// all parameters go in, the loss and the new parameters come out, as outputs named
// "next:" and the parameter. The parameters' values are written beside it, as
// safetensors of the same names.
func Export(ctx context.Context, run *Run, path string, opt ExportOptions) (Exported, error) {
	if _, err := run.kind(opt.Part); err != nil {
		return Exported{}, err
	}
	state, info, err := run.weightsToExport(opt.Weights)
	if err != nil {
		return Exported{}, err
	}
	return run.export(ctx, path, state, info, opt)
}

// export is Export with the weights of a checkpoint.
func (r *Run) export(ctx context.Context, path string, state models.StateDict, info CheckpointInfo, opt ExportOptions) (Exported, error) {
	kind, err := r.kind(opt.Part)
	if err != nil {
		return Exported{}, err
	}
	out := Exported{Path: path, Kind: kind, Step: info.Step}
	var model *onnx.Model
	var check func(file string) error
	if kind == onnx.KindTrainStep {
		model, check, err = r.stepModel(ctx, &out, state, info, opt)
	} else if r.writesBack(kind, opt.Model) {
		model, check, err = r.backModel(ctx, &out, state, opt)
	} else {
		model, check, err = r.partModel(ctx, &out, state, info, opt)
	}
	if err != nil {
		return Exported{}, err
	}
	if out.Info, err = onnx.ReadInfo(model); err != nil {
		return Exported{}, err
	}
	return out, engine.WriteVerified(path, model, opt.Force, check)
}

// partModel returns the model of a part for inference, and its check.
func (r *Run) partModel(ctx context.Context, out *Exported, state models.StateDict, info CheckpointInfo, opt ExportOptions) (*onnx.Model, func(string) error, error) {
	part, err := r.Part(out.Kind, info)
	if err != nil {
		return nil, nil, err
	}
	part.Version = opt.Version
	state = trained(state)
	model, err := part.Model(state, opt.Model)
	if err != nil || opt.NoVerify {
		return model, nil, err
	}
	return model, func(file string) error {
		out.Checked = true
		out.Verification, err = verifyPart(ctx, file, part, state, opt.Check)
		return err
	}, nil
}

// importTolerance is the largest error of the file of an imported network. Its
// weights may be far from what training here gives: a ResNet-50 of random weights
// and random statistics differs by 1.1e-5 from the graph by rounding alone.
const importTolerance = 1e-4

func verifyPart(ctx context.Context, file string, part export.Part, state models.StateDict, opt CheckOptions) (engine.Verification, error) {
	reference := func(n int) (engine.Function, error) {
		outputs, _, err := part.Outputs(n)
		return engine.Function{Outputs: outputs}, err
	}
	v := engine.VerifyOptions{Preprocess: part.Preprocess, Images: opt.Images, Code: part.Code}
	if opt.BatchSize > 0 {
		v.BatchSizes = []int{1, opt.BatchSize}
	}
	if part.Method == MethodImported {
		v.Tolerance = importTolerance
	}
	return engine.Verify(ctx, file, reference, engine.Tensors(state), v)
}

// stepModel returns the model of a training step, and its check, which also
// writes the state.
func (r *Run) stepModel(ctx context.Context, out *Exported, state models.StateDict, info CheckpointInfo, opt ExportOptions) (*onnx.Model, func(string) error, error) {
	c := &r.Config
	if opt.Model.Input == onnx.InputUint8 {
		return nil, nil, errors.New("finetune: export: a training step takes normalised views: leave out the input uint8")
	}
	if opt.Model.Opset != 0 && opt.Model.Opset < 14 {
		return nil, nil, fmt.Errorf("finetune: export: opset %d has no BatchNormalization that trains: choose 14 or more", opt.Model.Opset)
	}
	step, err := c.Step(1)
	if err != nil {
		return nil, nil, err
	}
	if err := step.Params.Check(state); err != nil {
		return nil, nil, err
	}
	summary, err := r.summary(info)
	if err != nil {
		return nil, nil, err
	}
	model, err := engine.ORT{}.Lower(step.Function, export.Options{Opset: opt.Model.Opset, Name: out.Kind, Info: onnx.Info{
		Kind: out.Kind, Version: opt.Version, Method: c.Method, Classes: c.Classes, Batch: c.BatchSize,
		Input: onnx.InputFloat, Training: summary, Preprocess: c.Preprocess().Metadata(),
	}})
	if err != nil {
		return nil, nil, err
	}
	params := models.StateDict{}
	for _, in := range model.Graph.Inputs {
		if v := state[in.Name]; v != nil {
			params[in.Name] = v
		}
	}
	out.State = strings.TrimSuffix(out.Path, filepath.Ext(out.Path)) + ".safetensors"
	if _, err := os.Stat(out.State); err == nil && !opt.Force {
		return nil, nil, fmt.Errorf("finetune: export: the parameters of the step go to %s, which exists: choose another name, or replace it by --force", out.State)
	}
	return model, func(file string) error {
		if !opt.NoVerify {
			if opt.Check.Slow != nil {
				opt.Check.Slow(c.BatchSize)
			}
			out.Checked = true
			if out.StepVerification, err = verifyStep(ctx, file, c, step, state); err != nil {
				return err
			}
		}
		return models.WriteSafetensors(out.State, params, map[string]string{"format": "sslrt", "sslrt.kind": out.Kind})
	}, nil
}

// verifyStep compares one step on random views and labels.
func verifyStep(ctx context.Context, file string, c *Config, step *train.Program, state models.StateDict) (engine.StepVerification, error) {
	rng := rand.New(rand.NewPCG(1, 2))
	// The last batch of a step, which changes the weights.
	in := step.Inputs(train.Step{Total: 1, Batch: c.Accumulate - 1, Seed: c.Seed})
	n := step.Views * c.BatchSize
	views := make([]float32, n*c.Channels*c.ImageSize*c.ImageSize)
	for i := range views {
		views[i] = float32(rng.NormFloat64())
	}
	in[train.InputViews] = engine.NewTensor(views, n, c.Channels, c.ImageSize, c.ImageSize)
	if step.Labels {
		labels := make([]int64, c.BatchSize)
		for i := range labels {
			labels[i] = rng.Int64N(int64(len(c.Classes)))
		}
		in[train.InputLabels] = engine.NewTensor(labels, len(labels))
	}
	return engine.VerifyStep(ctx, file, step.Function, in, engine.Tensors(state), ort.Options{})
}

// VerifyExported compares a file that Export wrote with the graph and the checkpoint
// of its run that it is of: the newest or the best.
func VerifyExported(ctx context.Context, run *Run, file string, opt CheckOptions) (Exported, error) {
	m, err := onnx.ReadFile(file)
	if err != nil {
		return Exported{}, err
	}
	out := Exported{Path: file, Checked: true}
	if out.Info, err = onnx.ReadInfo(m); err != nil {
		return Exported{}, err
	}
	if out.Kind = out.Info.Kind; out.Kind == "" {
		return Exported{}, fmt.Errorf("finetune: verify %s: it was not written by sslrt export: its metadata lack %s", file, onnx.KeyKind)
	}
	var training struct{ Weights string }
	if len(out.Info.Training) > 0 {
		if err := json.Unmarshal(out.Info.Training, &training); err != nil {
			return Exported{}, fmt.Errorf("finetune: verify %s: metadata %s: %w", file, onnx.KeyTraining, err)
		}
	}
	state, info, err := run.LoadWeights(training.Weights)
	if err != nil {
		return Exported{}, err
	}
	out.Step = info.Step
	if out.Kind == onnx.KindTrainStep {
		if _, err := run.kind(out.Kind); err != nil {
			return out, err
		}
		if out.Info.Batch != run.Config.BatchSize {
			return out, fmt.Errorf("finetune: verify %s: its batch is %d, that of the run %d", file, out.Info.Batch, run.Config.BatchSize)
		}
		step, err := run.Config.Step(1)
		if err != nil {
			return out, err
		}
		if opt.Slow != nil {
			opt.Slow(run.Config.BatchSize)
		}
		out.StepVerification, err = verifyStep(ctx, file, &run.Config, step, state)
		return out, err
	}
	part, err := run.Part(out.Kind, info)
	if err != nil {
		return out, err
	}
	pre, err := augment.ParsePreprocess(out.Info.Preprocess)
	if err != nil {
		return out, fmt.Errorf("finetune: verify %s: %w", file, err)
	}
	if pre != part.Preprocess {
		return out, fmt.Errorf("finetune: verify %s: its metadata say: %v; the run: %v", file, pre, part.Preprocess)
	}
	out.Verification, err = verifyPart(ctx, file, part, trained(state), opt)
	return out, err
}

// kind resolves PartAuto and refuses parts that the run does not have.
func (r *Run) kind(part string) (string, error) {
	c := &r.Config
	switch part {
	case "", PartAuto:
		switch {
		case c.Method == MethodSupervised:
			return onnx.KindClassifier, nil
		case c.autoencodes():
			return onnx.KindAutoencoder, nil
		}
		return onnx.KindEncoder, nil
	case onnx.KindTrainStep:
		if c.Method == MethodImported {
			return "", fmt.Errorf("finetune: %s is imported, nothing is trained in it: start a run from it by --init", r.Dir)
		}
		if c.Chunk > 0 {
			return "", fmt.Errorf("finetune: a training step of %s is computed in chunks of %d images: it is several graphs and cannot be one file; a run without chunk has one", r.Dir, c.Chunk)
		}
		return part, nil
	case onnx.KindEncoder:
		return part, nil
	case onnx.KindProjector:
		if c.Method == MethodImported && c.Imported.Projector != nil {
			return part, nil
		}
		if len(c.Projector) == 0 {
			return "", fmt.Errorf("finetune: the run %s has no projector", r.Dir)
		}
		return part, nil
	case onnx.KindClassifier:
		if c.Method == MethodImported && c.Imported.Classifier != nil {
			return part, nil
		}
		if c.Method != MethodSupervised {
			return "", fmt.Errorf("finetune: the run %s, of method %s, has no classifier", r.Dir, c.Method)
		}
		return part, nil
	case onnx.KindDecoder, onnx.KindAutoencoder:
		if c.autoencodes() {
			return part, nil
		}
		return "", fmt.Errorf("finetune: the run %s, of method %s, has no %s", r.Dir, c.Method, part)
	}
	return "", fmt.Errorf("finetune: unknown part %q: choose %s, %s, %s, %s, %s, %s or %s", part, PartAuto, onnx.KindEncoder,
		onnx.KindProjector, onnx.KindDecoder, onnx.KindAutoencoder, onnx.KindClassifier, onnx.KindTrainStep)
}

// Part returns a part of the run for inference: encoder, projector or classifier.
func (r *Run) Part(kind string, info CheckpointInfo) (export.Part, error) {
	c := &r.Config
	kind, err := r.kind(kind)
	if err == nil && kind == onnx.KindTrainStep {
		err = errors.New("finetune: a training step is no part for inference")
	}
	if err != nil {
		return export.Part{}, err
	}
	encoder, head, err := c.Network()
	if err != nil {
		return export.Part{}, err
	}
	projector := head.Forward
	classifier := func(s models.Scope, x *op.Node) *op.Node { return models.Linear(s, x, len(c.Classes), true) }
	if c.Method == MethodImported {
		projector, classifier = c.Imported.Projector.Forward, c.Imported.ClassifierForward
	}
	summary, err := r.summary(info)
	if err != nil {
		return export.Part{}, err
	}
	p := export.Part{Kind: kind, Preprocess: c.Preprocess(), Method: c.Method, Training: summary,
		Stages: []export.Stage{{Name: objective.NameEncoder, Forward: encoder.Forward}}}
	switch kind {
	case onnx.KindDecoder, onnx.KindAutoencoder:
		decoder, err := c.decoder(encoder)
		if err != nil {
			return export.Part{}, err
		}
		if kind == onnx.KindDecoder {
			p.Code, p.Stages = encoder.Size(), nil
		}
		p.Stages = append(p.Stages, export.Stage{Name: objective.NameDecoder, Forward: decoder.Forward})
	case onnx.KindProjector:
		p.Stages = append(p.Stages, export.Stage{Name: objective.NameProjector, Forward: projector})
	case onnx.KindClassifier:
		p.Classes = c.Classes
		p.Stages = append(p.Stages, export.Stage{Name: objective.NameClassifier, Forward: classifier})
	}
	return p, nil
}

// ExportRandom writes the run's encoder with random weights, as they are before
// training: the baseline of all that it has learnt.
func ExportRandom(run *Run, path string, seed uint64) error {
	part, err := run.Part(onnx.KindEncoder, CheckpointInfo{})
	if err != nil {
		return err
	}
	part.Method = "random"
	_, params, err := part.Outputs(2)
	if err != nil {
		return err
	}
	model, err := part.Model(params.Init(seed), export.ModelOptions{})
	if err != nil {
		return err
	}
	return engine.WriteVerified(path, model, false, nil)
}
